//! Message counts: whether each row has as many messages as it must, from one pass over both tables.
//!
//! Messages are in the order of their rows, so a second pass over the rows meets them in step. Needs
//! no lookup and no memory; a row costs its decoding once more.

use std::collections::BTreeSet;
use std::iter::Peekable;

use crate::encoding::key::{MessageKey, RowKey};
use crate::encoding::row::StoredMessages;
use crate::error::{Error, Result};
use crate::tables::Tables;
use crate::tables::conversations::StoredRow;
use crate::tables::schema::MESSAGES;

type Rows<'t> = Box<dyn Iterator<Item = Result<(RowKey, StoredMessages)>> + 't>;

/// The rows of one state, as far as their messages were added.
pub(crate) struct MessageCount<'t> {
    rows: Peekable<Rows<'t>>,
    /// The rows that are being inserted, whose messages are not counted yet.
    staged: BTreeSet<RowKey>,
    /// The row of the last message, what it must have, and what was added.
    current: Option<(RowKey, StoredMessages, u32)>,
}

impl<'t> MessageCount<'t> {
    pub(crate) fn new(tables: &'t Tables) -> Result<Self> {
        let rows = tables.conversations.rows.iter()?.map(|entry| {
            let (key, record) = entry?;
            Ok((key, StoredRow::decode(key, record.value())?.stored_messages()))
        });
        let rows: Rows<'t> = Box::new(rows);
        let staged = tables.staged.keys()?.into_iter().collect();
        Ok(Self { rows: rows.peekable(), staged, current: None })
    }

    /// Adds the next message.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if a row before it has not as many messages as it must, if it has no row,
    /// or if it is not the next of its row.
    pub(crate) fn add(&mut self, key: MessageKey) -> Result<()> {
        let row = key.row();
        if !self.staged.is_empty() && self.staged.contains(&row) {
            return Ok(());
        }
        if self.current.is_none_or(|(current, ..)| current != row) {
            self.finish_rows(Some(row))?;
            let found = self.rows.next().transpose()?.filter(|(found, _)| *found == row);
            let (_, stored) = found.ok_or_else(|| corrupted("a message has no row"))?;
            self.current = Some((row, stored, 0));
        }
        let Some((_, _, added)) = &mut self.current else { return Ok(()) };
        *added = added.saturating_add(1);
        if *added == key.number { Ok(()) } else { Err(corrupted("a message is missing")) }
    }

    /// Ends the pass.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if a row has not as many messages as it must.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.finish_rows(None)
    }

    /// Checks the current row and those before `next`, which have no messages.
    fn finish_rows(&mut self, next: Option<RowKey>) -> Result<()> {
        let check = |stored: StoredMessages, found| match stored.allows(found) {
            true => Ok(()),
            false => Err(corrupted("a row has not as many messages as were stored")),
        };
        if let Some((_, stored, added)) = self.current.take() {
            check(stored, added)?;
        }
        let is_before = |row: &Result<(RowKey, _)>| {
            row.as_ref().map_or(true, |(row, _)| next.is_none_or(|next| *row < next))
        };
        while let Some(row) = self.rows.next_if(is_before) {
            let (_, stored) = row?;
            check(stored, 0)?;
        }
        Ok(())
    }
}

fn corrupted(what: &'static str) -> Error {
    MESSAGES.corrupted(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conversation::Conversation;
    use crate::model::message::{Message, Role};
    use crate::model::timestamp::Timestamp;
    use crate::options::WriteRules;
    use crate::testing::{RawStore, id, whatsapp_row};

    /// Rows 1 to 5 with 0, 1, 2, 3 and 0 stored messages. Row 3 counts two more, and row 5 seven.
    fn store() -> RawStore {
        let store = RawStore::new();
        let user = store.user;
        let message = || Message::new(Role::User, "hi", Timestamp::MIN).unwrap();
        store.transact(|transaction| {
            for (number, stored, not_stored) in
                [(1, 0, 0), (2, 1, 0), (3, 2, 2), (4, 3, 0), (5, 0, 7)]
            {
                let message_count = stored + not_stored;
                let row = Conversation { message_count, ..whatsapp_row(number, "+2") };
                let messages = (0..stored).map(|_| message()).collect();
                transaction.insert(user, row, messages)?;
            }
            Ok(())
        });
        store
    }

    /// What reading, appending and counting make of row `number` after `change`.
    fn outcomes(number: u64, change: impl Fn(&mut Tables)) -> [Option<&'static str>; 3] {
        let store = store();
        let mut tables = store.tables();
        change(&mut tables);
        store.write(|write| tables.flush(write).unwrap());
        let mut tables = store.tables();
        let what = |error| match error {
            Error::Corrupted { table: "messages.v1", what } => what,
            other => panic!("{other:?}"),
        };
        let read = tables.conversations.read(store.user, id(number), |row| row.stored_messages());
        let (key, stored) = read.unwrap().unwrap();
        let read: Result<Vec<Message>> = tables.messages.of_row(key, stored).unwrap().collect();
        let mut count = MessageCount::new(&tables).unwrap();
        let messages = || tables.messages.table.iter().unwrap();
        let counted = messages().try_for_each(|entry| count.add(entry?.0));
        let counted = counted.and_then(|()| count.finish());
        let (user, message) =
            (store.user, Message::new(Role::User, "new", Timestamp::MIN).unwrap());
        let mut transaction = crate::transaction::Transaction::new(
            &mut tables,
            &store.fingerprinter,
            WriteRules::NONE,
        );
        let appended = transaction.append_message(user, id(number), &message);
        [read.err().map(what), appended.err().map(what), counted.err().map(what)]
    }

    /// Removes some messages of row `number`.
    fn lose(number: u64, lost: &'static [u32]) -> impl Fn(&mut Tables) {
        move |tables| {
            let entries = tables.conversations.rows.iter().unwrap();
            let rows: Vec<RowKey> = entries.map(|entry| entry.unwrap().0).collect();
            let row = rows[usize::try_from(number).unwrap() - 1];
            for number in lost {
                tables.messages.table.remove(MessageKey::new(row, *number)).unwrap();
            }
        }
    }

    #[test]
    fn messages_that_were_never_stored_are_not_missing() {
        for number in 1..=5 {
            assert_eq!(outcomes(number, |_| {}), [None; 3], "row {number}");
        }
    }

    #[test]
    fn a_lost_end_of_a_history_is_reported_by_each_reader() {
        let lacking = Some("a conversation has not as many messages as were stored");
        let counted = Some("a row has not as many messages as were stored");
        for (number, lost) in [(2, &[1][..]), (3, &[2]), (3, &[1, 2]), (4, &[3]), (4, &[1, 2, 3])] {
            let found = outcomes(number, lose(number, lost));
            assert_eq!(found, [lacking, lacking, counted], "row {number} without {lost:?}");
        }
        let gap = Some("a message is missing");
        assert_eq!(outcomes(4, lose(4, &[2])), [gap, None, gap]);
        let orphan = |tables: &mut Tables| {
            let key = tables.conversations.rows.iter().unwrap().nth(1).unwrap().unwrap().0;
            tables.conversations.rows.remove(key).unwrap();
        };
        assert_eq!(outcomes(4, orphan)[2], Some("a message has no row"));
    }
}
