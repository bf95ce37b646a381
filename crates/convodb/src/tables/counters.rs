//! Counters: conversations, messages and costs by time, assistant and type.
//!
//! They change in the same transaction as the rows that they count, so that volumes, trends and
//! bills are short ranges and never a scan of conversations. A conversation counts once in each
//! granularity of [`Granularity::ALL`]. One record has the counters of all types, and of all days of
//! a week: so a report of a year reads few records, and an insert writes no more of them.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::encoding::counter::{Cell, Counter, CounterBody, append_counters};
use crate::encoding::key::{CounterKey, RowKey};
use crate::encoding::time_bucket::Granularity;
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::conversation::ConversationRef;
use crate::model::id::UserId;
use crate::model::timestamp::Day;
use crate::tables::schema::{BytesTable, COUNTERS, Counters};

/// The place of a counter: its record, and its cell there.
pub(crate) type CounterPlace = (CounterKey, Cell);

impl Counter {
    /// The contribution of one conversation.
    pub(crate) fn of(conversation: &ConversationRef<'_>) -> Self {
        Self {
            conversations: 1,
            messages: i64::from(conversation.message_count),
            cost_nanos: i128::from(conversation.total_cost.nanos()),
        }
    }
}

/// The counters that count a conversation, one for each granularity.
pub(crate) fn places(
    row: RowKey,
    conversation: &ConversationRef<'_>,
) -> [CounterPlace; Granularity::ALL.len()] {
    let day = conversation.created_at.day();
    places_of(row.user, day, conversation.assistant.uuid(), conversation.channel.kind())
}

/// [`places`] of a conversation of this day, assistant and type.
pub(crate) fn places_of(
    user: UserId,
    day: Day,
    assistant: Uuid,
    kind: ChannelKind,
) -> [CounterPlace; Granularity::ALL.len()] {
    Granularity::ALL.map(|granularity| {
        let bucket = granularity.of(day);
        let (assistant, days) = match granularity {
            Granularity::DayAllAssistants => (Uuid::nil(), 0),
            Granularity::Month => (assistant, 0),
            Granularity::Week => (assistant, day.get().saturating_sub(bucket.start().get())),
        };
        let days = u8::try_from(days).unwrap_or(u8::MAX);
        (CounterKey { user, bucket, assistant, kind: 0 }, Cell::new(days, kind))
    })
}

/// Opens a record of counters. Verifies its checksum.
pub(crate) fn open<'a>(key: &CounterKey, record: &'a [u8]) -> Result<CounterBody<'a>> {
    CounterBody::open(key, record).map_err(|what| COUNTERS.corrupted(what))
}

