//! One ordered run of positions, either way, over the rows or over an index range. One descent,
//! then a step for each entry; one more step tells whether the list goes on, and a look at the
//! other side of the gap whether it began before.

use std::ops::Range;

use crate::encoding::index_term::Term;
use crate::encoding::key::{FixedKey, IndexKey, RowKey};
use crate::error::Result;
use crate::kv::catch_panic::unharmed;
use crate::kv::cursor::{Gap, Travel};
use crate::kv::table::Table;
use crate::kv::value::Content;
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
pub(crate) struct Stretch<K> {
    /// Any key of the list.
    pub(crate) list: K,
    /// The positions that belong to it.
    pub(crate) span: Range<Position>,
    /// The boundary to begin at.
    pub(crate) gap: Position,
    pub(crate) travel: Travel,
    /// Whether rows may lie behind the gap; false saves the look.
    pub(crate) look_behind: bool,
}

/// What a scan found around the entries that it visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The list has entries on the other side of the gap.
    pub(crate) behind: bool,
    /// The list has entries beyond the last one visited.
    pub(crate) beyond: bool,
    /// How many entries were read.
    pub(crate) entries: usize,
}

/// Visits entries from the gap on, in the direction of travel, until `visit` has taken `limit` of
/// them or the list ends. `visit` tells whether it takes the entry.
pub(crate) fn scan<K: ListKey, V: Content>(
    table: &Table<K, V>,
    stretch: &Stretch<K>,
    limit: usize,
    mut visit: impl FnMut(Position, V::SelfType<'_>) -> Result<bool>,
) -> Result<Surroundings> {
    let Stretch { list, ref span, gap, travel, look_behind } = *stretch;
    let mut found = Surroundings::default();
    if span.is_empty() {
        return Ok(found);
    }
    let gap = gap.clamp(span.start, span.end);
    let belongs =
        |key: K| key.at(span.start) == list.at(span.start) && span.contains(&key.position());
    unharmed(|| {
        let mut walk = table.walk(Gap::Before(list.at(gap)), travel)?;
        if look_behind {
            let behind = walk.behind()?;
            found.entries += usize::from(behind.is_some());
            found.behind = behind.is_some_and(belongs);
        }
        let mut taken = 0;
        while let Some((key, value)) = walk.step()? {
            found.entries += 1;
            if !belongs(key) {
                break;
            }
            if taken == limit {
                found.beyond = true;
                break;
            }
            taken += usize::from(visit(key.position(), value.value())?);
        }
        Ok(found)
    })
}
