//! Staged inserts: conversations whose messages are stored in several writes, before their row.
//!
//! A conversation with very many messages would be one long write, for which everybody else waits.
//! So its messages are stored first, in writes of bounded size, under the position that the row will
//! have. Nothing leads to them without the row. An entry of this table reserves the position; the
//! last write puts the row and removes the entry, so the conversation becomes visible as a whole.
//!
//! An entry that no running insert continues, after a crash or an error, is *abandoned*: it is
//! removed with its messages ([`Store::remove_abandoned_inserts`](crate::Store::remove_abandoned_inserts)).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::encoding::key::RowKey;
use crate::encoding::record::{StagedV1, decode_small, encode_small};
use crate::error::Result;
use crate::model::id::{ConversationId, UserId};
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::rules::position_after;
use crate::tables::schema::{STAGED_INSERTS, StagedInserts};

impl StagedInserts {
    /// The conversation of the staged insert at a position. One B-tree lookup.
    pub(crate) fn get(&self, key: RowKey) -> Result<Option<ConversationId>> {
        let record = self.table.get(key)?;
        record.map(|record| decode(key, record.value())).transpose()
    }

    pub(crate) fn put(&mut self, key: RowKey, id: ConversationId) {
        let staged = StagedV1 { conversation: id.uuid().into_bytes() };
        self.table.put(key, &encode_small(&key, staged));
    }

    /// The first position of the user's millisecond `at` after those that are reserved. One B-tree
    /// lookup.
    pub(crate) fn free_position(&self, user: UserId, at: Timestamp) -> Result<Position> {
        let (first, last) = (Position::first_at(at), Position::last_at(at));
        match self.table.last(RowKey::new(user, first)..=RowKey::new(user, last))? {
            Some((taken, _)) => position_after(taken.position),
            None => Ok(first),
        }
    }

    /// Whether the user has any. One B-tree lookup.
    pub(crate) fn any(&self, user: UserId) -> Result<bool> {
        let all = RowKey::new(user, Position::from_bits(0))
            ..=RowKey::new(user, Position::from_bits(u64::MAX));
        Ok(self.table.range(all)?.next().transpose()?.is_some())
    }

    /// All staged inserts, in key order.
    pub(crate) fn keys(&self) -> Result<Vec<RowKey>> {
        self.table.iter()?.map(|entry| entry.map(|(key, _)| key)).collect()
    }
}

/// Decodes a record. Verifies its checksum.
pub(crate) fn decode(key: RowKey, record: &[u8]) -> Result<ConversationId> {
    let staged: StagedV1 =
        decode_small(&key, record).map_err(|what| STAGED_INSERTS.corrupted(what))?;
    Ok(ConversationId::new(Uuid::from_bytes(staged.conversation)))
}

/// The staged inserts that run in this process.
#[derive(Debug, Default)]
pub(crate) struct RunningInserts(Mutex<HashSet<RowKey>>);

impl RunningInserts {
    /// Registers an insert until the result is dropped.
    pub(crate) fn begin(self: &Arc<Self>, key: RowKey) -> RunningInsert {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        RunningInsert { key, running: self.clone() }
    }

    pub(crate) fn contains(&self, key: RowKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }
}

/// A staged insert that runs.
#[derive(Debug)]
pub(crate) struct RunningInsert {
    pub(crate) key: RowKey,
    running: Arc<RunningInserts>,
}

impl Drop for RunningInsert {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
