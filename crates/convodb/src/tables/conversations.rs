//! Conversations: rows clustered by user and position, and their lookup by id.

use crate::encoding::key::{RowKey, UuidKey};
use crate::encoding::record::{self, Damage};
use crate::encoding::row::{self, Row};
use crate::error::{Error, Result};
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::id::{ConversationId, UserId};
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::rules::position_after;
use crate::tables::schema::{CONVERSATION_IDS, CONVERSATIONS, Conversations};

impl Conversations {
    /// The position that the id table has for the user's conversation `id`. One B-tree lookup.
    pub(crate) fn position(&self, user: UserId, id: ConversationId) -> Result<Option<Position>> {
        let stored = self.ids.get(UuidKey { user, uuid: id.uuid() })?;
        stored.map(|stored| decode_position(stored.value())).transpose()
    }

    /// Passes the user's conversation `id` to `read`, and returns its key and the result. Two
    /// B-tree lookups. Positions in the id table have no checksum, so the id in the row is
    /// compared.
    pub(crate) fn read<T>(
        &self,
        user: UserId,
        id: ConversationId,
        read: impl FnOnce(&Row, &str) -> T,
    ) -> Result<Option<(RowKey, T)>> {
        let Some(position) = self.position(user, id)? else { return Ok(None) };
        let key = RowKey::new(user, position);
        let found = self.rows.get(key)?.ok_or_else(|| damaged("an id leads to no row"))?;
        let (row, texts) = decode_row(key, found.value())?;
        if row.id() != id {
            return Err(damaged("an id leads to the row of another conversation"));
        }
        Ok(Some((key, read(&row, texts))))
    }

    /// The user's conversation `id` and its key. Two B-tree lookups.
    pub(crate) fn get(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<(RowKey, Conversation)>> {
        self.read(user, id, |row, texts| row.conversation(texts).owned())
    }

    /// Whether the user has any conversation. One B-tree lookup.
    pub(crate) fn any(&self, user: UserId) -> Result<bool> {
        let all = RowKey::new(user, Position::from_bits(0))
            ..=RowKey::new(user, Position::from_bits(u64::MAX));
        Ok(self.rows.range(all)?.next().transpose()?.is_some())
    }

    /// The first free position of the user's millisecond `at`. One B-tree lookup.
    pub(crate) fn free_position(&self, user: UserId, at: Timestamp) -> Result<Position> {
        let (first, last) = (Position::first_at(at), Position::last_at(at));
        match self.rows.last(RowKey::new(user, first)..=RowKey::new(user, last))? {
            Some((taken, _)) => position_after(taken.position),
            None => Ok(first),
        }
    }

    /// Puts the record of a new or changed row with `stored` stored messages. `record` is a buffer.
    pub(crate) fn put(
        &mut self,
        key: RowKey,
        conversation: &ConversationRef<'_>,
        stored: u32,
        record: &mut Vec<u8>,
    ) {
        record.clear();
        row::encode_conversation(key, conversation, stored, record);
        self.rows.put(key, record);
    }

    /// Puts the lookup of a new row by its id.
    pub(crate) fn put_id(&mut self, key: RowKey, id: ConversationId) {
        let id = UuidKey { user: key.user, uuid: id.uuid() };
        self.ids.put(id, &key.position.bits().to_be_bytes());
    }

    /// Removes a row and its lookup by id.
    pub(crate) fn remove(&mut self, key: RowKey, id: ConversationId) -> Result<()> {
        self.rows.remove(key)?;
        self.ids.remove(UuidKey { user: key.user, uuid: id.uuid() })
    }
}

/// [`Error::Corrupted`] for a row.
pub(crate) fn damaged(what: Damage) -> Error {
    CONVERSATIONS.corrupted(what)
}

/// The position that a value of the id table encodes.
pub(crate) fn decode_position(stored: &[u8]) -> Result<Position> {
    let bytes = stored.try_into();
    let bytes = bytes.map_err(|_| CONVERSATION_IDS.corrupted("a position is not 8 bytes"))?;
    Ok(Position::from_bits(u64::from_be_bytes(bytes)))
}

/// Decodes the record of a row. Verifies its checksum.
pub(crate) fn decode(key: RowKey, record: &[u8]) -> Result<ConversationRef<'_>> {
    record::open(&key, record).and_then(|body| body.conversation(key.position)).map_err(damaged)
}

/// Decodes the record of a row into the row and its texts. Verifies its checksum.
pub(crate) fn decode_row(key: RowKey, record: &[u8]) -> Result<(Row, &str)> {
    let body = record::open(&key, record).map_err(damaged)?;
    Row::decode(body, key.position).map_err(damaged)
}
