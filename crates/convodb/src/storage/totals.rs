//! Counters by owner, day, assistant and type, kept in the same transaction as the rows that they
//! count, so that volumes, trends and bills are short ranges and never a scan of conversations.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::encoding::key::{RowKey, TotalKey, kind_number};
use crate::encoding::record::{TotalV1, decode_small, encode_small};
use crate::error::{Error, Result};
use crate::model::conversation::ConversationRef;
use crate::storage::rows::Records;
use crate::storage::schema::names;
use crate::storage::tables::Journaled;

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

/// Changes of counters, gathered over a group of writes and applied in key order: one read and one
/// write for each counter that changes, however often it does.
#[derive(Default)]
pub(crate) struct TotalChanges {
    changes: Vec<(TotalKey, i64, TotalV1)>,
    /// What each counter that changes is on disk. It is read when the change is gathered, so that a
    /// damaged counter fails the write that touches it and not the group.
    stored: BTreeMap<TotalKey, TotalV1>,
}

impl TotalChanges {
    /// Gathers what takes the counters from `old` to `new`: see `IndexChanges::apply`.
    pub(crate) fn apply(
        &mut self,
        totals: &impl Records<TotalKey>,
        row: RowKey,
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Result<()> {
        for (conversation, sign) in [(old, -1), (new, 1)] {
            let Some(conversation) = conversation else { continue };
            let key = key(row, conversation);
            if let Entry::Vacant(unread) = self.stored.entry(key) {
                let stored = totals.get(key)?.map(|record| decode(key, record.value()));
                unread.insert(stored.transpose()?.unwrap_or_default());
            }
            self.changes.push((key, sign, TotalV1::of(conversation)));
        }
        Ok(())
    }

    /// How many changes are gathered: what [`TotalChanges::truncate`] takes.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Forgets the changes gathered since there were `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.changes.truncate(len);
    }

    /// Makes one change of all those of a counter, so that memory grows with the counters that
    /// change and not with the changes.
    pub(crate) fn merge(&mut self) -> Result<()> {
        self.changes.sort_by_key(|(key, ..)| *key);
        let merged = self.changes.chunk_by(|a, b| a.0 == b.0).filter_map(|changes| {
            let (key, ..) = changes.first()?;
            Some(sum(changes).map(|total| (*key, 1, total)))
        });
        self.changes = merged.collect::<Result<_>>()?;
        Ok(())
    }

    /// Applies all changes. A counter of nothing is removed.
    pub(crate) fn flush(&mut self, table: &mut Journaled<'_, TotalKey>) -> Result<()> {
        self.merge()?;
        for (key, _, delta) in self.changes.drain(..) {
            let stored = self.stored.get(&key).copied().unwrap_or_default();
            let mut total = stored;
            total.add(&delta, 1).ok_or_else(out_of_range)?;
            if total == TotalV1::default() {
                table.remove(key)?;
            } else if total != stored {
                table.put(key, &encode_small(&key, total))?;
            }
        }
        self.stored.clear();
        Ok(())
    }
}

/// The sum of changes of one counter.
fn sum(changes: &[(TotalKey, i64, TotalV1)]) -> Result<TotalV1> {
    let mut sum = TotalV1::default();
    for (_, sign, change) in changes {
        sum.add(change, *sign).ok_or_else(out_of_range)?;
    }
    Ok(sum)
}

fn out_of_range() -> Error {
    Error::Corrupted { table: names::TOTALS, what: "a counter leaves its range" }
}
