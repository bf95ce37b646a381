//! Merge cursor over a redb table and the memtable above it.
//!
//! Opening a cursor costs one B-tree lookup; a step costs a step of the redb cursor and two
//! comparisons. If the stored entry lies beyond the next memtable entry, the redb cursor steps back
//! over it. So an entry is read twice only where stored and memtable entries alternate.
//!
//! The caller wraps a whole scan in `catch_read_fault`. Wrapping each step would make a page of 15
//! rows 4% slower.
//!
//! Keys that do not arrive in order are reported as damage. Otherwise a misplaced page with intact
//! records could show the entries of another list or of another user.

use std::cmp::Ordering;
use std::ops::Bound;

use redb::{ReadOnlyTable, ReadableTable};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result, from_redb};
use crate::kv::memtable::Memtable;
use crate::kv::redb_key::RedbKey;
use crate::kv::value::{Slot, TableValue, ValueRef};

/// The order in which a cursor visits keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanDirection {
    Ascending,
    Descending,
}

impl ScanDirection {
    const fn reversed(self) -> Self {
        match self {
            ScanDirection::Ascending => ScanDirection::Descending,
            ScanDirection::Descending => ScanDirection::Ascending,
        }
    }

    /// Compares two keys in scan order: `Less` means that `key` is visited before `other`.
    pub(crate) fn order<K: Ord>(self, key: &K, other: &K) -> Ordering {
        match self {
            ScanDirection::Ascending => key.cmp(other),
            ScanDirection::Descending => other.cmp(key),
        }
    }
}

/// A boundary between two keys, named by the key on one side of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap<K> {
    Before(K),
    After(K),
}

/// Iterates over stored and memtable entries as one ordered sequence. A slot of the memtable hides
/// the stored entry of its key, and a tombstone is skipped.
pub(crate) struct MergeCursor<'t, K: FixedKey, V: TableValue> {
    table: &'t ReadOnlyTable<RedbKey<K>, V>,
    memtable: &'t Memtable<K, Slot<V>>,
    /// The gap that the cursor was opened at.
    start: Gap<K>,
    /// The gap that the cursor has reached: all remaining entries lie beyond it.
    reached: Gap<K>,
    direction: ScanDirection,
    cursor: redb::Cursor<'t, RedbKey<K>, V>,
    /// The next entry of the memtable.
    next_slot: Option<(&'t K, &'t Slot<V>)>,
}

impl<'t, K: FixedKey, V: TableValue> MergeCursor<'t, K, V> {
    pub(super) fn new(
        table: &'t ReadOnlyTable<RedbKey<K>, V>,
        memtable: &'t Memtable<K, Slot<V>>,
        gap: Gap<K>,
        direction: ScanDirection,
    ) -> Result<Self> {
        let cursor = match gap {
            Gap::Before(key) => table.lower_bound(Bound::Included(key)).map_err(from_redb)?,
            Gap::After(key) => table.upper_bound(Bound::Included(key)).map_err(from_redb)?,
        };
        let next_slot = next_slot(memtable, gap, direction);
        Ok(Self { table, memtable, start: gap, reached: gap, direction, cursor, next_slot })
    }

    /// The next entry in the cursor's direction.
    pub(crate) fn step(&mut self) -> Result<Option<(K, ValueRef<'t, V>)>> {
        loop {
            let Some((key, slot)) = self.next_slot else {
                let stored = self.step_stored()?;
                if let Some((key, _)) = &stored {
                    self.reached = Gap::beyond(*key, self.direction);
                }
                return Ok(stored);
            };
            let stored = self.step_stored()?;
            match stored.as_ref().map(|(other, _)| self.direction.order(other, key)) {
                Some(Ordering::Less) => {
                    if let Some((key, _)) = &stored {
                        self.reached = Gap::beyond(*key, self.direction);
                    }
                    return Ok(stored);
                }
                Some(Ordering::Equal) | None => {}
                Some(Ordering::Greater) => {
                    step(&mut self.cursor, self.direction.reversed())?;
                }
            }
            self.reached = Gap::beyond(*key, self.direction);
            self.next_slot = next_slot(self.memtable, self.reached, self.direction);
            if let Some(value) = slot {
                return Ok(Some((*key, ValueRef::Memtable(value))));
            }
        }
    }

