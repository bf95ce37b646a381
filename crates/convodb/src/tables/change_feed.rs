//! Change feed: appends, reads and trims the records of what happened to conversations.
//!
//! The engine reads no clock and records have no time. Instead a *time mark* records which change
//! was the last one in some hour, so that retention by age works without a time in each record.

use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::encoding::key::{ChangeKey, NumberKey, RowKey};
use crate::encoding::record::{
    self, Body, ChangeV1, ChangeV2, Damage, append_small, append_small_v2,
};
use crate::error::Result;
use crate::model::change::ChangeKind;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::tables::schema::{CHANGE_MARKS, CHANGES, ChangeFeed, Sequences};
use crate::tables::sequences::decode_number;

const MILLIS_PER_HOUR: u64 = 3_600_000;

/// A change as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    pub(crate) kind: ChangeKind,
    pub(crate) id: ConversationId,
    /// The row of the conversation at that time. Another conversation may have it now.
    pub(crate) row: RowKey,
    /// The assistant that the conversation left, by its deletion or for another assistant. Changes
    /// of older versions do not have it.
    pub(crate) left: Option<AssistantId>,
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

/// The two versions of a change.
pub(crate) fn decode_body(body: Body<'_>) -> Result<(ChangeV1, Option<[u8; 16]>), Damage> {
    match body.version() {
        record::V1 => Ok((body.decode()?, None)),
        _ => body.decode().map(|ChangeV2 { change, left }| (change, Some(left))),
    }
}

/// Decodes the record of a change. Verifies its checksum.
pub(crate) fn decode(key: ChangeKey, record: &[u8]) -> Result<ChangeRecord> {
    let damaged = |what| CHANGES.corrupted(what);
    let decoded = record::open_any(&key, record).and_then(decode_body);
    let (change, left) = decoded.map_err(damaged)?;
    Ok(ChangeRecord {
        kind: match change.kind {
            1 => ChangeKind::Created,
            2 => ChangeKind::Updated,
            3 => ChangeKind::Deleted,
            _ => return Err(damaged("a change is of no known kind")),
        },
        id: ConversationId::new(Uuid::from_bytes(change.conversation)),
        row: RowKey::new(key.user, Position::from_bits(change.position)),
        left: left.map(|id| AssistantId::new(Uuid::from_bytes(id))),
    })
}

/// Encodes the record of the change `key`, the creation of a row by a bulk load, to the end of
/// `out`.
pub(crate) fn append_created(key: ChangeKey, row: RowKey, id: ConversationId, out: &mut Vec<u8>) {
    let created = ChangeRecord { kind: ChangeKind::Created, id, row, left: None };
    append_small(&key, created.stored(), out);
}

impl ChangeFeed {
    /// Appends a change of a row to the feed of its user, and returns its number. One B-tree
    /// lookup, and writes of the change and of the last number.
    pub(crate) fn append(
        &mut self,
        sequences: &mut Sequences,
        change: ChangeRecord,
    ) -> Result<u64> {
        let user = change.row.user;
        let number = sequences.last_change(user)? + 1;
        let key = ChangeKey { user, number };
        let mut record = self.changes.take_buffer();
        match change.left {
            None => append_small(&key, change.stored(), &mut record),
            Some(left) => {
                let left = left.uuid().into_bytes();
                append_small_v2(&key, ChangeV2 { change: change.stored(), left }, &mut record);
            }
        }
        self.changes.put_buffer(key, record);
        sequences.put_last_change(user, number);
        Ok(number)
    }

    /// The changes after `number`, in order. One B-tree lookup, then a step for each.
    pub(crate) fn after(
        &self,
        user: UserId,
        number: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, ChangeRecord)>>> {
        let first = ChangeKey { user, number: number.saturating_add(1) };
        let range = first..=ChangeKey { user, number: u64::MAX };
        Ok(self.changes.range(range)?.map(|entry| {
            let (key, record) = entry?;
            Ok((key.number, decode(key, record.value())?))
        }))
    }

    /// Marks the user's last change as one of the hour of `now`, if there were changes since the
    /// last mark. Changes later in that hour belong to the next mark.
    ///
    /// Marks of later hours, from before a clock was corrected, are of changes before `now`: they
    /// give way to a mark of `now`, so that marks stay in the order of changes, and their changes
    /// are retained from now on, neither less nor until those hours.
    pub(crate) fn add_time_mark(
        &mut self,
        sequences: &Sequences,
        user: UserId,
        now: Timestamp,
    ) -> Result<()> {
        let (last, hour) = (sequences.last_change(user)?, hour(now));
        let later = NumberKey { user, number: hour.saturating_add(1) };
        let later = self.marks.range(later..=NumberKey { user, number: u32::MAX })?;
        let later: Vec<NumberKey> = later.map(|mark| Ok(mark?.0)).collect::<Result<_>>()?;
        later.into_iter().try_for_each(|mark| self.marks.remove(mark))?;
        if self.last_mark(user, u32::MAX)? < last {
            self.marks.put(NumberKey { user, number: hour }, &last.to_be_bytes());
        }
        Ok(())
    }

    /// The last of the user's changes that is certainly older than `before`; 0 if none is.
    pub(crate) fn last_before(&self, user: UserId, before: Timestamp) -> Result<u64> {
        // Changes can follow a mark within its hour, so that only earlier hours are certain.
        hour(before).checked_sub(1).map_or(Ok(0), |until| self.last_mark(user, until))
    }

    /// The change of the user's last mark up to the hour `until`; 0 if there is none.
    fn last_mark(&self, user: UserId, until: u32) -> Result<u64> {
        let newest = self.marks.last(all_marks(user, until))?;
        newest.map_or(Ok(0), |(_, stored)| decode_number(&CHANGE_MARKS, stored.value()))
    }

    /// Removes the user's changes up to number `until`, the oldest first and at most `limit`, and
    /// the time marks that only cover removed changes. Returns the number of removed changes.
    pub(crate) fn trim(
        &mut self,
        sequences: &mut Sequences,
        user: UserId,
        until: u64,
        limit: usize,
    ) -> Result<usize> {
        let trimmed = sequences.last_trimmed(user)?;
        if until <= trimmed {
            return Ok(0);
        }
        let until = until.min(trimmed.saturating_add(limit as u64));
        let old = ChangeKey { user, number: 0 }..=ChangeKey { user, number: until };
        let old = self.changes.range(old)?.map(|entry| entry.map(|(key, _)| key));
        let old: Vec<ChangeKey> = old.collect::<Result<_>>()?;
        for key in &old {
            self.changes.remove(*key)?;
        }
        let mut useless = Vec::new();
        for entry in self.marks.range(all_marks(user, u32::MAX))? {
            let (key, stored) = entry?;
            if decode_number(&CHANGE_MARKS, stored.value())? > until {
                break;
            }
            useless.push(key);
        }
        for key in useless {
            self.marks.remove(key)?;
        }
        sequences.put_last_trimmed(user, until);
        Ok(old.len())
    }
}

/// The hour of a time, counted from 1970-01-01.
fn hour(at: Timestamp) -> u32 {
    u32::try_from(at.millis() / MILLIS_PER_HOUR).unwrap_or(u32::MAX)
}

fn all_marks(user: UserId, until: u32) -> RangeInclusive<NumberKey> {
    NumberKey { user, number: 0 }..=NumberKey { user, number: until }
}
