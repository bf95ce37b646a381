//! Counters: the body of a record with the counters of one time bucket.
//!
//! ```text
//! for each cell, in ascending order: cell u8 | conversations | messages | cost in nano-dollars
//! cell = 4 * days since the bucket's first day + number of the type
//! ```
//!
//! The three counts are signed integers of variable length: zigzag, then 7 bits in each byte, the
//! lowest first; the top bit says that more follow. Most counters take 6 to 10 bytes. A change
//! rewrites one cell and copies the others as they are.

use crate::encoding::cells::{self, CellValue, Cells, ChangedCells, Place};
use crate::encoding::key::{CounterKey, kind_number, kind_of_number};
use crate::encoding::leb128;
use crate::encoding::record::{Damage, V2, open_any, seal_version};
use crate::model::channel::ChannelKind;

/// Conversations, their messages and their cost. Also a change of such a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) conversations: i64,
    pub(crate) messages: i64,
    pub(crate) cost_nanos: i128,
}

/// The place of a counter in its record: a type, and a day of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell(u8);

const KINDS: u8 = 4;
/// A week has the most days.
const CELLS: u8 = 7 * KINDS;

impl Cell {
    /// The cell of a type on the day that is this many days after the bucket's first, 6 at most.
    pub(crate) fn new(day: u8, kind: ChannelKind) -> Self {
        Self(day.min(CELLS / KINDS - 1) * KINDS + kind_number(kind))
    }

    /// Days from the bucket's first one, 6 at most.
    pub(crate) const fn day(self) -> u8 {
        self.0 / KINDS
    }

    /// The type; `None` for a cell that no type has.
    pub(crate) fn kind(self) -> Option<ChannelKind> {
        kind_of_number(u32::from(self.0 % KINDS))
    }
}

impl Place for Cell {
    fn from_number(number: u8) -> Option<Self> {
        (number < CELLS).then_some(Self(number))
    }

    fn number(self) -> u8 {
        self.0
    }
}

impl Counter {
    /// Adds another counter; `None` if the sum leaves the range.
    pub(crate) fn add(&mut self, other: &Counter) -> Option<()> {
        self.conversations = self.conversations.checked_add(other.conversations)?;
        self.messages = self.messages.checked_add(other.messages)?;
        self.cost_nanos = self.cost_nanos.checked_add(other.cost_nanos)?;
        Some(())
    }

    /// The opposite change; `None` if it leaves the range.
    pub(crate) fn negated(&self) -> Option<Self> {
        Some(Self {
            conversations: self.conversations.checked_neg()?,
            messages: self.messages.checked_neg()?,
            cost_nanos: self.cost_nanos.checked_neg()?,
        })
    }
}

/// The verified body of a record of counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CounterBody<'a>(&'a [u8]);

impl<'a> CounterBody<'a> {
    /// The body of a record that does not exist.
    pub(crate) const EMPTY: CounterBody<'static> = CounterBody(&[]);

    /// Verifies the checksum and the version of a record.
    pub(crate) fn open(key: &CounterKey, record: &'a [u8]) -> Result<Self, Damage> {
        let body = open_any(key, record)?;
        match body.bytes().split_first() {
            Some((&V2, cells)) if !cells.is_empty() => Ok(Self(cells)),
            Some((&V2, _)) => Err("a record has no counter"),
            _ => Err("a record has an unknown version"),
        }
    }

    /// The counters in ascending order of their cells. Ends after the first error.
    pub(crate) const fn cells(self) -> Cells<'a, Counter> {
        Cells::new(self.0)
    }

    /// Appends a record of `key` in which the counter of `cell` is changed by `change`. Appends none
    /// if no counter is left, as counters that become zero are left out.
    pub(crate) fn append_changed(
        self,
        key: &CounterKey,
        cell: Cell,
        change: &Counter,
        record: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let add = |mut counter: Counter| counter.add(change).map(|()| counter);
        let cells = ChangedCells::new(self.0, cell, add)?;
        if !cells.is_empty() {
            seal_version(V2, key, record, |record| cells.append(record));
        }
        Ok(())
    }
}

/// Appends a record of counters, whose cells must ascend.
pub(crate) fn append_counters<'c>(
    key: &CounterKey,
    counters: impl IntoIterator<Item = (Cell, &'c Counter)>,
    record: &mut Vec<u8>,
) {
    seal_version(V2, key, record, |record| {
        counters.into_iter().for_each(|(cell, counter)| cells::append(cell, counter, record));
    });
}

impl CellValue for Counter {
    type Place = Cell;

    fn take(rest: &mut &[u8]) -> Result<Self, Damage> {
        Ok(Counter {
            conversations: take_count(rest)?,
            messages: take_count(rest)?,
            cost_nanos: take_integer(rest)?,
        })
    }

    fn append(&self, record: &mut Vec<u8>) {
        append_integer(i128::from(self.conversations), record);
        append_integer(i128::from(self.messages), record);
        append_integer(self.cost_nanos, record);
    }
}

