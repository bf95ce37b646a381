//! Range scan: one list of the table of rows or of an index, from a gap in either direction; or
//! several lists of an index, merged into one.
//!
//! A scan costs one B-tree lookup and a step for each entry. One more step finds out whether the
//! list continues, and a look at the other side of the gap whether it begins earlier. A merge of
//! `k` lists costs `k` lookups, reads the next entry of each list ahead, and looks at the other side
//! of the gap in at most `k` lists. Each step and each look may meet a run of hidden entries, which
//! costs one more entry and one more lookup.

use std::ops::Range;

use crate::encoding::index_term::Term;
use crate::encoding::key::{ActivityKey, FixedKey, IndexKey, RowKey};
use crate::error::Result;
use crate::kv::catch_panic::catch_read_fault;
use crate::kv::cursor::MergeCursor;
use crate::kv::gap::{Gap, ScanDirection};
use crate::kv::table::Table;
use crate::kv::value::{TableValue, ValueRef};
use crate::model::id::UserId;
use crate::model::position::{Position, SortKey};

/// A key that ends in a sort key: all keys with the same prefix form one list.
pub(crate) trait ListKey: FixedKey {
    /// The key of the same list at another sort key.
    fn at(self, at: SortKey) -> Self;
    fn sort_key(self) -> SortKey;
}

impl ListKey for RowKey {
    fn at(self, at: SortKey) -> Self {
        Self { position: at.position(), ..self }
    }

    fn sort_key(self) -> SortKey {
        SortKey::of_position(self.position)
    }
}

impl ListKey for IndexKey {
    fn at(self, at: SortKey) -> Self {
        Self { position: at.position(), ..self }
    }

    fn sort_key(self) -> SortKey {
        SortKey::of_position(self.position)
    }
}

impl ListKey for ActivityKey {
    fn at(self, at: SortKey) -> Self {
        Self { at, ..self }
    }

    fn sort_key(self) -> SortKey {
        self.at
    }
}

impl IndexKey {
    /// A key of the list of `term`, with an arbitrary position.
    pub(crate) const fn of_list(user: UserId, term: Term) -> Self {
        Self { user, term, position: Position::from_bits(0) }
    }
}

impl ActivityKey {
    /// A key of the list of `term`, with an arbitrary sort key.
    pub(crate) const fn of_list(user: UserId, term: Term) -> Self {
        Self { user, term, at: SortKey::of_activity(0, Position::from_bits(0)) }
    }
}

/// The range and direction of a scan.
#[derive(Clone, Debug)]
pub(crate) struct ScanRange {
    /// The sort keys within the bounds of the list.
    pub(crate) span: Range<SortKey>,
    /// The boundary where the scan begins.
    pub(crate) gap: SortKey,
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

impl ScanRange {
    /// Whether an entry belongs to the list, within the bounds. `list` is a key of the list, with an
    /// arbitrary sort key.
    fn has<K: ListKey>(&self, list: K, key: K) -> bool {
        let start = self.span.start;
        key.at(start) == list.at(start) && self.span.contains(&key.sort_key())
    }

    /// A cursor over the table, at the gap in the list.
    fn open<'t, K: ListKey, V: TableValue>(
        &self,
        table: &'t Table<K, V>,
        list: K,
    ) -> Result<MergeCursor<'t, K, V>> {
        let gap = self.gap.clamp(self.span.start, self.span.end);
        table.cursor(Gap::Before(list.at(gap)), self.direction)
    }
}

/// Visits the entries of a list from the gap on, until `visit` has accepted `limit` of them or the
/// list ends. `visit` returns whether it accepts the entry. `list` is a key of the list, with an
/// arbitrary sort key.
pub(crate) fn scan<K: ListKey, V: TableValue>(
    table: &Table<K, V>,
    list: K,
    range: &ScanRange,
    limit: usize,
    mut visit: impl FnMut(SortKey, V::SelfType<'_>) -> Result<bool>,
) -> Result<ScanEdges> {
    let mut edges = ScanEdges::default();
    if range.span.is_empty() {
        return Ok(edges);
    }
    catch_read_fault(|| {
        let mut cursor = range.open(table, list)?;
        if range.look_before {
            let before = cursor.before()?;
            edges.entries += usize::from(before.is_some());
            edges.before = before.is_some_and(|key| range.has(list, key));
        }
        let mut accepted = 0;
        let mut visit_next = |key: K, value: V::SelfType<'_>| -> Result<bool> {
            edges.entries += 1;
            let is_of_list = range.has(list, key);
            if !is_of_list || accepted == limit {
                edges.after = is_of_list;
                return Ok(false);
            }
            accepted += usize::from(visit(key.sort_key(), value)?);
            Ok(true)
        };
        while cursor.visit_next(&mut visit_next)? == Some(true) {}
        edges.entries += cursor.hidden_read();
        Ok(edges)
    })
}

