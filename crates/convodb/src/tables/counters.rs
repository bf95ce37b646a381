//! Counters: conversations, messages and costs by time bucket, assistant and type.
//!
//! They change in the same transaction as the rows that they count, so that volumes, trends and
//! bills are short ranges and never a scan of conversations. A conversation counts once in each
//! granularity of [`Granularity::ALL`].

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::encoding::key::{CounterKey, RowKey, kind_number};
use crate::encoding::record::{CounterV1, append_small, decode_small, encode_small};
use crate::encoding::time_bucket::Granularity;
use crate::error::{Error, Result};
use crate::model::conversation::ConversationRef;
use crate::tables::schema::{BytesTable, COUNTERS, Counters};

impl CounterV1 {
    /// The contribution of one conversation.
    pub(crate) fn of(conversation: &ConversationRef<'_>) -> Self {
        Self {
            conversations: 1,
            messages: i64::from(conversation.message_count),
            cost_nanos: i128::from(conversation.total_cost.nanos()),
        }
    }

    /// Adds `sign` times `other`; `None` if the sum leaves the range.
    pub(crate) fn add(&mut self, other: &CounterV1, sign: i64) -> Option<()> {
        let conversations = other.conversations.checked_mul(sign)?;
        let messages = other.messages.checked_mul(sign)?;
        self.conversations = self.conversations.checked_add(conversations)?;
        self.messages = self.messages.checked_add(messages)?;
        self.cost_nanos = self.cost_nanos.checked_add(other.cost_nanos * i128::from(sign))?;
        Some(())
    }
}

/// The keys of the counters that count a conversation, one for each granularity.
pub(crate) fn keys(
    row: RowKey,
    conversation: &ConversationRef<'_>,
) -> [CounterKey; Granularity::ALL.len()] {
    let kind = u32::from(kind_number(conversation.channel.kind()));
    let day = conversation.created_at.day();
    Granularity::ALL.map(|granularity| CounterKey {
        user: row.user,
        bucket: granularity.of(day),
        assistant: assistant_of(granularity, conversation.assistant.uuid()),
        kind,
    })
}

/// The keys of the coarser counters that include a day's counter; `None` if `of_day` is not of a
/// single day.
pub(crate) fn rollups(of_day: CounterKey) -> Option<[CounterKey; 2]> {
    (of_day.bucket.granularity()? == Granularity::Day).then(|| {
        [Granularity::DayAllAssistants, Granularity::Month].map(|granularity| CounterKey {
            bucket: granularity.of(of_day.bucket.start()),
            assistant: assistant_of(granularity, of_day.assistant),
            ..of_day
        })
    })
}

/// The assistant in the key of a counter of this granularity.
pub(crate) const fn assistant_of(granularity: Granularity, assistant: Uuid) -> Uuid {
    match granularity {
        Granularity::Day | Granularity::Month => assistant,
        Granularity::DayAllAssistants => Uuid::nil(),
    }
}

/// Decodes the record of a counter. Verifies its checksum.
pub(crate) fn decode(key: CounterKey, record: &[u8]) -> Result<CounterV1> {
    decode_small(&key, record).map_err(|what| COUNTERS.corrupted(what))
}

impl Counters {
    /// Changes the counters of a row from `old` to `new`: an insert is (none, new), an update (old,
    /// new), a delete (old, none). A read and a write of each counter that changes; removes
    /// counters that become zero.
    pub(crate) fn apply(
        &mut self,
        row: RowKey,
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Result<()> {
        let counted = |conversation| (keys(row, conversation), CounterV1::of(conversation));
        let (old, new) = (old.map(counted), new.map(counted));
        for granularity in 0..Granularity::ALL.len() {
            let minus = old.map(|(keys, count)| (keys[granularity], (count, -1)));
            let plus = new.map(|(keys, count)| (keys[granularity], (count, 1)));
            match (minus, plus) {
                (Some((from, minus)), Some((to, plus))) if from == to => {
                    self.change(to, &[minus, plus])?;
                }
                (minus, plus) => {
                    for (key, change) in minus.into_iter().chain(plus) {
                        self.change(key, &[change])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, key: CounterKey, changes: &[(CounterV1, i64)]) -> Result<()> {
        let stored = read(&self.table, key)?;
        let mut counter = stored;
        for (change, sign) in changes {
            counter.add(change, *sign).ok_or_else(out_of_range)?;
        }
        if counter == CounterV1::default() {
            self.table.remove(key)?;
        } else if counter != stored {
            let mut record = self.table.take_buffer();
            append_small(&key, counter, &mut record);
            self.table.put_buffer(key, record);
        }
        Ok(())
    }
}

/// A stored counter; zero if there is none.
fn read(counters: &BytesTable<CounterKey>, key: CounterKey) -> Result<CounterV1> {
    let stored = counters.get(key)?.map(|record| decode(key, record.value()));
    Ok(stored.transpose()?.unwrap_or_default())
}

/// The increments of counters by a bulk load.
#[derive(Default)]
pub(crate) struct CounterDeltas(BTreeMap<CounterKey, CounterV1>);

impl CounterDeltas {
    /// Counts a new row.
    pub(crate) fn add(&mut self, row: RowKey, new: &ConversationRef<'_>) -> Result<()> {
        let count = CounterV1::of(new);
        keys(row, new).into_iter().try_for_each(|key| self.count(key, &count))
    }

    /// Increments one counter.
    pub(crate) fn count(&mut self, key: CounterKey, count: &CounterV1) -> Result<()> {
        self.0.entry(key).or_default().add(count, 1).ok_or_else(out_of_range)
    }

    /// The records of the incremented counters, in key order.
    pub(crate) fn on_top_of(
        self,
        counters: &Counters,
    ) -> impl Iterator<Item = Result<(CounterKey, Vec<u8>)>> {
        self.0.into_iter().map(|(key, sum)| {
            let mut counter = read(&counters.table, key)?;
            counter.add(&sum, 1).ok_or_else(out_of_range)?;
            Ok((key, encode_small(&key, counter)))
        })
    }
}

fn out_of_range() -> Error {
    COUNTERS.corrupted("a counter leaves its range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::time_bucket::TimeBucket;
    use crate::kv::table::AnyTable;
    use crate::model::conversation::Conversation;
    use crate::model::id::AssistantId;
    use crate::model::position::Position;
    use crate::model::timestamp::Timestamp;
    use crate::options::WriteRules;
    use crate::testing::{RawStore, id, whatsapp_row};
    use crate::transaction::Transaction;

    #[test]
    fn rollups_of_a_day_are_the_coarser_counters_of_its_rows() {
        let row = whatsapp_row(1, "+2");
        let key = RowKey::new(RawStore::new().user, Position::from_bits(1));
        let [day, coarse @ ..] = keys(key, &row.borrowed());
        assert_eq!(rollups(day), Some(coarse));
        assert_eq!(coarse.map(rollups), [None, None]);
        assert_eq!(rollups(CounterKey { bucket: TimeBucket::from_bits(u32::MAX), ..day }), None);
    }

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
