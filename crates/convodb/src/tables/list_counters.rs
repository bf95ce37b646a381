//! Counters of lists: the conversations of a list by day, in a record for each list and month.
//!
//! Lists by sender or with an AI that is off have counters from their first conversation on. Lists by
//! customer or external identifier are many and short, so they have counters only if they are long:
//! about one in [`SAMPLED`] inserts into a list without counters looks whether it has [`LONG`]
//! conversations, and writes the records if it has. A list has counters if it has a record; records
//! vanish with the conversations that they count.
//!
//! | lists | S sender, C customer |
//! |---|---|
//! | S, SA, O, OA | E external identifier, O AI off |
//! | long ones of C, CA, CS, CSA, E, EA | A assistant |
//!
//! Counters count the rows before a key: while the family is built, those that the build has read.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::index_term::{Field, Fingerprints, Shape, Term};
use crate::encoding::key::{IndexKey, ListCounterKey, RowKey};
use crate::encoding::list_counter::{Change, ListCounterBody, MonthCell, append_counters};
use crate::encoding::time_bucket::{Granularity, TimeBucket};
use crate::error::Result;
use crate::model::channel::ChannelKind;
use crate::model::choice::ChannelKinds;
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::model::timestamp::Day;
use crate::tables::indexes::only_first;
use crate::tables::schema::{Indexes, LIST_COUNTERS, ListCounters};

/// The number of conversations from which on a list by customer or external identifier gets counters.
pub(crate) const LONG: usize = 256;
/// About one in this many inserts into a list without counters looks how long it is.
const SAMPLED: u64 = 32;

/// The shapes of the lists that may have counters, the one of a leading field alone first.
const SHAPES: [Shape; 10] = [
    Shape::of(&[Field::Sender]),
    Shape::of(&[Field::Sender, Field::Assistant]),
    Shape::of(&[Field::AiOff]),
    Shape::of(&[Field::AiOff, Field::Assistant]),
    Shape::of(&[Field::Customer]),
    Shape::of(&[Field::Customer, Field::Assistant]),
    Shape::of(&[Field::Customer, Field::Sender]),
    Shape::of(&[Field::Customer, Field::Sender, Field::Assistant]),
    Shape::of(&[Field::External]),
    Shape::of(&[Field::External, Field::Assistant]),
];

/// A list that may have counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountedList {
    shape: Shape,
    leading: Field,
    pub(crate) term: Term,
}

impl CountedList {
    /// The list of a shape, whose fields all have fingerprints; `None` if none of this shape has
    /// counters.
    pub(crate) fn of(shape: Shape, fingerprints: &Fingerprints) -> Option<Self> {
        let (leading, term) = fingerprints.term(shape)?;
        SHAPES.contains(&shape).then_some(Self { shape, leading, term })
    }

    /// Whether the list has counters only if it is long.
    pub(crate) const fn may_be_short(self) -> bool {
        kind_of_short(self.leading).is_some()
    }

    /// Whether no other field than the leading one determines the list.
    pub(crate) fn is_whole(self) -> bool {
        self.shape == Shape::of(&[self.leading])
    }

    /// Whether the list is a part of `whole`, the list of a leading field alone of the same row.
    pub(crate) fn is_part_of(self, whole: Option<Self>) -> bool {
        whole.is_some_and(|whole| whole.leading == self.leading && whole.term != self.term)
    }
}

/// The type of all conversations of a list led by this field, if such a list may be short.
pub(crate) const fn kind_of_short(leading: Field) -> Option<ChannelKind> {
    match leading {
        Field::Customer => Some(ChannelKind::Whatsapp),
        Field::External => Some(ChannelKind::Api),
        Field::Kind | Field::Assistant | Field::Sender | Field::AiOff => None,
    }
}

/// The lists of a row that may have counters.
pub(crate) fn lists(row: &Fingerprints) -> impl Iterator<Item = CountedList> + '_ {
    let shapes = SHAPES.into_iter().filter(|shape| shape.is_subset_of(row.shape()));
    shapes.filter_map(|shape| CountedList::of(shape, row))
}