    /// The key of the nearest entry on the other side of the starting gap. Call it before the first
    /// step. Costs a second B-tree lookup only if a tombstone is in the way.
    pub(crate) fn before(&mut self) -> Result<Option<K>> {
        let back = self.direction.reversed();
        let stored = match back {
            ScanDirection::Ascending => self.cursor.peek_next().map_err(from_redb)?,
            ScanDirection::Descending => self.cursor.peek_prev().map_err(from_redb)?,
        };
        let stored = stored.map(|(key, _)| key.value());
        let nearer = |stored: Option<K>, key| {
            stored.is_some_and(|stored| back.order(&stored, &key) == Ordering::Less)
        };
        match next_slot(self.memtable, self.start, back) {
            None => Ok(stored),
            Some((key, _)) if nearer(stored, *key) => Ok(stored),
            Some((key, Some(_))) => Ok(Some(*key)),
            Some((_, None)) => {
                let entry =
                    MergeCursor::new(self.table, self.memtable, self.start, back)?.step()?;
                Ok(entry.map(|(key, _)| key))
            }
        }
    }

    fn step_stored(&mut self) -> Result<Option<(K, ValueRef<'t, V>)>> {
        let entry = step(&mut self.cursor, self.direction)?;
        let Some((key, _)) = &entry else { return Ok(None) };
        if !self.reached.is_before(key, self.direction) {
            return Err(Error::Corrupted { table: "redb", what: "keys are out of order" });
        }
        Ok(entry)
    }
}

impl<K: Ord> Gap<K> {
    /// Whether a scan in `direction` that has reached this gap has yet to visit `key`.
    fn is_before(&self, key: &K, direction: ScanDirection) -> bool {
        match (self, direction) {
            (Gap::Before(bound), ScanDirection::Ascending) => key >= bound,
            (Gap::After(bound), ScanDirection::Ascending) => key > bound,
            (Gap::Before(bound), ScanDirection::Descending) => key < bound,
            (Gap::After(bound), ScanDirection::Descending) => key <= bound,
        }
    }
}

impl<K> Gap<K> {
    /// The gap that a cursor has reached once it has visited `key`.
    const fn beyond(key: K, direction: ScanDirection) -> Self
    where
        K: Copy,
    {
        match direction {
            ScanDirection::Ascending => Gap::After(key),
            ScanDirection::Descending => Gap::Before(key),
        }
    }
}

/// The memtable entry that is next from `gap` on.
fn next_slot<K: FixedKey, N: Clone>(
    memtable: &Memtable<K, N>,
    gap: Gap<K>,
    direction: ScanDirection,
) -> Option<(&K, &N)> {
    match (gap, direction) {
        (Gap::Before(key), ScanDirection::Ascending) => memtable.at_or_above(&key),
        (Gap::Before(key), ScanDirection::Descending) => memtable.below(&key),
        (Gap::After(key), ScanDirection::Ascending) => memtable.above(&key),
        (Gap::After(key), ScanDirection::Descending) => memtable.at_or_below(&key),
    }
}

fn step<'t, K: FixedKey, V: TableValue>(
    cursor: &mut redb::Cursor<'t, RedbKey<K>, V>,
    direction: ScanDirection,
) -> Result<Option<(K, ValueRef<'t, V>)>> {
    let entry = match direction {
        ScanDirection::Ascending => cursor.next().map_err(from_redb)?,
        ScanDirection::Descending => cursor.prev().map_err(from_redb)?,
    };
    Ok(entry.map(|(key, value)| (key.value(), ValueRef::Stored(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_separates_visited_keys_from_remaining_ones() {
        let remaining =
            |gap: Gap<u32>, direction| [4, 5, 6].map(|key| gap.is_before(&key, direction));
        assert_eq!(remaining(Gap::Before(5), ScanDirection::Ascending), [false, true, true]);
        assert_eq!(remaining(Gap::After(5), ScanDirection::Ascending), [false, false, true]);
        assert_eq!(remaining(Gap::Before(5), ScanDirection::Descending), [true, false, false]);
        assert_eq!(remaining(Gap::After(5), ScanDirection::Descending), [true, true, false]);
    }
}