/// Appends a signed integer: zigzag, so that small negative ones are short.
fn append_integer(value: i128, record: &mut Vec<u8>) {
    leb128::append((value.cast_unsigned() << 1) ^ (value >> 127).cast_unsigned(), record);
}

fn take_integer(rest: &mut &[u8]) -> Result<i128, Damage> {
    let bits = leb128::take(rest)?;
    Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
}

fn take_count(rest: &mut &[u8]) -> Result<i64, Damage> {
    i64::try_from(take_integer(rest)?).map_err(|_| "a counter is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::time_bucket::Granularity;
    use crate::model::id::UserId;
    use crate::model::timestamp::Day;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key() -> CounterKey {
        CounterKey::first(UserId::new(7), Granularity::Week.of(Day::new(20_000)))
    }

    fn counter(conversations: i64, messages: i64, cost_nanos: i128) -> Counter {
        Counter { conversations, messages, cost_nanos }
    }

    fn decoded(record: &[u8]) -> Result<BTreeMap<u8, Counter>, Damage> {
        let cells = CounterBody::open(&key(), record)?.cells();
        cells.map(|cell| cell.map(|(cell, counter)| (cell.0, counter))).collect()
    }

    /// The bytes are on disk: a change of them is a change of the format.
    #[test]
    fn the_bytes_are_frozen() {
        let cells = [
            (Cell::new(0, ChannelKind::Widget), counter(1, 2, -1)),
            (Cell::new(6, ChannelKind::Api), counter(64, 0, 150)),
        ];
        let mut record = Vec::new();
        append_counters(&key(), cells.iter().map(|(cell, counter)| (*cell, counter)), &mut record);
        assert_eq!(record[..record.len() - 8], [2, 1, 2, 4, 1, 27, 0x80, 1, 0, 0xac, 2]);
    }

    #[test]
    fn the_whole_range_decodes_as_it_was_encoded() {
        for cost in [0, 1, -1, 63, 64, -64, -65, i128::from(i64::MAX), i128::MAX, i128::MIN] {
            for count in [0, 1, -1, i64::MAX, i64::MIN] {
                let mut record = Vec::new();
                let counter = counter(count, count, cost);
                append_counters(&key(), [(Cell(3), &counter)], &mut record);
                assert_eq!(decoded(&record), Ok(BTreeMap::from([(3, counter)])));
            }
        }
    }

    #[test]
    fn damaged_bodies_are_refused() {
        #[track_caller]
        fn check(body: &[u8], expected: Damage) {
            let mut record = Vec::new();
            seal_version(V2, &key(), &mut record, |record| record.extend_from_slice(body));
            assert_eq!(decoded(&record), Err(expected));
        }
        check(&[], "a record has no counter");
        check(&[1, 2, 4], "a record is too short");
        check(&[1, 2, 4, 0x80], "a record is too short");
        check(&[CELLS, 2, 4, 0], "counters are out of order");
        check(&[3, 2, 4, 0, 3, 2, 4, 0], "counters are out of order");
        check(&[&[3, 2, 4][..], &[0xff; 20]].concat(), "a counter is out of range");
        check(&[&[3][..], &[0x80; 9], &[2, 4, 0]].concat(), "a counter is out of range");
    }

    proptest! {
        /// Changes of cells, one after the other, are those of a map, and the record is the one that
        /// has the same cells from the beginning.
        #[test]
        fn changes_of_cells_are_those_of_a_map(
            changes in prop::collection::vec((0..CELLS, -2_i64..3, -2_i64..3, -300_i128..300), 1..40),
        ) {
            let mut model: BTreeMap<u8, Counter> = BTreeMap::new();
            let mut record = Vec::new();
            for (cell, conversations, messages, cost) in changes {
                let change = counter(conversations, messages, cost);
                let body = match record.is_empty() {
                    true => CounterBody::EMPTY,
                    false => CounterBody::open(&key(), &record).unwrap(),
                };
                let mut changed = Vec::new();
                body.append_changed(&key(), Cell(cell), &change, &mut changed).unwrap();
                record = changed;
                model.entry(cell).or_default().add(&change).unwrap();
                model.retain(|_, counter| *counter != Counter::default());
                let mut expected = Vec::new();
                if !model.is_empty() {
                    let cells = model.iter().map(|(cell, counter)| (Cell(*cell), counter));
                    append_counters(&key(), cells, &mut expected);
                }
                prop_assert_eq!(&record, &expected);
            }
        }

        #[test]
        fn decoding_never_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut record = Vec::new();
            seal_version(V2, &key(), &mut record, |record| record.extend_from_slice(&body));
            let _ = decoded(&record);
            if let Ok(body) = CounterBody::open(&key(), &record) {
                let _ = body.append_changed(&key(), Cell(5), &counter(1, 1, 1), &mut Vec::new());
            }
        }
    }
}
