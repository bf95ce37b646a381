//! The feed of changes: what happened to each user's conversations, in the order in which it was
//! committed. Numbers begin at 1 for each user and have no gap; the oldest changes are forgotten
//! after a time, and their numbers never given again.
//!
//! The engine reads no clock. A *mark* tells which change was the last one at some hour, so that
//! what is older than a time can be told without a time in each change.

use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::encoding::key::{ChangeKey, NumberKey, RowKey};
use crate::encoding::record::{ChangeV1, append_small, decode_small, encode_small};
use crate::error::{Error, Result};
use crate::model::change::ChangeKind;
use crate::model::id::{ConversationId, UserId};
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::tables::schema::names;
use crate::tables::sequences;
use crate::tables::{Records, Tables};

const MILLIS_PER_HOUR: u64 = 3_600_000;

/// A change as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    pub(crate) kind: ChangeKind,
    pub(crate) id: ConversationId,
    /// Where the conversation stood. Another one may stand there now.
    pub(crate) row: RowKey,
}

impl ChangeRecord {
    fn stored(self) -> ChangeV1 {
        ChangeV1 {
            kind: match self.kind {
                ChangeKind::Created => 1,
                ChangeKind::Updated => 2,
                ChangeKind::Deleted => 3,
            },
            conversation: *self.id.uuid().as_bytes(),
            position: self.row.position.bits(),
        }
    }
}

/// The change of a record, its checksum verified.
pub(crate) fn decode(key: ChangeKey, record: &[u8]) -> Result<ChangeRecord> {
    let damaged = |what| Error::Corrupted { table: names::CHANGES, what };
    let change: ChangeV1 = decode_small(&key, record).map_err(damaged)?;
    Ok(ChangeRecord {
        kind: match change.kind {
            1 => ChangeKind::Created,
            2 => ChangeKind::Updated,
            3 => ChangeKind::Deleted,
            _ => return Err(damaged("a change is of no known kind")),
        },
        id: ConversationId::new(Uuid::from_bytes(change.conversation)),
        row: RowKey::new(key.user, Position::from_bits(change.position)),
    })
}

/// Notes what happened to a row. One descent and a write of the change and of its number.
pub(crate) fn append(
    tables: &mut Tables,
    kind: ChangeKind,
    row: RowKey,
    id: ConversationId,
) -> Result<u64> {
    let number = sequences::last_change(&tables.sequences, row.user)? + 1;
    let key = ChangeKey { user: row.user, number };
    tables.changes.put(key, &encode_small(&key, ChangeRecord { kind, id, row }.stored()));
    sequences::put_last_change(tables, row.user, number);
    Ok(number)
}

/// Appends the record of the change `key`: a row that a bulk load creates.
pub(crate) fn append_created(key: ChangeKey, row: RowKey, id: ConversationId, out: &mut Vec<u8>) {
    append_small(&key, ChangeRecord { kind: ChangeKind::Created, id, row }.stored(), out);
}

/// The changes after `number`, in order. One descent, then a step each.
pub(crate) fn after(
    changes: &Records<ChangeKey>,
    user: UserId,
    number: u64,
) -> Result<impl Iterator<Item = Result<(u64, ChangeRecord)>>> {
    Ok(changes.range(all_after(user, number))?.map(|entry| {
        let (key, record) = entry?;
        Ok((key.number, decode(key, record.value())?))
    }))
}

fn all_after(user: UserId, number: u64) -> RangeInclusive<ChangeKey> {
    let first = ChangeKey { user, number: number.saturating_add(1) };
    first..=ChangeKey { user, number: u64::MAX }
}

/// The hour that an instant is in, counted from 1970-01-01.
fn hour(at: Timestamp) -> u32 {
    u32::try_from(at.millis() / MILLIS_PER_HOUR).unwrap_or(u32::MAX)
}

/// Marks which change of the user's is the last one at `now`, if there were any since the last
/// mark. Changes until the end of that hour are told by the next one.
pub(crate) fn add_time_mark(tables: &mut Tables, user: UserId, now: Timestamp) -> Result<()> {
    let last = sequences::last_change(&tables.sequences, user)?;
    let newest = tables.change_marks.last(all_marks(user, u32::MAX))?;
    let marked = newest.map(|(_, stored)| sequences::number(stored.value(), names::CHANGE_MARKS));
    if marked.transpose()?.unwrap_or(0) < last {
        let key = NumberKey { user, number: hour(now) };
        tables.change_marks.put(key, &last.to_be_bytes());
    }
    Ok(())
}

fn all_marks(user: UserId, until: u32) -> RangeInclusive<NumberKey> {
    NumberKey { user, number: 0 }..=NumberKey { user, number: until }
}

/// The last of the user's changes that is surely older than `before`; 0 where none is.
pub(crate) fn last_before(tables: &Tables, user: UserId, before: Timestamp) -> Result<u64> {
    // The hour of a mark may have gone on after it.
    let Some(until) = hour(before).checked_sub(1) else { return Ok(0) };
    let newest = tables.change_marks.last(all_marks(user, until))?;
    let marked = newest.map(|(_, stored)| sequences::number(stored.value(), names::CHANGE_MARKS));
    Ok(marked.transpose()?.unwrap_or(0))
}

/// Forgets the user's changes up to number `until`, the oldest first and at most `limit` of them,
/// and the marks that tell of nothing else. Tells how many there were.
pub(crate) fn trim(tables: &mut Tables, user: UserId, until: u64, limit: usize) -> Result<usize> {
    let forgotten = sequences::last_forgotten(&tables.sequences, user)?;
    if until <= forgotten {
        return Ok(0);
    }
    let until = until.min(forgotten.saturating_add(limit as u64));
    let old = ChangeKey { user, number: 0 }..=ChangeKey { user, number: until };
    let old: Vec<ChangeKey> =
        tables.changes.range(old)?.map(|entry| entry.map(|(key, _)| key)).collect::<Result<_>>()?;
    for key in &old {
        tables.changes.remove(*key)?;
    }
    let mut useless = Vec::new();
    for entry in tables.change_marks.range(all_marks(user, u32::MAX))? {
        let (key, stored) = entry?;
        if sequences::number(stored.value(), names::CHANGE_MARKS)? > until {
            break;
        }
        useless.push(key);
    }
    for key in useless {
        tables.change_marks.remove(key)?;
    }
    sequences::put_last_forgotten(tables, user, until);
    Ok(old.len())
}
