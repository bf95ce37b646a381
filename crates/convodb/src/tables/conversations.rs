//! Conversations: rows clustered by user and position, and their lookup by id.

use crate::encoding::key::{RowKey, UuidKey};
use crate::encoding::preview;
use crate::encoding::record::{self, Appendix, Damage};
use crate::encoding::row::{self, Row, StoredMessages};
use crate::error::{Error, Result};
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::id::{ConversationId, UserId};
use crate::model::position::Position;
use crate::model::preview::PreviewRef;
use crate::model::timestamp::Timestamp;
use crate::rules::position_after;
use crate::tables::schema::{CONVERSATION_IDS, CONVERSATIONS, Conversations};

/// A verified and decoded row. Its preview, if it has one, is neither until it is read.
pub(crate) struct StoredRow<'a> {
    key: RowKey,
    row: Row,
    texts: &'a str,
    appendix: Option<Appendix<'a>>,
}

/// The preview of a row, as far as the row knows it.
pub(crate) enum KeptPreview<'a> {
    /// `None` if no messages are stored.
    Known(Option<PreviewRef<'a>>),
    /// The messages have to be read.
    Unknown,
}

impl<'a> StoredRow<'a> {
    /// Decodes the record of a row. Verifies its checksum.
    #[inline]
    pub(crate) fn decode(key: RowKey, record: &'a [u8]) -> Result<Self> {
        let (body, appendix) = record::open_extended(&key, record).map_err(damaged)?;
        let (row, texts) = Row::decode(body, key.position).map_err(damaged)?;
        Ok(Self { key, row, texts, appendix })
    }

    pub(crate) const fn key(&self) -> RowKey {
        self.key
    }

    /// The row and its texts.
    pub(crate) const fn parts(&self) -> (&Row, &'a str) {
        (&self.row, self.texts)
    }

    pub(crate) fn conversation(&self) -> ConversationRef<'a> {
        self.row.conversation(self.texts)
    }

    /// How many of its messages are stored.
    pub(crate) fn stored_messages(&self) -> StoredMessages {
        self.row.stored_messages()
    }

    /// Whether the row has a preview of its own, also if that is of no messages.
    pub(crate) const fn keeps_preview(&self) -> bool {
        self.appendix.is_some()
    }

    /// The preview. Verifies its checksum.
    pub(crate) fn preview(&self) -> Result<KeptPreview<'a>> {
        match self.appendix {
            Some(appendix) => {
                preview::decode(self.key, appendix).map(KeptPreview::Known).map_err(damaged)
            }
            None if self.stored_messages() == StoredMessages::Exactly(0) => {
                Ok(KeptPreview::Known(None))
            }
            None => Ok(KeptPreview::Unknown),
        }
    }
}

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
        read: impl FnOnce(&StoredRow<'_>) -> T,
    ) -> Result<Option<(RowKey, T)>> {
        let Some(position) = self.position(user, id)? else { return Ok(None) };
        let key = RowKey::new(user, position);
        let found = self.rows.get(key)?.ok_or_else(|| damaged("an id leads to no row"))?;
        let stored = StoredRow::decode(key, found.value())?;
        if stored.row.id() != id {
            return Err(damaged("an id leads to the row of another conversation"));
        }
        Ok(Some((key, read(&stored))))
    }

    /// The user's conversation `id` and its key. Two B-tree lookups.
    pub(crate) fn get(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<(RowKey, Conversation)>> {
        self.read(user, id, |stored| stored.conversation().owned())
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

    /// Puts the record of a new or changed row with `stored` stored messages, and the preview that it
    /// keeps. `record` is a buffer.
    pub(crate) fn put(
        &mut self,
        key: RowKey,
        conversation: &ConversationRef<'_>,
        stored: u32,
        preview: Option<&PreviewRef<'_>>,
        record: &mut Vec<u8>,
    ) {
        record.clear();
        row::encode_conversation(key, conversation, stored, record);
        if preview.is_some() {
            preview::append(key, preview, record);
        }
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
    StoredRow::decode(key, record).map(|stored| stored.conversation())
}