/// A row that lists count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedRow {
    pub(crate) key: RowKey,
    pub(crate) kind: ChannelKind,
    /// The key before which rows count; after `key`.
    pub(crate) before: RowKey,
}

impl ListCounters {
    /// Changes the counters of the lists of a row from those of `old` to those of `new`: an insert is
    /// (none, new), an update (old, new), a delete (old, none). The indexes have changed already.
    ///
    /// A read and a write of the record of each list that has counters, and a B-tree lookup for a
    /// customer or an external identifier. One in [`SAMPLED`] inserts into a list without counters
    /// reads up to [`LONG`] of its entries, or, if it is long, all.
    pub(crate) fn apply(
        &mut self,
        indexes: &Indexes,
        row: CountedRow,
        old: Option<&Fingerprints>,
        new: Option<&Fingerprints>,
    ) -> Result<()> {
        change_each(only_first(old, new, lists), |list| self.change(row, list, Change::Remove))?;
        let Some(new) = new else { return Ok(()) };
        change_each(only_first(Some(new), old, lists), |list| self.add(indexes, row, new, list))
    }

    /// Adds a row with these fingerprints to one of its lists, and returns whether the list has
    /// counters.
    fn add(
        &mut self,
        indexes: &Indexes,
        row: CountedRow,
        fingerprints: &Fingerprints,
        list: CountedList,
    ) -> Result<bool> {
        if list.may_be_short() && !self.has(row.key.user, list.term)? {
            return self.start(indexes, row, fingerprints, list);
        }
        self.change(row, list, Change::Add)
    }

    /// Adds a row to the counters of a list or removes it, and returns whether the list has counters:
    /// without them, it has no record to remove the row from.
    fn change(&mut self, row: CountedRow, list: CountedList, change: Change) -> Result<bool> {
        let (key, cell) = place(row.key.user, list.term, row.key.position, row.kind);
        let mut changed = self.table.take_buffer();
        let stored = self.table.get(key)?;
        let body = match (&stored, change) {
            (Some(record), _) => open(&key, record.value())?,
            (None, Change::Add) => ListCounterBody::EMPTY,
            (None, Change::Remove) => return Ok(false),
        };
        let appended = body.append_changed(&key, cell, change, &mut changed);
        appended.map_err(|what| LIST_COUNTERS.corrupted(what))?;
        drop(stored);
        match changed.is_empty() {
            true => self.table.remove(key)?,
            false => self.table.put_buffer(key, changed),
        }
        Ok(true)
    }

    /// Writes the counters of a list without counters if this insert looks at it and finds it long.
    /// Returns whether the list has counters now.
    ///
    /// A part of a list has counters only if that list has: a write passes over the parts of a list
    /// without counters.
    fn start(
        &mut self,
        indexes: &Indexes,
        row: CountedRow,
        fingerprints: &Fingerprints,
        list: CountedList,
    ) -> Result<bool> {
        if !is_sampled(list.term, row.key.position) {
            return Ok(false);
        }
        let user = row.key.user;
        if !list.is_whole()
            && let Some((_, whole)) = fingerprints.term(Shape::of(&[list.leading]))
            && !self.has(user, whole)?
        {
            return Ok(false);
        }
        if indexes.len_up_to(list.leading, user, list.term, LONG)? < LONG {
            return Ok(false);
        }
        let mut counts = ListCounts::default();
        let entries = indexes.get(list.leading).range(IndexKey::all_of(user, list.term))?;
        for entry in entries {
            let (entry, _) = entry?;
            if RowKey::new(user, entry.position) >= row.before {
                break;
            }
            counts.add(user, list.term, entry.position, row.kind);
        }
        for (key, record) in counts.records() {
            self.table.put(key, &record);
        }
        Ok(true)
    }

