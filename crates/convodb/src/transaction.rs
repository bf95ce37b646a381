//! The operations of a write. Each checks all it can before it changes anything, and all of them
//! change rows, index entries and counters by the same `apply(old, new)`: insert is (none, new),
//! update (old, new), delete (old, none).

use crate::encoding::index_term::{Fingerprinter, Fingerprints};
use crate::encoding::key::RowKey;
use crate::error::{Error, Result};
use crate::model::account::{Assistant, User};
use crate::model::change::ChangeKind;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::message::Message;
use crate::model::text::{IdempotencyKey, Name};
use crate::model::timestamp::Timestamp;
use crate::tables::Tables;
use crate::tables::{
    accounts, change_feed, conversations, counters, idempotency, indexes, messages, sequences,
};

/// A write in progress: reads what was written before it, also in the same group, and changes it.
///
/// Given to the closure of [`Store::write`](crate::Store::write). When the closure returns an
/// error, all that it changed is taken back; other writes of the same group are not affected.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
/// # let id = ConversationId::generate(at);
/// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at))?;
/// // Hands a conversation over to a person, once: reading and writing, with nobody in between.
/// let taken = store.write(move |transaction| {
///     let found = transaction.conversation(user, id)?.ok_or(Error::ConversationNotFound)?;
///     if !found.ai_enabled {
///         return Ok(false);
///     }
///     let note = Message::new(Role::System, "A person took over.".to_owned(), at)?;
///     transaction.append_message(user, id, &note)?;
///     transaction.update(user, id, |conversation| conversation.ai_enabled = false)?;
///     Ok(true)
/// })?;
/// assert!(taken);
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct Transaction<'txn> {
    pub(crate) tables: &'txn mut Tables,
    fingerprinter: &'txn Fingerprinter,
    /// A buffer for records.
    record: Vec<u8>,
}

impl<'txn> Transaction<'txn> {
    pub(crate) const fn new(tables: &'txn mut Tables, fingerprinter: &'txn Fingerprinter) -> Self {
        Self { tables, fingerprinter, record: Vec::new() }
    }

    /// Keeps all that was changed so far.
    pub(crate) fn savepoint(&mut self) {
        self.tables.savepoint();
    }

    /// Takes back what was changed since the last [`Transaction::keep`].
    pub(crate) fn rollback_to_savepoint(&mut self) {
        self.tables.rollback_to_savepoint();
    }

    /// Takes indexes and counters of a row from `old` to `new`, and notes the change in the feed.
    fn apply(
        &mut self,
        key: RowKey,
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Result<()> {
        let same_entries = matches!((old, new), (Some(old), Some(new))
            if old.assistant == new.assistant && old.channel == new.channel);
        if !same_entries {
            let old = old.map(|row| self.fingerprints(row));
            let new = new.map(|row| self.fingerprints(row));
            indexes::apply(self.tables, key, old.as_ref(), new.as_ref())?;
        }
        counters::apply(self.tables, key, old, new)?;
        match (old, new) {
            (None, Some(new)) => change_feed::append(self.tables, ChangeKind::Created, key, new.id),
            (Some(_), Some(new)) => {
                change_feed::append(self.tables, ChangeKind::Updated, key, new.id)
            }
            (Some(old), None) => change_feed::append(self.tables, ChangeKind::Deleted, key, old.id),
            (None, None) => Ok(()),
        }
    }

    fn fingerprints(&self, row: &ConversationRef<'_>) -> Fingerprints {
        self.fingerprinter.row(row.assistant, &row.channel)
    }

    // ---- conversations -------------------------------------------------------------------------

    /// The user's conversation `id`. Two descents.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn conversation(&self, user: UserId, id: ConversationId) -> Result<Option<Conversation>> {
        let found = conversations::get(&self.tables.rows, &self.tables.ids, user, id)?;
        Ok(found.map(|(_, conversation)| conversation))
    }

