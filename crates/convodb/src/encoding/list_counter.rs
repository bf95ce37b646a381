//! Counters of lists: the body of a record with the conversations of one list and month.
//!
//! ```text
//! for each cell, in ascending order: cell u8 | conversations
//! cell = 4 * days since the first of the month + number of the type
//! ```
//!
//! The number of conversations is at least 1, in 7 bits of each byte, the lowest first; the top bit
//! says that more follow. Most cells take 2 bytes. A change rewrites one cell and copies the others
//! as they are.

use crate::encoding::cells::{self, CellValue, Cells, ChangedCells, Place};
use crate::encoding::key::{ListCounterKey, kind_number, kind_of_number};
use crate::encoding::leb128;
use crate::encoding::record::{self, Damage, seal};
use crate::encoding::time_bucket::Granularity;
use crate::model::channel::ChannelKind;
use crate::model::timestamp::Day;

/// The place of a counter in its record: a day of the month, and a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MonthCell(u8);

const KINDS: u8 = 4;
const CELLS: u8 = 31 * KINDS;

impl MonthCell {
    /// The cell of a day and a type.
    pub(crate) fn new(day: Day, kind: ChannelKind) -> Self {
        let first = Granularity::Month.of(day).start();
        let days = u8::try_from(day.get().saturating_sub(first.get())).unwrap_or(u8::MAX);
        Self(days.min(CELLS / KINDS - 1) * KINDS + kind_number(kind))
    }

    /// Days from the first of the month, 30 at most.
    pub(crate) const fn day(self) -> u8 {
        self.0 / KINDS
    }

    /// The type; `None` for a cell that no type has.
    pub(crate) fn kind(self) -> Option<ChannelKind> {
        kind_of_number(u32::from(self.0 % KINDS))
    }
}

impl Place for MonthCell {
    fn from_number(number: u8) -> Option<Self> {
        (number < CELLS).then_some(Self(number))
    }

    fn number(self) -> u8 {
        self.0
    }
}

/// The number of conversations of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MonthCount(u64);

impl CellValue for MonthCount {
    type Place = MonthCell;

    fn take(rest: &mut &[u8]) -> Result<Self, Damage> {
        match u64::try_from(leb128::take(rest)?).map_err(|_| "a counter is out of range")? {
            0 => Err("a counter is zero"),
            count => Ok(Self(count)),
        }
    }

    fn append(&self, record: &mut Vec<u8>) {
        leb128::append(u128::from(self.0), record);
    }
}

/// A change of a counter by one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Remove,
}

/// The verified body of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListCounterBody<'a>(&'a [u8]);

impl<'a> ListCounterBody<'a> {
    /// The body of a record that does not exist.
    pub(crate) const EMPTY: ListCounterBody<'static> = ListCounterBody(&[]);

    /// Verifies the checksum and the version of a record.
    pub(crate) fn open(key: &ListCounterKey, record: &'a [u8]) -> Result<Self, Damage> {
        match record::open(key, record)?.bytes() {
            [_, cells @ ..] if !cells.is_empty() => Ok(Self(cells)),
            _ => Err("a record has no counter"),
        }
    }

    /// The counters in ascending order of their cells. Ends after the first error.
    pub(crate) fn cells(self) -> impl Iterator<Item = Result<(MonthCell, u64), Damage>> + 'a {
        Cells::<MonthCount>::new(self.0).map(|cell| cell.map(|(cell, count)| (cell, count.0)))
    }

    /// Appends a record of `key` in which the counter of `cell` is changed. Appends none if no
    /// counter is left, as counters that become zero are left out.
    pub(crate) fn append_changed(
        self,
        key: &ListCounterKey,
        cell: MonthCell,
        change: Change,
        record: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let by_one = |MonthCount(count)| match change {
            Change::Add => count.checked_add(1).map(MonthCount),
            Change::Remove => count.checked_sub(1).map(MonthCount),
        };
        let cells = ChangedCells::new(self.0, cell, by_one)?;
        if !cells.is_empty() {
            seal(key, record, |record| cells.append(record));
        }
        Ok(())
    }
}