    /// Whether a list has counters. One B-tree lookup.
    pub(crate) fn has(&self, user: UserId, term: Term) -> Result<bool> {
        Ok(self.table.range(all_months(user, term))?.next().transpose()?.is_some())
    }

    /// The conversations of some types that a list has on some days, and the number of records read.
    /// One B-tree lookup, and a step for each month.
    pub(crate) fn sum(
        &self,
        user: UserId,
        term: Term,
        days: Range<Day>,
        kinds: ChannelKinds,
    ) -> Result<(u64, u64)> {
        let (mut conversations, mut records) = (0_u64, 0);
        let month = |day| ListCounterKey { user, term, month: Granularity::Month.of(day) };
        let last = Day::new(days.end.get().saturating_sub(1));
        for entry in self.table.range(month(days.start)..=month(last))? {
            let (key, record) = entry?;
            records += 1;
            for counter in open(&key, record.value())?.cells() {
                let damaged = |what| LIST_COUNTERS.corrupted(what);
                let (cell, count) = counter.map_err(damaged)?;
                let kind = cell.kind().ok_or_else(|| damaged("a counter has no known type"))?;
                let day = Day::new(key.month.start().get() + u32::from(cell.day()));
                if days.contains(&day) && kinds.contains(kind) {
                    let sum = conversations.checked_add(count);
                    conversations = sum.ok_or_else(|| damaged("a sum leaves its range"))?;
                }
            }
        }
        Ok((conversations, records))
    }
}

/// Changes lists, each if it has counters, which `change` returns.
fn change_each(
    lists: impl Iterator<Item = CountedList>,
    mut change: impl FnMut(CountedList) -> Result<bool>,
) -> Result<()> {
    let mut short = None;
    for list in lists {
        if !list.is_part_of(short) && !change(list)? && list.is_whole() {
            short = Some(list);
        }
    }
    Ok(())
}

/// Whether an insert at a position looks how long a list is. The term depends on a secret, so no
/// client can choose positions that do not.
fn is_sampled(term: Term, position: Position) -> bool {
    let place = [term.bits().to_le_bytes(), position.bits().to_le_bytes()];
    xxh3_64(place.as_flattened()).is_multiple_of(SAMPLED)
}

/// All keys of a list.
pub(crate) fn all_months(user: UserId, term: Term) -> RangeInclusive<ListCounterKey> {
    let key = |bits| ListCounterKey { user, term, month: TimeBucket::from_bits(bits) };
    key(0)..=key(u32::MAX)
}

/// The counter that counts a row in a list.
fn place(
    user: UserId,
    term: Term,
    position: Position,
    kind: ChannelKind,
) -> (ListCounterKey, MonthCell) {
    let day = position.created_at().day();
    let month = Granularity::Month.of(day);
    (ListCounterKey { user, term, month }, MonthCell::new(day, kind))
}

/// Opens a record of counters. Verifies its checksum.
fn open<'a>(key: &ListCounterKey, record: &'a [u8]) -> Result<ListCounterBody<'a>> {
    ListCounterBody::open(key, record).map_err(|what| LIST_COUNTERS.corrupted(what))
}

/// The counters of a record. Verifies its checksum.
pub(crate) fn decode(key: &ListCounterKey, record: &[u8]) -> Result<MonthCounts> {
    let cells = open(key, record)?.cells().collect::<Result<_, _>>();
    cells.map_err(|what| LIST_COUNTERS.corrupted(what))
}

/// The conversations of one list and month, by day and type.
pub(crate) type MonthCounts = BTreeMap<MonthCell, u64>;

/// The counters of some rows in some lists.
#[derive(Debug, Default)]
pub(crate) struct ListCounts(BTreeMap<ListCounterKey, MonthCounts>);

impl ListCounts {
    /// Counts a row in a list.
    pub(crate) fn add(&mut self, user: UserId, term: Term, position: Position, kind: ChannelKind) {
        let (key, cell) = place(user, term, position, kind);
        *self.0.entry(key).or_default().entry(cell).or_default() += 1;
    }