impl Counters {
    /// Changes the counters of a row from `old` to `new`: an insert is (none, new), an update (old,
    /// new), a delete (old, none). A read and a write of each record that changes; removes counters
    /// that become zero.
    pub(crate) fn apply(
        &mut self,
        row: RowKey,
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Result<()> {
        let counted = |conversation| (places(row, conversation), Counter::of(conversation));
        let (old, new) = (old.map(counted), new.map(counted));
        for granularity in 0..Granularity::ALL.len() {
            let place =
                |(places, counter): ([CounterPlace; _], Counter)| (places[granularity], counter);
            let (old, new) = (old.map(place), new.map(place));
            let minus = old.map(|(place, counter)| Some((place, counter.negated()?)));
            let minus = minus.map(|minus| minus.ok_or_else(out_of_range)).transpose()?;
            match (minus, new) {
                (Some((from, mut change)), Some((to, plus))) if from == to => {
                    change.add(&plus).ok_or_else(out_of_range)?;
                    self.change(to, &change)?;
                }
                (minus, plus) => {
                    for (place, change) in minus.into_iter().chain(plus) {
                        self.change(place, &change)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, (key, cell): CounterPlace, change: &Counter) -> Result<()> {
        if *change == Counter::default() {
            return Ok(());
        }
        let mut changed = self.table.take_buffer();
        let stored = self.table.get(key)?;
        let body = match &stored {
            Some(record) => open(&key, record.value())?,
            None => CounterBody::EMPTY,
        };
        let appended = body.append_changed(&key, cell, change, &mut changed);
        appended.map_err(|what| COUNTERS.corrupted(what))?;
        drop(stored);
        if changed.is_empty() {
            return self.table.remove(key);
        }
        self.table.put_buffer(key, changed);
        Ok(())
    }
}

/// A stored record of counters; empty if there is none.
pub(super) fn stored(
    counters: &BytesTable<CounterKey>,
    key: CounterKey,
) -> Result<BTreeMap<Cell, Counter>> {
    match counters.get(key)? {
        Some(record) => {
            let cells = open(&key, record.value())?.cells().collect::<Result<_, _>>();
            cells.map_err(|what| COUNTERS.corrupted(what))
        }
        None => Ok(BTreeMap::new()),
    }
}

/// The increments of counters by a bulk load.
#[derive(Default)]
pub(crate) struct CounterDeltas(BTreeMap<CounterKey, BTreeMap<Cell, Counter>>);

impl CounterDeltas {
    /// Counts a new row.
    pub(crate) fn add(&mut self, row: RowKey, new: &ConversationRef<'_>) -> Result<()> {
        let counter = Counter::of(new);
        places(row, new).into_iter().try_for_each(|place| self.count(place, &counter))
    }

    /// Increments one counter.
    pub(crate) fn count(&mut self, (key, cell): CounterPlace, counter: &Counter) -> Result<()> {
        let cells = self.0.entry(key).or_default();
        cells.entry(cell).or_default().add(counter).ok_or_else(out_of_range)
    }

    /// The records of the incremented counters, in key order.
    pub(crate) fn on_top_of(
        self,
        counters: &Counters,
    ) -> impl Iterator<Item = Result<(CounterKey, Vec<u8>)>> {
        self.0.into_iter().map(|(key, increments)| {
            let mut cells = stored(&counters.table, key)?;
            for (cell, increment) in &increments {
                cells.entry(*cell).or_default().add(increment).ok_or_else(out_of_range)?;
            }
            Ok((key, record_of(&key, &cells)))
        })
    }

    /// The records of the increments alone, in key order.
    pub(crate) fn records(self) -> impl Iterator<Item = (CounterKey, Vec<u8>)> {
        self.0.into_iter().map(|(key, cells)| (key, record_of(&key, &cells)))
    }
}

fn record_of(key: &CounterKey, cells: &BTreeMap<Cell, Counter>) -> Vec<u8> {
    let mut record = Vec::with_capacity(64);
    append_counters(key, cells.iter().map(|(cell, counter)| (*cell, counter)), &mut record);
    record
}

pub(super) fn out_of_range() -> Error {
    COUNTERS.corrupted("a counter leaves its range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::table::AnyTable;
    use crate::model::conversation::Conversation;
    use crate::model::id::AssistantId;
    use crate::model::timestamp::Timestamp;
    use crate::options::WriteRules;
    use crate::testing::{RawStore, id};
    use crate::transaction::Transaction;

    /// A row whose keys change moves between counters; a row whose keys stay the same changes each
    /// of its counters once, and removes none.
    #[test]
    fn an_update_moves_the_counts_of_a_row() {
        let store = RawStore::with_rows();
        let user = store.user;
        store.transact(|transaction| {
            let other = AssistantId::new(Uuid::from_u128(10));
            transaction.create_assistant(user, other, "Other")?;
            transaction.update(user, id(1), Timestamp::MIN, |row| {
                row.assistant = other;
                Ok(())
            })
        });
        assert!(store.verify().is_clean());

        let mut tables = store.tables();
        let mut transaction = Transaction::new(&mut tables, &store.fingerprinter, WriteRules::NONE);
        let add_message = |row: &mut Conversation| {
            row.message_count += 1;
            Ok(())
        };
        transaction.update(user, id(3), Timestamp::MIN, add_message).unwrap();
        let pending = tables.counters.table.pending();
        assert_eq!((pending.changes, pending.removals), (Granularity::ALL.len(), 0));
    }
}
