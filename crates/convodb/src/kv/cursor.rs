//! A walk through a table, one way: a redb cursor over what is stored and, beside it, what the tail
//! holds. (One of the few files that hold a redb cursor.)
//!
//! One descent; a step is a step of redb's cursor and two comparisons. A stored entry that lies
//! beyond the next of the tail is stepped back over, so only where both alternate is it read twice.
//!
//! Whoever walks is prepared for panics of redb (`catch_redb_panic`), once for the whole walk: for each step
//! that would cost a page of 15 rows 4%.
//!
//! Keys that do not go on in order are damage: a page that stands where another belongs would else
//! show the entries of another list, or of another owner, whole and sound.

use std::cmp::Ordering;
use std::ops::Bound;

use redb::{ReadOnlyTable, ReadableTable};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result};
use crate::kv::memtable::Memtable;
use crate::kv::redb_key::RedbKey;
use crate::kv::value::{Slot, TableValue, ValueRef};

/// Which way a walk goes through the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanDirection {
    Ascending,
    Descending,
}

impl ScanDirection {
    const fn back(self) -> Self {
        match self {
            ScanDirection::Ascending => ScanDirection::Descending,
            ScanDirection::Descending => ScanDirection::Ascending,
        }
    }

    /// How `key` stands to `other` on the way: `Less` is sooner.
    pub(crate) fn order<K: Ord>(self, key: &K, other: &K) -> Ordering {
        match self {
            ScanDirection::Ascending => key.cmp(other),
            ScanDirection::Descending => other.cmp(key),
        }
    }
}

/// A place between two keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap<K> {
    Before(K),
    After(K),
}

/// See the head of this file.
pub(crate) struct MergeCursor<'t, K: FixedKey, V: TableValue> {
    table: &'t ReadOnlyTable<RedbKey<K>, V>,
    memtable: &'t Memtable<K, Slot<V>>,
    gap: Gap<K>,
    /// What is left lies beyond this.
    place: Gap<K>,
    direction: ScanDirection,
    cursor: redb::Cursor<'t, RedbKey<K>, V>,
    /// The next entry of the tail.
    ahead: Option<(&'t K, &'t Slot<V>)>,
}

impl<'t, K: FixedKey, V: TableValue> MergeCursor<'t, K, V> {
    pub(super) fn new(
        table: &'t ReadOnlyTable<RedbKey<K>, V>,
        memtable: &'t Memtable<K, Slot<V>>,
        gap: Gap<K>,
        direction: ScanDirection,
    ) -> Result<Self> {
        let cursor = match gap {
            Gap::Before(key) => table.lower_bound(Bound::Included(key))?,
            Gap::After(key) => table.upper_bound(Bound::Included(key))?,
        };
        let ahead = next_of(memtable, gap, direction);
        Ok(Self { table, memtable, gap, place: gap, direction, cursor, ahead })
    }

    /// The next entry on the way.
    pub(crate) fn step(&mut self) -> Result<Option<(K, ValueRef<'t, V>)>> {
        loop {
            let Some((key, slot)) = self.ahead else {
                let stored = self.step_stored()?;
                if let Some((key, _)) = &stored {
                    self.place = Gap::beyond(*key, self.direction);
                }
                return Ok(stored);
            };
            let stored = self.step_stored()?;
            match stored.as_ref().map(|(other, _)| self.direction.order(other, key)) {
                Some(Ordering::Less) => {
                    if let Some((key, _)) = &stored {
                        self.place = Gap::beyond(*key, self.direction);
                    }
                    return Ok(stored);
                }
                Some(Ordering::Equal) | None => {}
                Some(Ordering::Greater) => {
                    step(&mut self.cursor, self.direction.back())?;
                }
            }
            self.place = Gap::beyond(*key, self.direction);
            self.ahead = next_of(self.memtable, self.place, self.direction);
            if let Some(held) = slot {
                return Ok(Some((*key, ValueRef::Memtable(held))));
            }
        }
    }

    /// The key of the entry on the other side of the gap that the walk begins at; to be asked for
    /// before the first step.
    pub(crate) fn before(&mut self) -> Result<Option<K>> {
        let back = self.direction.back();
        let stored = match back {
            ScanDirection::Ascending => self.cursor.peek_next()?,
            ScanDirection::Descending => self.cursor.peek_prev()?,
        };
        let stored = stored.map(|(key, _)| key.value());
        let nearer = |stored: Option<K>, key| {
            stored.is_some_and(|stored| back.order(&stored, &key) == Ordering::Less)
        };
        match next_of(self.memtable, self.gap, back) {
            None => Ok(stored),
            Some((key, _)) if nearer(stored, *key) => Ok(stored),
            Some((key, Some(_))) => Ok(Some(*key)),
            Some((_, None)) => {
                let found = MergeCursor::new(self.table, self.memtable, self.gap, back)?.step()?;
                Ok(found.map(|(key, _)| key))
            }
        }
    }

    fn step_stored(&mut self) -> Result<Option<(K, ValueRef<'t, V>)>> {
        let entry = step(&mut self.cursor, self.direction)?;
        let Some((key, _)) = &entry else { return Ok(None) };
        if !self.place.is_before(key, self.direction) {
            return Err(Error::Corrupted { table: "redb", what: "keys are out of order" });
        }
        Ok(entry)
    }
}

impl<K: Ord> Gap<K> {
    /// Whether `key` is still to come from here.
    fn is_before(&self, key: &K, direction: ScanDirection) -> bool {
        match (self, direction) {
            (Gap::Before(place), ScanDirection::Ascending) => key >= place,
            (Gap::After(place), ScanDirection::Ascending) => key > place,
            (Gap::Before(place), ScanDirection::Descending) => key < place,
            (Gap::After(place), ScanDirection::Descending) => key <= place,
        }
    }
}

impl<K> Gap<K> {
    /// The gap that a walk is at when it has passed `key`.
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

/// The entry of the tail that comes next from `gap`.
fn next_of<K: FixedKey, N: Clone>(
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
        ScanDirection::Ascending => cursor.next()?,
        ScanDirection::Descending => cursor.prev()?,
    };
    Ok(entry.map(|(key, value)| (key.value(), ValueRef::Stored(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_come_is_told_from_what_was_passed() {
        let to_come =
            |gap: Gap<u32>, direction| [4, 5, 6].map(|key| gap.is_before(&key, direction));
        assert_eq!(to_come(Gap::Before(5), ScanDirection::Ascending), [false, true, true]);
        assert_eq!(to_come(Gap::After(5), ScanDirection::Ascending), [false, false, true]);
        assert_eq!(to_come(Gap::Before(5), ScanDirection::Descending), [true, false, false]);
        assert_eq!(to_come(Gap::After(5), ScanDirection::Descending), [true, true, false]);
    }
}
