//! Messages: clustered by user, position and number, so that a conversation's messages are one
//! range.

use std::iter;
use std::ops::RangeInclusive;

use crate::encoding::key::{FixedKey, MessageKey, RowKey};
use crate::encoding::record;
use crate::encoding::row::StoredMessages;
use crate::error::Result;
use crate::model::message::Message;
use crate::tables::schema::{MESSAGES, Messages};

impl Messages {
    /// The messages of a row, in order, and an error after them if they are not as many as the row
    /// has stored. One B-tree lookup, then a step for each.
    pub(crate) fn of_row(
        &self,
        row: RowKey,
        stored: StoredMessages,
    ) -> Result<impl Iterator<Item = Result<Message>>> {
        self.of_row_after(row, 0, stored)
    }

    /// [`Messages::of_row`] without the first `skipped` messages, which are not read.
    pub(crate) fn of_row_after(
        &self,
        row: RowKey,
        skipped: u32,
        stored: StoredMessages,
    ) -> Result<impl Iterator<Item = Result<Message>>> {
        // A message with the number 0 is damage.
        let first = if skipped == 0 { 0 } else { skipped.saturating_add(1) };
        let range = MessageKey::new(row, first)..=MessageKey::new(row, u32::MAX);
        let mut entries = self.table.range(range)?;
        let mut found: Option<u32> = Some(skipped);
        Ok(iter::from_fn(move || match entries.next() {
            Some(entry) => {
                found = found.and_then(|found| found.checked_add(1));
                Some(entry.and_then(|(key, value)| match found {
                    Some(found) if found == key.number => decode(key, value.value()),
                    _ => Err(MESSAGES.corrupted("a message is missing")),
                }))
            }
            // The end, once.
            None => found.take().and_then(|found| check_number(found, stored).err().map(Err)),
        }))
    }

    /// The number of the row's last message; 0 if it has none. One B-tree lookup.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) if the row has stored another number.
    pub(crate) fn last_number(&self, row: RowKey, stored: StoredMessages) -> Result<u32> {
        let last = self.last_found(row)?;
        check_number(last, stored)?;
        Ok(last)
    }

    /// [`Messages::last_number`] without its check.
    pub(crate) fn last_found(&self, row: RowKey) -> Result<u32> {
        Ok(self.table.last(all(row))?.map_or(0, |(key, _)| key.number))
    }

    /// The first and the last message of a row; none if it has none, and one if that is both. Two
    /// B-tree lookups, or one if there is at most one message.
    pub(crate) fn ends(&self, row: RowKey) -> Result<Vec<Message>> {
        let Some((key, record)) = self.table.last(all(row))? else { return Ok(Vec::new()) };
        let last = decode(key, record.value())?;
        if key.number == 1 {
            return Ok(vec![last]);
        }
        let first = MessageKey::new(row, 1);
        let record = self.table.get(first)?;
        let record = record.ok_or(MESSAGES.corrupted("a message is missing"))?;
        Ok(vec![decode(first, record.value())?, last])
    }

    /// Puts `message` as number `number` of the row. `record` is a buffer.
    pub(crate) fn put(
        &mut self,
        row: RowKey,
        number: u32,
        message: &Message,
        record: &mut Vec<u8>,
    ) {
        let key = MessageKey::new(row, number);
        record.clear();
        record::encode_message(key, message, record);
        self.table.put(key, record);
    }

    /// Removes all messages of a row, and returns the bytes of their keys and records.
    pub(crate) fn remove_all(&mut self, row: RowKey) -> Result<usize> {
        self.remove(all(row))
    }

    /// Removes the messages of a row that follow its first `kept` ones, and returns the bytes of
    /// their keys and records.
    pub(crate) fn truncate(&mut self, row: RowKey, kept: u32) -> Result<usize> {
        self.remove(MessageKey::new(row, kept.saturating_add(1))..=MessageKey::new(row, u32::MAX))
    }

    fn remove(&mut self, range: RangeInclusive<MessageKey>) -> Result<usize> {
        let mut bytes = 0;
        let stored = self.table.range(range)?.map(|entry| {
            let (key, record) = entry?;
            bytes += MessageKey::WIDTH + record.value().len();
            Ok(key)
        });
        let stored: Vec<MessageKey> = stored.collect::<Result<_>>()?;
        stored.into_iter().try_for_each(|key| self.table.remove(key))?;
        Ok(bytes)
    }
}

fn check_number(found: u32, stored: StoredMessages) -> Result<()> {
    match stored.allows(found) {
        true => Ok(()),
        false => Err(MESSAGES.corrupted("a conversation has not as many messages as were stored")),
    }
}

fn all(row: RowKey) -> RangeInclusive<MessageKey> {
    MessageKey::new(row, 0)..=MessageKey::new(row, u32::MAX)
}

/// Decodes the record of a message. Verifies its checksum.
pub(crate) fn decode(key: MessageKey, record: &[u8]) -> Result<Message> {
    let decoded = record::open(&key, record).and_then(record::Body::message);
    decoded.map_err(|what| MESSAGES.corrupted(what))
}
