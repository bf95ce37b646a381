//! Metrics by user, span, assistant and type, kept in the same transaction as the rows that they
//! count, so that volumes, trends and bills are short ranges and never a scan of conversations. A
//! conversation counts once in each grain of [`Granularity::ALL`].

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::encoding::key::{CounterKey, RowKey, kind_number};
use crate::encoding::record::{CounterV1, decode_small, encode_small};
use crate::encoding::time_bucket::Granularity;
use crate::error::{Error, Result};
use crate::model::conversation::ConversationRef;
use crate::tables::schema::names;
use crate::tables::{Records, Tables};

impl CounterV1 {
    /// What one conversation counts for.
    pub(crate) fn of(conversation: &ConversationRef<'_>) -> Self {
        Self {
            conversations: 1,
            messages: i64::from(conversation.message_count),
            cost_nanos: i128::from(conversation.total_cost.nanos()),
        }
    }

    /// Adds `sign` times `other`; `None` where the sum leaves the range.
    pub(crate) fn add(&mut self, other: &CounterV1, sign: i64) -> Option<()> {
        let conversations = other.conversations.checked_mul(sign)?;
        let messages = other.messages.checked_mul(sign)?;
        self.conversations = self.conversations.checked_add(conversations)?;
        self.messages = self.messages.checked_add(messages)?;
        self.cost_nanos = self.cost_nanos.checked_add(other.cost_nanos * i128::from(sign))?;
        Some(())
    }
}

/// The counters that a conversation counts in, one of each grain.
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

/// The coarser counters that a day's counter counts in; none for one that is of no day.
pub(crate) fn rollups(of_day: CounterKey) -> Option<[CounterKey; 2]> {
    (of_day.bucket.granularity()? == Granularity::Day).then(|| {
        [Granularity::DayAllAssistants, Granularity::Month].map(|granularity| CounterKey {
            bucket: granularity.of(of_day.bucket.start()),
            assistant: assistant_of(granularity, of_day.assistant),
            ..of_day
        })
    })
}

/// Whom a counter of this grain is for, in its key.
pub(crate) const fn assistant_of(granularity: Granularity, assistant: Uuid) -> Uuid {
    match granularity {
        Granularity::Day | Granularity::Month => assistant,
        Granularity::DayAllAssistants => Uuid::nil(),
    }
}

/// The counter of a record.
pub(crate) fn decode(key: CounterKey, record: &[u8]) -> Result<CounterV1> {
    decode_small(&key, record).map_err(|what| Error::Corrupted { table: names::COUNTERS, what })
}

/// Takes the counters from `old` to `new`: see [`crate::tables::indexes::apply`]. A read and a write
/// of each counter that changes; one of nothing is removed.
pub(crate) fn apply(
    tables: &mut Tables,
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
                change_one(&mut tables.counters, to, &[minus, plus])?;
            }
            (minus, plus) => {
                for (key, change) in minus.into_iter().chain(plus) {
                    change_one(&mut tables.counters, key, &[change])?;
                }
            }
        }
    }
    Ok(())
}

fn change_one(
    counters: &mut Records<CounterKey>,
    key: CounterKey,
    changes: &[(CounterV1, i64)],
) -> Result<()> {
    let stored = read(counters, key)?;
    let mut total = stored;
    for (change, sign) in changes {
        total.add(change, *sign).ok_or_else(out_of_range)?;
    }
    if total == CounterV1::default() {
        counters.remove(key)?;
    } else if total != stored {
        counters.put(key, &encode_small(&key, total));
    }
    Ok(())
}

/// A counter as it is stored; zeros where there is none.
fn read(counters: &Records<CounterKey>, key: CounterKey) -> Result<CounterV1> {
    let stored = counters.get(key)?.map(|record| decode(key, record.value()));
    Ok(stored.transpose()?.unwrap_or_default())
}

/// What a bulk load adds to counters: one sum for each.
#[derive(Default)]
pub(crate) struct CounterDeltas(BTreeMap<CounterKey, CounterV1>);

impl CounterDeltas {
    /// Counts a new row.
    pub(crate) fn add(&mut self, row: RowKey, new: &ConversationRef<'_>) -> Result<()> {
        let count = CounterV1::of(new);
        keys(row, new).into_iter().try_for_each(|key| self.count(key, &count))
    }

    /// Adds to the sum of one counter.
    pub(crate) fn count(&mut self, key: CounterKey, count: &CounterV1) -> Result<()> {
        self.0.entry(key).or_default().add(count, 1).ok_or_else(out_of_range)
    }

    /// What the counters become, in key order.
    pub(crate) fn on_top_of(
        self,
        counters: &Records<CounterKey>,
    ) -> impl Iterator<Item = Result<(CounterKey, Vec<u8>)>> {
        self.0.into_iter().map(|(key, sum)| {
            let mut total = read(counters, key)?;
            total.add(&sum, 1).ok_or_else(out_of_range)?;
            Ok((key, encode_small(&key, total)))
        })
    }
}

fn out_of_range() -> Error {
    Error::Corrupted { table: names::COUNTERS, what: "a counter leaves its range" }
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
    use crate::testing::{RawStore, id, whatsapp_row};
    use crate::transaction::Transaction;

    #[test]
    fn the_coarser_counters_of_a_day_are_those_that_its_rows_count_in() {
        let row = whatsapp_row(1, "+2");
        let place = RowKey::new(RawStore::new().user, Position::from_bits(1));
        let [day, coarse @ ..] = keys(place, &row.borrowed());
        assert_eq!(rollups(day), Some(coarse));
        assert_eq!(coarse.map(rollups), [None, None]);
        assert_eq!(rollups(CounterKey { bucket: TimeBucket::from_bits(u32::MAX), ..day }), None);
    }

    /// A row that moves is taken from each counter that it was in; one that stays where it is
    /// changes each of its counters once, and removes none.
    #[test]
    fn a_changed_row_takes_its_counts_along() {
        let store = RawStore::with_rows();
        let user = store.user;
        let other = AssistantId::new(Uuid::from_u128(10));
        store.transact(|transaction| {
            transaction.create_assistant(user, other, "Other".parse()?)?;
            transaction.update(user, id(1), Timestamp::MIN, |row| {
                row.assistant = other;
                Ok(())
            })
        });
        assert!(store.verify().is_clean());

        let mut tables = store.tables();
        let mut transaction = Transaction::new(&mut tables, &store.fingerprinter, u64::MAX);
        let change = |row: &mut Conversation| {
            row.message_count += 1;
            Ok(())
        };
        transaction.update(user, id(3), Timestamp::MIN, change).unwrap();
        let pending = tables.counters.pending();
        assert_eq!((pending.changes, pending.removals), (Granularity::ALL.len(), 0));
    }
}
