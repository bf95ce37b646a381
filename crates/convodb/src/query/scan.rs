//! Range scan: one list of the table of rows or of an index, from a gap in either direction.
//!
//! A scan costs one B-tree lookup and a step for each entry. One more step finds out whether the
//! list continues, and a look at the other side of the gap whether it begins earlier. Each of them
//! may meet a run of hidden entries, which costs one more entry and one more lookup.

use std::ops::Range;

use crate::encoding::index_term::Term;
use crate::encoding::key::{FixedKey, IndexKey, RowKey};
use crate::error::Result;
use crate::kv::catch_panic::catch_read_fault;
use crate::kv::gap::{Gap, ScanDirection};
use crate::kv::table::Table;
use crate::kv::value::TableValue;
use crate::model::id::UserId;
use crate::model::position::Position;

/// A key that ends in a position: all keys with the same prefix form one list.
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
    /// A key of the list of `term`, with an arbitrary position.
    pub(crate) const fn of_list(user: UserId, term: Term) -> Self {
        Self { user, term, position: Position::from_bits(0) }
    }
}

/// The range and direction of a scan.
#[derive(Clone, Debug)]
pub(crate) struct ScanRange<K> {
    /// A key of the list, with an arbitrary position.
    pub(crate) list: K,
    /// The positions within the bounds of the list.
    pub(crate) span: Range<Position>,
    /// The boundary where the scan begins.
    pub(crate) gap: Position,
    pub(crate) direction: ScanDirection,
    /// Whether to look for an entry behind the gap. False if none can be there.
    pub(crate) look_before: bool,
}

/// What lies around the visited entries of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScanEdges {
    /// Whether the list has entries on the other side of the gap.
    pub(crate) before: bool,
    /// Whether the list has entries beyond the last visited one.
    pub(crate) after: bool,
    /// Number of entries read, hidden ones included.
    pub(crate) entries: usize,
}

/// Visits the entries of a list from the gap on, until `visit` has accepted `limit` of them or the
/// list ends. `visit` returns whether it accepts the entry.
pub(crate) fn scan<K: ListKey, V: TableValue>(
    table: &Table<K, V>,
    range: &ScanRange<K>,
    limit: usize,
    mut visit: impl FnMut(Position, V::SelfType<'_>) -> Result<bool>,
) -> Result<ScanEdges> {
    let ScanRange { list, ref span, gap, direction, look_before } = *range;
    let mut edges = ScanEdges::default();
    if span.is_empty() {
        return Ok(edges);
    }
    let gap = gap.clamp(span.start, span.end);
    let belongs =
        |key: K| key.at(span.start) == list.at(span.start) && span.contains(&key.position());
    catch_read_fault(|| {
        let mut cursor = table.cursor(Gap::Before(list.at(gap)), direction)?;
        if look_before {
            let before = cursor.before()?;
            edges.entries += usize::from(before.is_some());
            edges.before = before.is_some_and(belongs);
        }
        let mut accepted = 0;
        while let Some((key, value)) = cursor.step()? {
            edges.entries += 1;
            if !belongs(key) {
                break;
            }
            if accepted == limit {
                edges.after = true;
                break;
            }
            accepted += usize::from(visit(key.position(), value.value())?);
        }
        edges.entries += cursor.hidden_read();
        Ok(edges)
    })
}