    /// Adds other counters.
    pub(crate) fn merge(&mut self, other: Self) {
        for (key, cells) in other.0 {
            add(self.0.entry(key).or_default(), cells);
        }
    }

    /// Takes the counters of a record; none if no row counts there.
    pub(crate) fn take(&mut self, key: &ListCounterKey) -> MonthCounts {
        self.0.remove(key).unwrap_or_default()
    }

    /// The keys of the records.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &ListCounterKey> {
        self.0.keys()
    }

    /// The records, in key order.
    fn records(self) -> impl Iterator<Item = (ListCounterKey, Vec<u8>)> {
        self.0.into_iter().map(|(key, cells)| (key, record_of(&key, &cells)))
    }

    /// The records with what is stored added, in key order.
    pub(crate) fn on_top_of(
        self,
        stored: &ListCounters,
    ) -> impl Iterator<Item = Result<(ListCounterKey, Vec<u8>)>> {
        self.0.into_iter().map(|(key, mut cells)| {
            if let Some(record) = stored.table.get(key)? {
                add(&mut cells, decode(&key, record.value())?);
            }
            Ok((key, record_of(&key, &cells)))
        })
    }
}

fn add(cells: &mut MonthCounts, others: MonthCounts) {
    others.into_iter().for_each(|(cell, count)| *cells.entry(cell).or_default() += count);
}

