//! One ordered run of positions, either way, over the rows or over an index range. One descent,
//! then a step for each entry; one more step tells whether the list goes on, and a look at the
//! other side of the gap whether it began before.

use std::ops::Range;

use crate::encoding::index_term::Term;
use crate::encoding::key::{FixedKey, IndexKey, RowKey};
use crate::error::Result;
use crate::kv::catch_panic::catch_redb_panic;
use crate::kv::cursor::{Gap, ScanDirection};
use crate::kv::table::Table;
use crate::kv::value::TableValue;
use crate::model::id::UserId;
use crate::model::position::Position;

/// A key that ends in a position: all keys with the same beginning are one list.
pub(crate) trait ListKey: FixedKey {
    /// The key of the same list at another position.
    fn at(self, position: Position) -> Self;
    fn position(self) -> Position;
}

impl ListKey for RowKey {
    fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }

    fn position(self) -> Position {
        self.position
    }
}

impl ListKey for IndexKey {
    fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }

    fn position(self) -> Position {
        self.position
    }
}

impl IndexKey {
    /// Any key of the list of `term`.
    pub(crate) const fn of_list(owner: UserId, term: Term) -> Self {
        Self { owner, term, position: Position::from_bits(0) }
    }
}

/// Where a scan begins and where it must end.
#[derive(Clone, Debug)]
pub(crate) struct ScanRange<K> {
    /// Any key of the list.
    pub(crate) list: K,
    /// The positions that belong to it.
    pub(crate) span: Range<Position>,
    /// The boundary to begin at.
    pub(crate) gap: Position,
    pub(crate) direction: ScanDirection,
    /// Whether rows may lie behind the gap; false saves the look.
    pub(crate) look_before: bool,
}

/// What a scan found around the entries that it visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScanEdges {
    /// The list has entries on the other side of the gap.
    pub(crate) before: bool,
    /// The list has entries beyond the last one visited.
    pub(crate) after: bool,
    /// How many entries were read.
    pub(crate) entries: usize,
}

/// Visits entries from the gap on, in the direction of travel, until `visit` has taken `limit` of
/// them or the list ends. `visit` tells whether it takes the entry.
pub(crate) fn scan<K: ListKey, V: TableValue>(
    table: &Table<K, V>,
    range: &ScanRange<K>,
    limit: usize,
    mut visit: impl FnMut(Position, V::SelfType<'_>) -> Result<bool>,
) -> Result<ScanEdges> {
    let ScanRange { list, ref span, gap, direction, look_before } = *range;
    let mut found = ScanEdges::default();
    if span.is_empty() {
        return Ok(found);
    }
    let gap = gap.clamp(span.start, span.end);
    let belongs =
        |key: K| key.at(span.start) == list.at(span.start) && span.contains(&key.position());
    catch_redb_panic(|| {
        let mut cursor = table.cursor(Gap::Before(list.at(gap)), direction)?;
        if look_before {
            let before = cursor.before()?;
            found.entries += usize::from(before.is_some());
            found.before = before.is_some_and(belongs);
        }
        let mut taken = 0;
        while let Some((key, value)) = cursor.step()? {
            found.entries += 1;
            if !belongs(key) {
                break;
            }
            if taken == limit {
                found.after = true;
                break;
            }
            taken += usize::from(visit(key.position(), value.value())?);
        }
        Ok(found)
    })
}