    /// Inserts a conversation of the user's, with the messages that it has so far. Its place in
    /// the list is after all others of the same millisecond. Four descents and a write of the row, its
    /// id, each message and, with its group, three to nine index entries and a counter.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`] when the user has no such assistant,
    /// [`Error::DuplicateConversation`] when the user has one with this id, [`Error::Invalid`]
    /// when it counts fewer messages than are given, or a fault of the store.
    pub fn insert(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        history: &[Message],
    ) -> Result<()> {
        check_history(conversation, history)?;
        self.check_assistant(user, conversation.assistant)?;
        if conversations::find(&self.tables.ids, user, conversation.id)?.is_some() {
            return Err(Error::DuplicateConversation(conversation.id.uuid()));
        }
        let rows = &self.tables.rows;
        let position = conversations::free_position(rows, user, conversation.created_at)?;
        let key = RowKey::new(user, position);
        let new = conversation.borrowed();
        conversations::put(self.tables, key, &new, &mut self.record);
        conversations::put_id(self.tables, key, conversation.id);
        for (number, message) in (1..).zip(history) {
            messages::put(self.tables, key, number, message, &mut self.record);
        }
        self.apply(key, None, Some(&new))
    }

    /// Changes the user's conversation `id` and gives what it became. Everything may change but
    /// its id and its time of creation. Three descents and a write of the row; index entries only where
    /// assistant or channel changed, and nothing at all where nothing did.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], [`Error::AssistantNotFound`] when it is given to an
    /// assistant that the user does not have, [`Error::Invalid`] when its id or its time of
    /// creation changed or it counts fewer messages than it has, or a fault of the store.
    pub fn update(
        &mut self,
        user: UserId,
        id: ConversationId,
        change: impl FnOnce(&mut Conversation),
    ) -> Result<Conversation> {
        let (key, old) = self.require(user, id)?;
        let mut new = old.clone();
        change(&mut new);
        let fixed = |field| Err(Error::Invalid { field, reason: "must not change" });
        if new.id != old.id {
            return fixed("id");
        }
        if new.created_at != old.created_at {
            return fixed("created_at");
        }
        if new.assistant != old.assistant {
            self.check_assistant(user, new.assistant)?;
        }
        if new.message_count < old.message_count {
            let known = messages::last_number(&self.tables.messages, key)?;
            check_count(new.message_count, known as usize)?;
        }
        self.put_changed(key, &old, &new)?;
        Ok(new)
    }

    /// Deletes the user's conversation `id` with its messages: a removal of each of its entries.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], or a fault of the store.
    pub fn delete(&mut self, user: UserId, id: ConversationId) -> Result<()> {
        let (key, old) = self.require(user, id)?;
        conversations::remove(self.tables, key, id)?;
        messages::remove_all(self.tables, key)?;
        self.apply(key, Some(&old.borrowed()), None)
    }

    /// Appends a message to the user's conversation `id`, counts it, adds its cost, moves the time
    /// of the last change on to it, and gives how many messages the conversation now has. Four
    /// descents, and a write of the message and of the row.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], [`Error::Invalid`] when the number of messages or the
    /// cost leaves its range, or a fault of the store.
    pub fn append_message(
        &mut self,
        user: UserId,
        id: ConversationId,
        message: &Message,
    ) -> Result<u32> {
        let (key, old) = self.require(user, id)?;
        let invalid = |field| Error::Invalid { field, reason: "would leave its range" };
        let mut new = old.clone();
        new.message_count = old.message_count.checked_add(1).ok_or(invalid("message_count"))?;
        new.total_cost = old.total_cost.checked_add(message.cost()).ok_or(invalid("total_cost"))?;
        new.updated_at = old.updated_at.max(message.created_at());
        let last = messages::last_number(&self.tables.messages, key)?;
        let number = last.checked_add(1).ok_or(invalid("messages"))?;
        messages::put(self.tables, key, number, message, &mut self.record);
        self.put_changed(key, &old, &new)?;
        Ok(new.message_count)
    }

