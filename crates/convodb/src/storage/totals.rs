//! Counters by owner, day, assistant and type, kept in the same transaction as the rows that they
//! count, so that volumes, trends and bills are short ranges and never a scan of conversations.

use std::collections::BTreeMap;

use crate::encoding::key::{RowKey, TotalKey, kind_number};
use crate::encoding::record::{TotalV1, decode_small, encode_small};
use crate::error::{Error, Result};
use crate::model::conversation::ConversationRef;
use crate::storage::schema::names;
use crate::storage::tables::{Records, Tables};

impl TotalV1 {
    /// What one conversation counts for.
    pub(crate) fn of(conversation: &ConversationRef<'_>) -> Self {
        Self {
            conversations: 1,
            messages: i64::from(conversation.message_count),
            cost_nanos: i128::from(conversation.total_cost.nanos()),
        }
    }

    /// Adds `sign` times `other`; `None` where the sum leaves the range.
    pub(crate) fn add(&mut self, other: &TotalV1, sign: i64) -> Option<()> {
        let conversations = other.conversations.checked_mul(sign)?;
        let messages = other.messages.checked_mul(sign)?;
        self.conversations = self.conversations.checked_add(conversations)?;
        self.messages = self.messages.checked_add(messages)?;
        self.cost_nanos = self.cost_nanos.checked_add(other.cost_nanos * i128::from(sign))?;
        Some(())
    }
}

/// The counter that a conversation counts in.
pub(crate) fn key(row: RowKey, conversation: &ConversationRef<'_>) -> TotalKey {
    TotalKey {
        owner: row.owner,
        day: conversation.created_at.day(),
        assistant: conversation.assistant.uuid(),
        kind: u32::from(kind_number(conversation.channel.kind())),
    }
}

/// The counter of a record.
pub(crate) fn decode(key: TotalKey, record: &[u8]) -> Result<TotalV1> {
    decode_small(&key, record).map_err(|what| Error::Corrupted { table: names::TOTALS, what })
}

/// Takes the counters from `old` to `new`: see [`crate::storage::index::apply`]. A read and a write
/// of each counter that changes; one of nothing is removed.
pub(crate) fn apply(
    tables: &mut Tables,
    row: RowKey,
    old: Option<&ConversationRef<'_>>,
    new: Option<&ConversationRef<'_>>,
) -> Result<()> {
    let change = |conversation, sign| (key(row, conversation), (TotalV1::of(conversation), sign));
    let (old, new) = (old.map(|old| change(old, -1)), new.map(|new| change(new, 1)));
    match (old, new) {
        (Some((from, minus)), Some((to, plus))) if from == to => {
            change_one(&mut tables.totals, to, &[minus, plus])
        }
        (old, new) => old
            .into_iter()
            .chain(new)
            .try_for_each(|(key, change)| change_one(&mut tables.totals, key, &[change])),
    }
}

fn change_one(
    totals: &mut Records<TotalKey>,
    key: TotalKey,
    changes: &[(TotalV1, i64)],
) -> Result<()> {
    let stored = read(totals, key)?;
    let mut total = stored;
    for (change, sign) in changes {
        total.add(change, *sign).ok_or_else(out_of_range)?;
    }
    if total == TotalV1::default() {
        totals.remove(key)?;
    } else if total != stored {
        totals.put(key, &encode_small(&key, total));
    }
    Ok(())
}

/// A counter as it is stored; zeros where there is none.
fn read(totals: &Records<TotalKey>, key: TotalKey) -> Result<TotalV1> {
    let stored = totals.get(key)?.map(|record| decode(key, record.value()));
    Ok(stored.transpose()?.unwrap_or_default())
}

/// What a bulk load adds to counters: one sum for each.
#[derive(Default)]
pub(crate) struct Sums(BTreeMap<TotalKey, TotalV1>);

impl Sums {
    /// Counts a new row.
    pub(crate) fn add(&mut self, row: RowKey, new: &ConversationRef<'_>) -> Result<()> {
        let sum = self.0.entry(key(row, new)).or_default();
        sum.add(&TotalV1::of(new), 1).ok_or_else(out_of_range)
    }

    /// What the counters become, in key order.
    pub(crate) fn on_top_of(
        self,
        totals: &Records<TotalKey>,
    ) -> impl Iterator<Item = Result<(TotalKey, Vec<u8>)>> {
        self.0.into_iter().map(|(key, sum)| {
            let mut total = read(totals, key)?;
            total.add(&sum, 1).ok_or_else(out_of_range)?;
            Ok((key, encode_small(&key, total)))
        })
    }
}

fn out_of_range() -> Error {
    Error::Corrupted { table: names::TOTALS, what: "a counter leaves its range" }
}