/// Appends a record of counters, whose cells must ascend.
pub(crate) fn append_counters(
    key: &ListCounterKey,
    counters: impl IntoIterator<Item = (MonthCell, u64)>,
    record: &mut Vec<u8>,
) {
    seal(key, record, |record| {
        let append = |(cell, count)| cells::append(cell, &MonthCount(count), record);
        counters.into_iter().for_each(append);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::index_term::Term;
    use crate::model::id::UserId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key() -> ListCounterKey {
        let month = Granularity::Month.of(Day::new(20_000));
        ListCounterKey { user: UserId::new(7), term: Term::from_bits(77), month }
    }

    fn decoded(record: &[u8]) -> Result<BTreeMap<u8, u64>, Damage> {
        let cells = ListCounterBody::open(&key(), record)?.cells();
        cells.map(|cell| cell.map(|(cell, count)| (cell.0, count))).collect()
    }

    /// The bytes are on disk: a change of them is a change of the format.
    #[test]
    fn the_bytes_are_frozen() {
        let day = |text: &str| text.parse::<Day>().unwrap();
        let cells = [
            (MonthCell::new(day("2024-10-01"), ChannelKind::Widget), 1),
            (MonthCell::new(day("2024-10-31"), ChannelKind::Api), 150),
        ];
        let mut record = Vec::new();
        append_counters(&key(), cells, &mut record);
        assert_eq!(record[..record.len() - 8], [1, 1, 1, 123, 0x96, 1]);
        assert_eq!(cells.map(|(cell, _)| cell.day()), [0, 30]);
        assert_eq!(cells[1].0.kind(), Some(ChannelKind::Api));
    }

    #[test]
    fn the_whole_range_decodes_as_it_was_encoded() {
        for count in [1, 0x7f, 0x80, u64::from(u32::MAX), u64::MAX] {
            let mut record = Vec::new();
            append_counters(&key(), [(MonthCell(3), count)], &mut record);
            assert_eq!(decoded(&record), Ok(BTreeMap::from([(3, count)])));
        }
    }

    #[test]
    fn damaged_bodies_are_refused() {
        #[track_caller]
        fn check(body: &[u8], expected: Damage) {
            let mut record = Vec::new();
            seal(&key(), &mut record, |record| record.extend_from_slice(body));
            assert_eq!(decoded(&record), Err(expected));
        }
        check(&[], "a record has no counter");
        check(&[1], "a record is too short");
        check(&[1, 0x80], "a record is too short");
        check(&[1, 0], "a counter is zero");
        check(&[CELLS, 2], "counters are out of order");
        check(&[3, 2, 3, 2], "counters are out of order");
        check(&[&[3][..], &[0xff; 10], &[1]].concat(), "a counter is out of range");
        check(&[&[3][..], &[0x80; 10], &[1]].concat(), "a counter is out of range");
    }

    #[test]
    fn a_counter_does_not_become_negative() {
        let changed = |body: ListCounterBody<'_>| {
            body.append_changed(&key(), MonthCell(4), Change::Remove, &mut Vec::new())
        };
        assert_eq!(changed(ListCounterBody::EMPTY), Err("a counter leaves its range"));
        assert_eq!(changed(ListCounterBody(&[3, 1])), Err("a counter leaves its range"));
        assert_eq!(changed(ListCounterBody(&[4, 1])), Ok(()));
    }

    proptest! {
        /// Changes of cells, one after the other, are those of a map, and the record is the one that
        /// has the same cells from the beginning.
        #[test]
        fn changes_of_cells_are_those_of_a_map(
            changes in prop::collection::vec((0..CELLS, any::<bool>()), 1..60),
        ) {
            let mut model: BTreeMap<u8, u64> = BTreeMap::new();
            let mut record = Vec::new();
            for (cell, adds) in changes {
                let counted = model.get(&cell).copied().unwrap_or(0);
                let change = if adds || counted == 0 { Change::Add } else { Change::Remove };
                let body = match record.is_empty() {
                    true => ListCounterBody::EMPTY,
                    false => ListCounterBody::open(&key(), &record).unwrap(),
                };
                let mut changed = Vec::new();
                body.append_changed(&key(), MonthCell(cell), change, &mut changed).unwrap();
                record = changed;
                model.insert(cell, if change == Change::Add { counted + 1 } else { counted - 1 });
                model.retain(|_, count| *count > 0);
                let mut expected = Vec::new();
                if !model.is_empty() {
                    let cells = model.iter().map(|(cell, count)| (MonthCell(*cell), *count));
                    append_counters(&key(), cells, &mut expected);
                }
                prop_assert_eq!(&record, &expected);
            }
        }

        #[test]
        fn decoding_never_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut record = Vec::new();
            seal(&key(), &mut record, |record| record.extend_from_slice(&body));
            let _ = decoded(&record);
            if let Ok(body) = ListCounterBody::open(&key(), &record) {
                let _ = body.append_changed(&key(), MonthCell(5), Change::Add, &mut Vec::new());
            }
        }
    }
}
