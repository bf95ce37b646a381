//! A walk through a table, one way: a redb cursor over what is stored and, beside it, what the tail
//! holds. (One of the few files that hold a redb cursor.)
//!
//! One descent; a step is a step of redb's cursor and two comparisons. A stored entry that lies
//! beyond the next of the tail is stepped back over, so only where both alternate is it read twice.
//!
//! Whoever walks is prepared for panics of redb (`unharmed`), once for the whole walk: for each step
//! that would cost a page of 15 rows 4%.
//!
//! Keys that do not go on in order are damage: a page that stands where another belongs would else
//! show the entries of another list, or of another owner, whole and sound.

use std::cmp::Ordering;
use std::ops::Bound;

use redb::{ReadOnlyTable, ReadableTable};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result};
use crate::kv::memtable::Recent;
use crate::kv::redb_key::Stored;
use crate::kv::value::{Content, Found, Newer};

/// Which way a walk goes through the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    Up,
    Down,
}

impl Travel {
    const fn back(self) -> Self {
        match self {
            Travel::Up => Travel::Down,
            Travel::Down => Travel::Up,
        }
    }

    /// How `key` stands to `other` on the way: `Less` is sooner.
    pub(crate) fn order<K: Ord>(self, key: &K, other: &K) -> Ordering {
        match self {
            Travel::Up => key.cmp(other),
            Travel::Down => other.cmp(key),
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
pub(crate) struct Walk<'t, K: FixedKey, V: Content> {
    table: &'t ReadOnlyTable<Stored<K>, V>,
    recent: &'t Recent<K, Newer<V>>,
    gap: Gap<K>,
    /// What is left lies beyond this.
    place: Gap<K>,
    travel: Travel,
    cursor: redb::Cursor<'t, Stored<K>, V>,
    /// The next entry of the tail.
    ahead: Option<(&'t K, &'t Newer<V>)>,
}

impl<'t, K: FixedKey, V: Content> Walk<'t, K, V> {
    pub(super) fn new(
        table: &'t ReadOnlyTable<Stored<K>, V>,
        recent: &'t Recent<K, Newer<V>>,
        gap: Gap<K>,
        travel: Travel,
    ) -> Result<Self> {
        let cursor = match gap {
            Gap::Before(key) => table.lower_bound(Bound::Included(key))?,
            Gap::After(key) => table.upper_bound(Bound::Included(key))?,
        };
        let ahead = next_of(recent, gap, travel);
        Ok(Self { table, recent, gap, place: gap, travel, cursor, ahead })
    }

    /// The next entry on the way.
    pub(crate) fn step(&mut self) -> Result<Option<(K, Found<'t, V>)>> {
        loop {
            let Some((key, newer)) = self.ahead else {
                let stored = self.step_stored()?;
                if let Some((key, _)) = &stored {
                    self.place = Gap::beyond(*key, self.travel);
                }
                return Ok(stored);
            };
            let stored = self.step_stored()?;
            match stored.as_ref().map(|(other, _)| self.travel.order(other, key)) {
                Some(Ordering::Less) => {
                    if let Some((key, _)) = &stored {
                        self.place = Gap::beyond(*key, self.travel);
                    }
                    return Ok(stored);
                }
                Some(Ordering::Equal) | None => {}
                Some(Ordering::Greater) => {
                    step(&mut self.cursor, self.travel.back())?;
                }
            }
            self.place = Gap::beyond(*key, self.travel);
            self.ahead = next_of(self.recent, self.place, self.travel);
            if let Some(held) = newer {
                return Ok(Some((*key, Found::Recent(held))));
            }
        }
    }

    /// The key of the entry on the other side of the gap that the walk begins at; to be asked for
    /// before the first step.
    pub(crate) fn behind(&mut self) -> Result<Option<K>> {
        let back = self.travel.back();
        let stored = match back {
            Travel::Up => self.cursor.peek_next()?,
            Travel::Down => self.cursor.peek_prev()?,
        };
        let stored = stored.map(|(key, _)| key.value());
        let nearer = |stored: Option<K>, key| {
            stored.is_some_and(|stored| back.order(&stored, &key) == Ordering::Less)
        };
        match next_of(self.recent, self.gap, back) {
            None => Ok(stored),
            Some((key, _)) if nearer(stored, *key) => Ok(stored),
            Some((key, Some(_))) => Ok(Some(*key)),
            Some((_, None)) => {
                let found = Walk::new(self.table, self.recent, self.gap, back)?.step()?;
                Ok(found.map(|(key, _)| key))
            }
        }
    }

    fn step_stored(&mut self) -> Result<Option<(K, Found<'t, V>)>> {
        let entry = step(&mut self.cursor, self.travel)?;
        let Some((key, _)) = &entry else { return Ok(None) };
        if !self.place.is_before(key, self.travel) {
            return Err(Error::Corrupted { table: "redb", what: "keys are out of order" });
        }
        Ok(entry)
    }
}

impl<K: Ord> Gap<K> {
    /// Whether `key` is still to come from here.
    fn is_before(&self, key: &K, travel: Travel) -> bool {
        match (self, travel) {
            (Gap::Before(place), Travel::Up) => key >= place,
            (Gap::After(place), Travel::Up) => key > place,
            (Gap::Before(place), Travel::Down) => key < place,
            (Gap::After(place), Travel::Down) => key <= place,
        }
    }
}

impl<K> Gap<K> {
    /// The gap that a walk is at when it has passed `key`.
    const fn beyond(key: K, travel: Travel) -> Self
    where
        K: Copy,
    {
        match travel {
            Travel::Up => Gap::After(key),
            Travel::Down => Gap::Before(key),
        }
    }
}

/// The entry of the tail that comes next from `gap`.
fn next_of<K: FixedKey, N: Clone>(
    recent: &Recent<K, N>,
    gap: Gap<K>,
    travel: Travel,
) -> Option<(&K, &N)> {
    match (gap, travel) {
        (Gap::Before(key), Travel::Up) => recent.at_or_above(&key),
        (Gap::Before(key), Travel::Down) => recent.below(&key),
        (Gap::After(key), Travel::Up) => recent.above(&key),
        (Gap::After(key), Travel::Down) => recent.at_or_below(&key),
    }
}

fn step<'t, K: FixedKey, V: Content>(
    cursor: &mut redb::Cursor<'t, Stored<K>, V>,
    travel: Travel,
) -> Result<Option<(K, Found<'t, V>)>> {
    let entry = match travel {
        Travel::Up => cursor.next()?,
        Travel::Down => cursor.prev()?,
    };
    Ok(entry.map(|(key, value)| (key.value(), Found::Stored(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_come_is_told_from_what_was_passed() {
        let to_come = |gap: Gap<u32>, travel| [4, 5, 6].map(|key| gap.is_before(&key, travel));
        assert_eq!(to_come(Gap::Before(5), Travel::Up), [false, true, true]);
        assert_eq!(to_come(Gap::After(5), Travel::Up), [false, false, true]);
        assert_eq!(to_come(Gap::Before(5), Travel::Down), [true, false, false]);
        assert_eq!(to_come(Gap::After(5), Travel::Down), [true, true, false]);
    }
}