    /// Does `work` once for a key: gives what it gave when it was first done, and its errors, which
    /// leave nothing behind, as often as it fails. `request` is a digest of what is asked, `at` the
    /// present instant, by which [`Store::expire`](crate::Store::expire) forgets the answer. A
    /// descent, and a write of the answer.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`] when the key was given to another request, what `work` fails
    /// with, or a fault of the store.
    pub fn idempotent(
        &mut self,
        user: UserId,
        key: &IdempotencyKey,
        request: [u8; 32],
        at: Timestamp,
        work: impl FnOnce(&mut Self) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let key = idempotency::key(user, key);
        if let Some(answer) = idempotency::find(&self.tables.idempotency, key, &request)? {
            return Ok(answer);
        }
        let answer = work(self)?;
        idempotency::put(self.tables, key, request, &answer, at);
        Ok(answer)
    }

    fn require(&self, user: UserId, id: ConversationId) -> Result<(RowKey, Conversation)> {
        conversations::get(&self.tables.rows, &self.tables.ids, user, id)?
            .ok_or(Error::ConversationNotFound)
    }

    fn put_changed(&mut self, key: RowKey, old: &Conversation, new: &Conversation) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let (old, new) = (old.borrowed(), new.borrowed());
        conversations::put(self.tables, key, &new, &mut self.record);
        self.apply(key, Some(&old), Some(&new))
    }

    // ---- accounts ------------------------------------------------------------------------------

    /// Creates a user. The number it is given is not given again.
    ///
    /// # Errors
    /// [`Error::DuplicateUser`] when another user has the name, or a fault of the store.
    pub fn create_user(&mut self, name: Name, created_at: Timestamp) -> Result<User> {
        if self.user_by_name(&name)?.is_some() {
            return Err(Error::DuplicateUser);
        }
        let user = User { id: sequences::take_user(self.tables)?, name, created_at };
        accounts::put_user(self.tables, &user);
        Ok(user)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user_by_name(&self, name: &Name) -> Result<Option<UserId>> {
        accounts::user_of_name(&self.tables.users, &self.tables.user_names, name)
    }

    /// Creates an assistant of the user's.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::DuplicateAssistant`] when the user has one with this id,
    /// or a fault of the store.
    pub fn create_assistant(
        &mut self,
        user: UserId,
        id: AssistantId,
        name: Name,
    ) -> Result<Assistant> {
        self.require_user(user)?;
        if self.assistant(user, id)?.is_some() {
            return Err(Error::DuplicateAssistant(id.uuid()));
        }
        let last = accounts::last_assistant_number(&self.tables.assistant_numbers, user)?;
        let number = last.checked_add(1).ok_or(Error::Invalid {
            field: "assistant",
            reason: "must be one of the user's first 4294967295",
        })?;
        let assistant = Assistant { id, number, name };
        accounts::put_assistant(self.tables, user, &assistant);
        Ok(assistant)
    }

    /// Renames an assistant of the user's. Every list shows the new name at once.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`], or a fault of the store.
    pub fn rename_assistant(&mut self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        let assistant = self.require_assistant(user, id)?;
        accounts::put_assistant(self.tables, user, &Assistant { name, ..assistant });
        Ok(())
    }

    /// The user's assistant of this id.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant(&self, user: UserId, id: AssistantId) -> Result<Option<Assistant>> {
        accounts::assistant(&self.tables.assistants, user, id)
    }

    /// Lets `token`, which the caller made from at least 256 random bits, act as the user. Only
    /// its SHA-256 is stored.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], or a fault of the store.
    pub(crate) fn put_token(
        &mut self,
        user: UserId,
        token: &str,
        created_at: Timestamp,
    ) -> Result<()> {
        self.require_user(user)?;
        accounts::put_token(self.tables, token, user, created_at);
        Ok(())
    }

    /// Takes a token back; it is refused from the next snapshot on.
    ///
    /// # Errors
    /// [`Error::TokenNotFound`], or a fault of the store.
    pub fn revoke_token(&mut self, token: &str) -> Result<()> {
        if accounts::user_of_token(&self.tables.tokens, token)?.is_none() {
            return Err(Error::TokenNotFound);
        }
        self.tables.tokens.remove(accounts::digest(token))
    }

    fn require_user(&self, user: UserId) -> Result<User> {
        accounts::user(&self.tables.users, user)?.ok_or(Error::UserNotFound)
    }

    fn check_assistant(&self, user: UserId, id: AssistantId) -> Result<()> {
        let there = accounts::has_assistant(&self.tables.assistants, user, id)?;
        if there { Ok(()) } else { Err(Error::AssistantNotFound) }
    }

    fn require_assistant(&self, user: UserId, id: AssistantId) -> Result<Assistant> {
        self.assistant(user, id)?.ok_or(Error::AssistantNotFound)
    }
}