fn record_of(key: &ListCounterKey, cells: &MonthCounts) -> Vec<u8> {
    let mut record = Vec::with_capacity(16 + 2 * cells.len());
    append_counters(key, cells.iter().map(|(cell, count)| (*cell, *count)), &mut record);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::table::AnyTable;
    use crate::model::conversation::Conversation;
    use crate::model::id::AssistantId;
    use crate::model::index_family::IndexFamily;
    use crate::model::timestamp::Timestamp;
    use crate::options::WriteRules;
    use crate::tables::Tables;
    use crate::tables::families::{self, FamilyState};
    use crate::testing::{RawStore, assistant, id, whatsapp_row};
    use crate::transaction::Transaction;

    fn customer(store: &RawStore, phone: &str) -> CountedList {
        let mut fingerprints = Fingerprints::default();
        fingerprints.set(Field::Customer, store.fingerprinter.text(Field::Customer, phone));
        CountedList::of(fingerprints.shape(), &fingerprints).unwrap()
    }

    fn write(
        store: &RawStore,
        tables: &mut Tables,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<()>,
    ) {
        work(&mut Transaction::new(tables, &store.fingerprinter, WriteRules::NONE)).unwrap();
        tables.commit(1);
    }

    /// The number of inserts into a list until it has counters.
    fn inserts_until_counted() -> u64 {
        let store = RawStore::new();
        let (user, mut tables) = (store.user, store.tables());
        let list = customer(&store, "+2");
        for number in 1..10_000 {
            write(&store, &mut tables, |write| {
                write.insert(user, whatsapp_row(number, "+2"), Vec::new())
            });
            if tables.list_counters.has(user, list.term).unwrap() {
                let days = Day::new(0)..Day::new(u32::MAX);
                let sum = tables.list_counters.sum(user, list.term, days, ChannelKinds::ALL);
                assert_eq!(sum.unwrap(), (number, 1));
                return number;
            }
        }
        panic!("a list of 10,000 conversations has no counters");
    }

    #[test]
    fn a_list_gets_counters_soon_after_it_is_long() {
        let trials = 12;
        let inserts: Vec<u64> = (0..trials).map(|_| inserts_until_counted()).collect();
        assert!(inserts.iter().all(|inserts| *inserts >= LONG as u64), "{inserts:?}");
        // The mean is 31 inserts, and the chance of 200 in all trials 10^-20.
        let late: u64 = inserts.iter().map(|inserts| inserts - LONG as u64).sum();
        assert!(late < 200 * trials, "{inserts:?}");
    }

    /// Rows that join a long list by customer and assistant, one by one, do not give it counters while
    /// the list by customer has none: the next insert would not change them.
    #[test]
    fn a_part_of_a_list_has_no_counters_alone() {
        let store = RawStore::new();
        let (user, mut tables) = (store.user, store.tables());
        let (one, other) = (assistant(), AssistantId::new(uuid::Uuid::from_u128(1)));
        write(&store, &mut tables, |write| write.create_assistant(user, other, "Other").map(drop));
        let rows = 1..=LONG as u64;
        // One insert in 32 that makes the list long gives it counters.
        let of_customer = (2..100).map(|number| format!("+{number}")).find(|phone| {
            write(&store, &mut tables, |write| {
                let mut rows = rows.clone().map(|number| whatsapp_row(number, phone));
                rows.try_for_each(|row| write.insert(user, row, Vec::new()))
            });
            let list = customer(&store, phone);
            let is_counted = tables.list_counters.has(user, list.term).unwrap();
            if is_counted {
                write(&store, &mut tables, |write| {
                    rows.clone().try_for_each(|number| write.delete(user, id(number)))
                });
            }
            !is_counted
        });
        let phone = of_customer.unwrap();
        for (number, assistant) in rows.flat_map(|number| [(number, other), (number, one)]) {
            write(&store, &mut tables, |write| {
                let change = |row: &mut Conversation| {
                    row.assistant = assistant;
                    Ok(())
                };
                write.update(user, id(number), Timestamp::MIN, change).map(drop)
            });
        }
        let part = Shape::of(&[Field::Customer, Field::Assistant]);
        let row = whatsapp_row(1, &phone);
        let fingerprints = store.fingerprinter.row(one, &row.channel, true);
        let part = CountedList::of(part, &fingerprints).unwrap();
        assert!(!tables.list_counters.has(user, part.term).unwrap());
    }

    /// Counters vanish with the last row that they count, wherever it was removed.
    #[test]
    fn counters_end_with_their_list() {
        let store = RawStore::with_rows();
        let user = store.user;
        assert_eq!(store.tables().list_counters.table.count().unwrap(), 4, "S, SA, O and OA");
        for (number, left) in [(1, 4), (2, 2), (3, 0)] {
            store.transact(|write| write.delete(user, id(number)));
            assert_eq!(store.tables().list_counters.table.count().unwrap(), left);
        }
    }

    /// An update of what no list depends on, and one of a row that the build has yet to read, change
    /// no counter.
    #[test]
    fn only_changes_of_counted_rows_change_counters() {
        let store = RawStore::with_rows();
        let user = store.user;
        let changes = |state: FamilyState, change: fn(&mut Conversation)| {
            store.write(|write| families::put(write, IndexFamily::Counters, state).unwrap());
            let mut tables = store.tables();
            let mut transaction =
                Transaction::new(&mut tables, &store.fingerprinter, WriteRules::NONE);
            let updated = transaction.update(user, id(1), Timestamp::MIN, |row| {
                change(row);
                Ok(())
            });
            updated.unwrap();
            tables.list_counters.table.pending().changes
        };
        let position = store.tables().conversations.position(user, id(1)).unwrap().unwrap();
        let [next, after] = [position, position.next()].map(|at| RowKey::new(user, at));
        let switch_off = |row: &mut Conversation| row.ai_enabled = false;
        let of_o_and_oa = 2;
        assert_eq!(changes(FamilyState::Ready, switch_off), of_o_and_oa);
        assert_eq!(changes(FamilyState::Building(after), switch_off), of_o_and_oa);
        assert_eq!(changes(FamilyState::Building(next), switch_off), 0);
        assert_eq!(changes(FamilyState::Dropping { next, rebuild: false }, switch_off), 0);
        assert_eq!(changes(FamilyState::Ready, |row| row.message_count += 1), 0);
    }
}
