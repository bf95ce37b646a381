//! The history of each conversation, clustered by user, position and number, so that a history is
//! one short range. Numbers begin at 1 and have no gap.

use crate::encoding::key::{MessageKey, RowKey};
use crate::encoding::record;
use crate::error::{Error, Result};
use crate::model::message::Message;
use crate::tables::schema::names;
use crate::tables::{Records, Tables};

/// The message of a record, its checksum verified.
pub(crate) fn decode(key: MessageKey, record: &[u8]) -> Result<Message> {
    record::open(&key, record).and_then(record::Body::message).map_err(damaged)
}

const fn damaged(what: &'static str) -> Error {
    Error::Corrupted { table: names::MESSAGES, what }
}

/// The messages of a row, in order. One descent, then a step each.
pub(crate) fn history(
    messages: &Records<MessageKey>,
    row: RowKey,
) -> Result<impl Iterator<Item = Result<Message>>> {
    let range = MessageKey::new(row, 0)..=MessageKey::new(row, u32::MAX);
    Ok((1..).zip(messages.range(range)?).map(|(number, entry)| {
        let (key, value) = entry?;
        if key.number != number {
            return Err(damaged("a message is missing"));
        }
        decode(key, value.value())
    }))
}

/// The number of the row's last message, 0 where it has none. One descent.
pub(crate) fn last_number(messages: &Records<MessageKey>, row: RowKey) -> Result<u32> {
    let range = MessageKey::new(row, 0)..=MessageKey::new(row, u32::MAX);
    Ok(messages.last(range)?.map_or(0, |(key, _)| key.number))
}

/// Puts `message` as number `number` of the row, its record made in the buffer `record`.
pub(crate) fn put(
    tables: &mut Tables,
    row: RowKey,
    number: u32,
    message: &Message,
    record: &mut Vec<u8>,
) {
    let key = MessageKey::new(row, number);
    record.clear();
    record::encode_message(key, message, record);
    tables.messages.put(key, record);
}

/// Removes all messages of a row.
pub(crate) fn remove_all(tables: &mut Tables, row: RowKey) -> Result<()> {
    let range = MessageKey::new(row, 0)..=MessageKey::new(row, u32::MAX);
    let stored: Vec<MessageKey> = tables
        .messages
        .range(range)?
        .map(|entry| entry.map(|(key, _)| key))
        .collect::<Result<_>>()?;
    stored.into_iter().try_for_each(|key| tables.messages.remove(key))
}