/// A conversation cannot have more messages than it counts; it may count more than are known here.
pub(crate) fn check_history(conversation: &Conversation, history: &[Message]) -> Result<()> {
    check_count(conversation.message_count, history.len())
}

fn check_count(counted: u32, known: usize) -> Result<()> {
    if known > counted as usize {
        return Err(Error::Invalid {
            field: "message_count",
            reason: "must not be less than the number of messages there are",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::ReadableTable;

    use crate::encoding::key::FixedKey;
    use crate::error::Error;
    use crate::model::channel::Channel;
    use crate::model::message::{Message, Role};
    use crate::model::timestamp::Timestamp;
    use crate::tables::schema::{self, BytesTable};
    use crate::testing::{RawStore, id, whatsapp_row};

    /// Flips a bit of a table's first value.
    fn damage<K: FixedKey>(store: &RawStore, definition: BytesTable<K>) {
        store.write(|write| {
            let mut table = write.open_table(definition).unwrap();
            let (key, mut value) = {
                let (key, value) = table.iter().unwrap().next().unwrap().unwrap();
                (key.value(), value.value().to_vec())
            };
            value[9] ^= 1;
            table.insert(key, value.as_slice()).unwrap();
        });
    }

    /// In one group: a write that meets the damage, then one that does not.
    #[track_caller]
    fn check(store: &RawStore, table: &str) {
        let user = store.user;
        store.transact(|transaction| {
            let message = Message::new(Role::User, "hi".to_owned(), Timestamp::MIN)?;
            let failed = transaction.append_message(user, id(1), &message);
            assert!(
                matches!(failed, Err(Error::Corrupted { table: damaged, .. }) if damaged == table),
                "{failed:?}"
            );
            transaction.rollback_to_savepoint();
            let mut other = whatsapp_row(4, "+2");
            other.channel = Channel::Test;
            transaction.insert(user, &other, &[])
        });
        let audit = store.verify();
        assert!(audit.findings.iter().all(|fault| fault.table == table), "{:?}", audit.findings);
        assert_eq!(audit.messages, 2, "the message was taken back");
    }

    #[test]
    fn a_damaged_counter_fails_the_write_that_touches_it_alone() {
        let store = RawStore::with_rows();
        damage(&store, schema::COUNTERS);
        check(&store, "totals.v1");
    }

    #[test]
    fn a_damaged_row_fails_the_write_that_touches_it_alone() {
        let store = RawStore::new();
        let user = store.user;
        store.transact(|transaction| transaction.insert(user, &whatsapp_row(1, "+2"), &[]));
        damage(&store, schema::CONVERSATIONS);
        store.transact(|transaction| {
            let failed = transaction.delete(user, id(1));
            assert!(matches!(failed, Err(Error::Corrupted { table: "conversations.v1", .. })));
            transaction.rollback_to_savepoint();
            transaction.insert(user, &whatsapp_row(2, "+2"), &[])
        });
        assert_eq!(store.verify().conversations, 2);
    }
}
