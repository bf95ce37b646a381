//! The conversations, clustered by user and position, and their look-up by id.

use crate::encoding::key::{RowKey, UuidKey};
use crate::encoding::record::{self, Body, Damage};
use crate::encoding::row::{self, Row};
use crate::error::{Error, Result};
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::id::{ConversationId, UserId};
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::tables::schema::names;
use crate::tables::{Records, Tables};

/// What is wrong with a row.
pub(crate) fn damaged(what: Damage) -> Error {
    Error::Corrupted { table: names::CONVERSATIONS, what }
}

/// Where the user's conversation `id` should stand. One descent.
pub(crate) fn find(
    ids: &Records<UuidKey>,
    user: UserId,
    id: ConversationId,
) -> Result<Option<Position>> {
    let Some(stored) = ids.get(UuidKey { user, uuid: id.uuid() })? else {
        return Ok(None);
    };
    stored_position(stored.value()).map(Some)
}

fn stored_position(stored: &[u8]) -> Result<Position> {
    let what = "a position is not 8 bytes";
    let bytes = stored.try_into();
    let bytes = bytes.map_err(|_| Error::Corrupted { table: names::CONVERSATION_IDS, what })?;
    Ok(Position::from_bits(u64::from_be_bytes(bytes)))
}

/// The row of the user's conversation `id`, and what `read` makes of the conversation. Two
/// descents. The position that the id leads to has no checksum, so the row's own id is compared.
pub(crate) fn read<T>(
    rows: &Records<RowKey>,
    ids: &Records<UuidKey>,
    user: UserId,
    id: ConversationId,
    read: impl FnOnce(&ConversationRef<'_>) -> T,
) -> Result<Option<(RowKey, T)>> {
    let Some(position) = find(ids, user, id)? else { return Ok(None) };
    let key = RowKey::new(user, position);
    let found = rows.get(key)?.ok_or_else(|| damaged("an id leads to no row"))?;
    let conversation = decode(key, found.value())?;
    if conversation.id != id {
        return Err(damaged("an id leads to the row of another"));
    }
    Ok(Some((key, read(&conversation))))
}

/// The user's conversation `id` and where it stands. Two descents.
pub(crate) fn get(
    rows: &Records<RowKey>,
    ids: &Records<UuidKey>,
    user: UserId,
    id: ConversationId,
) -> Result<Option<(RowKey, Conversation)>> {
    read(rows, ids, user, id, |conversation| conversation.owned())
}

/// The conversation of a row, its checksum verified.
pub(crate) fn decode(key: RowKey, record: &[u8]) -> Result<ConversationRef<'_>> {
    record::open(&key, record).and_then(|body| body.conversation(key.position)).map_err(damaged)
}

/// The row of a record, its checksum verified, and its texts.
pub(crate) fn decode_row(key: RowKey, record: &[u8]) -> Result<(Row, &str)> {
    let body = verify(key, record)?;
    Row::decode(body, key.position).map_err(damaged)
}

/// The body of a record, its checksum verified.
pub(crate) fn verify(key: RowKey, record: &[u8]) -> Result<Body<'_>> {
    record::open(&key, record).map_err(damaged)
}

/// Whether the user has any row. One descent.
pub(crate) fn any(rows: &Records<RowKey>, user: UserId) -> Result<bool> {
    let all = RowKey::new(user, Position::from_bits(0))
        ..=RowKey::new(user, Position::from_bits(u64::MAX));
    Ok(rows.range(all)?.next().transpose()?.is_some())
}

/// The first free position of the user's millisecond `at`. One descent.
pub(crate) fn free_position(
    rows: &Records<RowKey>,
    user: UserId,
    at: Timestamp,
) -> Result<Position> {
    let (first, last) = (Position::first_at(at), Position::last_at(at));
    match rows.last(RowKey::new(user, first)..=RowKey::new(user, last))? {
        Some((taken, _)) => position_after(taken.position),
        None => Ok(first),
    }
}

/// The position after one that is taken, within the same millisecond.
pub(crate) fn position_after(taken: Position) -> Result<Position> {
    let next = taken.next();
    if next.created_at() != taken.created_at() {
        return Err(Error::Invalid {
            field: "created_at",
            reason: "must not be shared by more than 4194304 conversations of one user",
        });
    }
    Ok(next)
}

/// Puts the record of a row, new or changed.
pub(crate) fn put(
    tables: &mut Tables,
    key: RowKey,
    conversation: &ConversationRef<'_>,
    record: &mut Vec<u8>,
) {
    record.clear();
    row::encode_conversation(key, conversation, record);
    tables.rows.put(key, record);
}

/// Puts the look-up of a new row by its id.
pub(crate) fn put_id(tables: &mut Tables, key: RowKey, id: ConversationId) {
    let id = UuidKey { user: key.user, uuid: id.uuid() };
    tables.ids.put(id, &key.position.bits().to_be_bytes());
}

/// Removes a row and its look-up.
pub(crate) fn remove(tables: &mut Tables, key: RowKey, id: ConversationId) -> Result<()> {
    tables.rows.remove(key)?;
    tables.ids.remove(UuidKey { user: key.user, uuid: id.uuid() })
}