/// The last key of a list within `span`, and the number of entries read: at most one, after at most
/// one hidden entry. One B-tree lookup.
pub(crate) fn last<K: ListKey, V: TableValue>(
    table: &Table<K, V>,
    list: K,
    span: &Range<SortKey>,
) -> Result<(Option<SortKey>, usize)> {
    let range = ScanRange {
        span: span.clone(),
        gap: span.end,
        direction: ScanDirection::Descending,
        look_before: false,
    };
    if range.span.is_empty() {
        return Ok((None, 0));
    }
    catch_read_fault(|| {
        let mut cursor = range.open(table, list)?;
        let entry = cursor.step()?;
        let entries = usize::from(entry.is_some()) + cursor.hidden_read();
        let own = entry.filter(|(key, _)| range.has(list, *key));
        Ok((own.map(|(key, _)| key.sort_key()), entries))
    })
}

/// One of the lists of a merge.
struct Head<'t, K: FixedKey, V: TableValue> {
    list: K,
    cursor: MergeCursor<'t, K, V>,
    /// The next entry; `None` at the end of the list.
    next: Option<(SortKey, ValueRef<'t, V>)>,
}

impl<K: ListKey, V: TableValue> Head<'_, K, V> {
    /// Reads the next entry.
    fn advance(&mut self, range: &ScanRange, edges: &mut ScanEdges) -> Result<()> {
        let entry = self.cursor.step()?;
        edges.entries += usize::from(entry.is_some());
        let entry = entry.filter(|(key, _)| range.has(self.list, *key));
        self.next = entry.map(|(key, value)| (key.sort_key(), value));
        Ok(())
    }
}

/// Visits the entries of several lists from the gap on, as one list in the order of their sort
/// keys, until `visit` has accepted `limit` of them or all lists end. `visit` also takes the
/// number of the list. The look behind the gap begins with the list number `behind` and ends with
/// the first list that has an entry there.
///
/// Reads at most `limit + lists.len()` entries from the gap on, if all of them are accepted, and at
/// most `lists.len()` behind it, each after at most one hidden entry.
pub(crate) fn merge<K: ListKey, V: TableValue>(
    table: &Table<K, V>,
    lists: &[K],
    behind: usize,
    range: &ScanRange,
    limit: usize,
    mut visit: impl FnMut(usize, SortKey, V::SelfType<'_>) -> Result<bool>,
) -> Result<ScanEdges> {
    let mut edges = ScanEdges::default();
    if range.span.is_empty() {
        return Ok(edges);
    }
    catch_read_fault(|| {
        let mut heads = Vec::with_capacity(lists.len());
        for list in lists {
            heads.push(Head { list: *list, cursor: range.open(table, *list)?, next: None });
        }
        if range.look_before {
            let split = behind.min(heads.len());
            let (first, rest) = heads.split_at_mut(split);
            for head in rest.iter_mut().chain(first) {
                let before = head.cursor.before()?;
                edges.entries += usize::from(before.is_some());
                if before.is_some_and(|key| range.has(head.list, key)) {
                    edges.before = true;
                    break;
                }
            }
        }
        for head in &mut heads {
            head.advance(range, &mut edges)?;
        }
        let mut accepted = 0;
        while let Some((at, key)) = nearest(&heads, range.direction) {
            if accepted == limit {
                edges.after = true;
                break;
            }
            let head = &mut heads[at];
            if let Some((_, value)) = head.next.take() {
                accepted += usize::from(visit(at, key, value.value())?);
            }
            // Once the page is full, the next entry of any list shows that the union continues.
            if accepted < limit || heads.iter().all(|head| head.next.is_none()) {
                heads[at].advance(range, &mut edges)?;
            }
        }
        edges.entries += heads.iter().map(|head| head.cursor.hidden_read()).sum::<usize>();
        Ok(edges)
    })
}

/// The list whose next entry is the first in scan order, and the sort key of that entry.
fn nearest<K: FixedKey, V: TableValue>(
    heads: &[Head<'_, K, V>],
    direction: ScanDirection,
) -> Option<(usize, SortKey)> {
    let next = |(at, head): (usize, &Head<'_, K, V>)| Some((at, head.next.as_ref()?.0));
    heads.iter().enumerate().filter_map(next).min_by(|a, b| direction.order(&a.1, &b.1))
}
