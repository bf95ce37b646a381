//! The write API: operations of a transaction.
//!
//! Each operation validates before it changes anything. All of them change rows, index entries,
//! counters and the change feed through one `apply(old, new)`: an insert is (none, new), an update
//! (old, new), a delete (old, none).

mod accounts;
pub(crate) mod inserts;

use std::sync::atomic::Ordering;

use crate::encoding::index_term::Fingerprinter;
use crate::encoding::key::RowKey;
use crate::encoding::row::StoredMessages;
use crate::error::{Error, Result};
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::index_family::IndexFamily;
use crate::model::message::Message;
use crate::model::preview::{Excerpt, Preview, PreviewRef};
use crate::model::text::IdempotencyKey;
use crate::model::timestamp::Timestamp;
use crate::options::WriteRules;
use crate::rules::{self, RowChange};
use crate::tables::Tables;
use crate::tables::activity_index::Activity;
use crate::tables::change_feed::ChangeRecord;
use crate::tables::conversations::{KeptPreview, StoredRow};
use crate::tables::idempotency;
use crate::tables::list_counters::CountedRow;
use crate::tables::quotas::{self, UsageChange, conversation_bytes};

/// A write in progress. It reads what earlier writes stored, those of its own group included.
///
/// Passed to the closure of [`Store::write`](crate::Store::write). If the closure returns an error,
/// all of its changes are rolled back; other writes of the group are not affected.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
/// # let id = ConversationId::generate(at);
/// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
/// // Hands a conversation over to a person, once: a read and two writes, atomically.
/// let handed_over = store.write(move |transaction| {
///     let conversation = transaction.conversation(user, id)?.ok_or(Error::ConversationNotFound)?;
///     if !conversation.ai_enabled {
///         return Ok::<_, Error>(false);
///     }
///     let note = Message::new(Role::System, "A person took over.".to_owned(), at)?;
///     transaction.append_message(user, id, &note)?;
///     transaction.update(user, id, at, |conversation| {
///         conversation.ai_enabled = false;
///         Ok(())
///     })?;
///     Ok(true)
/// })?;
/// assert!(handed_over);
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct Transaction<'txn> {
    pub(crate) tables: &'txn mut Tables,
    fingerprinter: &'txn Fingerprinter,
    rules: WriteRules,
    /// The only assistant that the current write reaches.
    restriction: Option<AssistantId>,
    /// Buffer for records.
    record: Vec<u8>,
}

/// A stored row that a write reads, and may change.
struct Found {
    key: RowKey,
    conversation: Conversation,
    stored: StoredMessages,
    /// The preview that the row keeps, in a store that keeps previews. A row with messages has none
    /// until the build of the index family reaches it.
    preview: Option<Preview>,
}

impl<'txn> Transaction<'txn> {
    pub(crate) const fn new(
        tables: &'txn mut Tables,
        fingerprinter: &'txn Fingerprinter,
        rules: WriteRules,
    ) -> Self {
        Self { tables, fingerprinter, rules, restriction: None, record: Vec::new() }
    }

    /// Sets a savepoint after all changes so far: the end of a write of the group.
    pub(crate) fn savepoint(&mut self) {
        self.restriction = None;
        self.tables.savepoint();
    }

    /// The number of changes of entries in the group.
    pub(crate) fn group_changes(&self) -> usize {
        self.tables.group_changes()
    }

    /// Rolls back to the last savepoint: the end of a write of the group.
    pub(crate) fn rollback_to_savepoint(&mut self) {
        self.restriction = None;
        self.tables.rollback_to_savepoint();
    }

    /// Restricts the rest of this write to one assistant, as
    /// [`Snapshot::restricted_to`](crate::Snapshot::restricted_to) restricts reads: conversations
    /// of other assistants are missing, other assistants too, and none can be created. Applies to
    /// operations on conversations and assistants, and to [`Transaction::token`].
    ///
    /// ```
    /// # use convodb::{AssistantId, Error, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let one = store.create_assistant(user, AssistantId::generate(at), "One")?.id;
    /// let two = store.create_assistant(user, AssistantId::generate(at), "Two")?.id;
    /// let renamed = store.write(move |transaction| {
    ///     transaction.restrict_to(one);
    ///     transaction.rename_assistant(user, two, "Renamed")
    /// });
    /// assert!(matches!(renamed, Err(Error::AssistantNotFound)));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub const fn restrict_to(&mut self, assistant: AssistantId) {
        self.restriction = Some(assistant);
    }

    /// Whether this write reaches the assistant and its conversations.
    fn reaches(&self, assistant: AssistantId) -> bool {
        self.restriction.is_none_or(|only| only == assistant)
    }

    /// Changes indexes and counters of a row from `old` to `new`, and appends the change to the
    /// feed.
    fn apply(
        &mut self,
        key: RowKey,
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Result<()> {
        self.apply_to_indexes(key, old, new)?;
        self.tables.counters.apply(key, old, new)?;
        let Some(RowChange { kind, id, left }) = RowChange::of(old, new) else { return Ok(()) };
        let Tables { change_feed, sequences, .. } = &mut *self.tables;
        let number = change_feed.append(sequences, ChangeRecord { kind, id, row: key, left })?;
        self.trim_changes(key.user, number)
    }

    /// Changes the index entries of a row from `old` to `new`. Computes fingerprints only if entries
    /// change.
    pub(crate) fn apply_to_indexes(
        &mut self,
        key: RowKey,
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Result<()> {
        let (same_terms, same_time) = match (old, new) {
            (Some(old), Some(new)) => (
                old.assistant == new.assistant
                    && old.channel == new.channel
                    && old.ai_enabled == new.ai_enabled,
                old.updated_at == new.updated_at,
            ),
            _ => (false, false),
        };
        let has_activity = self.tables.families.is_kept(IndexFamily::LastActivity);
        if same_terms && (same_time || !has_activity) {
            return Ok(());
        }
        let with_fingerprints = |row: &ConversationRef<'_>| {
            let all = self.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
            (all, row.updated_at)
        };
        let kind = old.or(new).map(|row| row.channel.kind());
        let new = new.map(with_fingerprints);
        let old = match (old, &new) {
            (Some(old), Some((same, _))) if same_terms => Some((*same, old.updated_at)),
            (old, _) => old.map(with_fingerprints),
        };
        if !same_terms {
            let [old, new] = [&old, &new].map(|row| row.as_ref().map(|(row, _)| row));
            let Tables { families, indexes, list_counters, .. } = &mut *self.tables;
            let [old_kept, new_kept] = [old, new].map(|row| row.map(|row| families.kept(*row)));
            indexes.apply(key, old_kept.as_ref(), new_kept.as_ref())?;
            let counted_before = families.counted_before().filter(|before| key < *before);
            if let (Some(kind), Some(before)) = (kind, counted_before) {
                list_counters.apply(indexes, CountedRow { key, kind, before }, old, new)?;
            }
        }
        let [old, new] = [&old, &new]
            .map(|row| row.as_ref().map(|(fingerprints, at)| Activity { fingerprints, at: *at }));
        if has_activity { self.tables.activity.apply(key, old, new) } else { Ok(()) }
    }

    /// Trims surplus changes of the user after change `number` was appended.
    fn trim_changes(&mut self, user: UserId, number: u64) -> Result<()> {
        let retained = self.rules.retained_changes;
        if let Some((until, limit)) = rules::surplus_changes(number, retained) {
            let Tables { change_feed, sequences, .. } = &mut *self.tables;
            change_feed.trim(sequences, user, until, limit)?;
        }
        Ok(())
    }

    /// Counts a change of what the user's data takes. Each operation does so before the change.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] if it adds something beyond the user's quota.
    pub(crate) fn count_usage(&mut self, user: UserId, change: UsageChange) -> Result<()> {
        let counted = self.tables.quotas.count(user, change, self.rules.quota);
        self.note_refusal(&counted);
        counted
    }

    /// [`Transaction::count_usage`] without counting.
    fn check_usage(&self, user: UserId, change: UsageChange) -> Result<()> {
        let checked = self.tables.quotas.check(user, change, self.rules.quota);
        self.note_refusal(&checked);
        checked
    }

    fn note_refusal(&self, counted: &Result<()>) {
        if matches!(counted, Err(Error::QuotaExceeded { .. })) {
            self.tables.metrics().quota_refusals.fetch_add(1, Ordering::Relaxed);
        }
    }

    // ---- conversations -------------------------------------------------------------------------

    /// The user's conversation `id`. Two B-tree lookups.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn conversation(&self, user: UserId, id: ConversationId) -> Result<Option<Conversation>> {
        Ok(self.find(user, id)?.map(|found| found.conversation))
    }

    /// Inserts a conversation with its messages so far. In ascending order, it is listed after all
    /// conversations of the same millisecond. Six B-tree lookups, and writes of the row, its id, each
    /// message, seven to fifteen index entries, three counters, the user's usage and a change. With
    /// [`IndexFamily::Counters`], a lookup and a write more for each of up to eight lists, and a lookup
    /// of the customer or identifier.
    ///
    /// [`Conversation::message_count`] and [`Conversation::total_cost`] are stored as passed: a
    /// conversation may have more messages than are known here.
    ///
    /// # Errors
    /// In this order: [`Error::Invalid`] if `message_count` is less than the number of messages;
    /// [`Error::UserNotFound`]; [`Error::AssistantNotFound`]; [`Error::UserClosed`];
    /// [`Error::DuplicateConversation`]; [`Error::Invalid`] if the millisecond of `created_at` is full (4,194,304 conversations of
    /// one user); [`Error::QuotaExceeded`]; or a fault of the store.
    #[expect(clippy::needless_pass_by_value, reason = "the same shape as Store::insert")]
    pub fn insert(
        &mut self,
        user: UserId,
        conversation: Conversation,
        messages: Vec<Message>,
    ) -> Result<()> {
        let position = self.check_insert(user, &conversation, &messages)?;
        self.put_new(RowKey::new(user, position), &conversation, &messages, 0)
    }

    /// Changes the user's conversation `id` and returns the result. `change` may set every field
    /// except the id, the type of the channel and `created_at`; an error of it leaves the
    /// conversation as it is. If it changes something, `updated_at` becomes `now`, unless `change`
    /// sets it or it would go back.
    ///
    /// Five B-tree lookups and writes of the row and the user's usage, and a lookup and two writes for
    /// each entry of the index by last activity; other index entries only if assistant or channel
    /// change; nothing at all if nothing does.
    ///
    /// # Errors
    /// In this order: [`Error::ConversationNotFound`]; [`Error::UserClosed`]; the error of `change`; [`Error::Invalid`] if
    /// it changed a fixed field, made `total_cost` negative or set `updated_at` before
    /// `created_at`; [`Error::AssistantNotFound`]; [`Error::Invalid`] if it set `message_count` to
    /// less than the number of stored messages; [`Error::QuotaExceeded`] if the conversation takes
    /// more bytes than before; or a fault of the store.
    pub fn update(
        &mut self,
        user: UserId,
        id: ConversationId,
        now: Timestamp,
        change: impl FnOnce(&mut Conversation) -> Result<()>,
    ) -> Result<Conversation> {
        let Found { key, conversation: old, stored, preview } = self.require(user, id)?;
        self.check_open(user)?;
        let Some(new) = rules::changed(&old, now, change)? else { return Ok(old) };
        if new.assistant != old.assistant {
            self.check_assistant(user, new.assistant)?;
        }
        let now_stored = match stored {
            StoredMessages::Exactly(stored) => stored,
            StoredMessages::AtMost(_) => self.tables.messages.last_number(key, stored)?,
        };
        rules::check_count(new.message_count, now_stored as usize)?;
        self.count_changed(user, (&old, stored), (&new, now_stored), 0)?;
        let preview = preview.as_ref().map(Preview::borrowed);
        self.put_changed(key, &old, &new, now_stored, preview)?;
        Ok(new)
    }

    /// Deletes the user's conversation `id` with its messages: a removal of each of its entries.
    /// Its position in the list becomes free and may be used by a conversation created in the same
    /// millisecond.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], or a fault of the store.
    pub fn delete(&mut self, user: UserId, id: ConversationId) -> Result<()> {
        let Found { key, conversation, stored, .. } = self.require(user, id)?;
        let old = conversation.borrowed();
        self.tables.conversations.remove(key, id)?;
        let messages = self.tables.messages.remove_all(key)?;
        let bytes = -(conversation_bytes(&old, stored) + quotas::bytes(messages));
        self.count_usage(user, UsageChange { conversations: -1, bytes })?;
        self.apply(key, Some(&old), None)
    }

    /// [`Transaction::delete`] in a write of bounded size: removes at most `budget` messages and
    /// subtracts their number. Returns whether the conversation is deleted; if it is not, its newest
    /// messages are, and the next write continues. A conversation may have fewer messages than it
    /// counts, so each write leaves the store consistent.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let id = ConversationId::generate(at);
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// for _ in 0..3 {
    ///     store.append_message(user, id, Message::new(Role::User, "Hello!", at)?)?;
    /// }
    /// let delete_two = move |transaction: &mut Transaction<'_>| {
    ///     transaction.delete_within(user, id, &mut 2)
    /// };
    /// assert!(!store.write(delete_two)?);
    /// assert_eq!(store.snapshot().messages(user, id)?.map(|messages| messages.len()), Some(1));
    /// assert!(store.write(delete_two)?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::delete`].
    pub fn delete_within(
        &mut self,
        user: UserId,
        id: ConversationId,
        budget: &mut usize,
    ) -> Result<bool> {
        let Found { key, conversation, stored, preview } = self.require(user, id)?;
        let messages = self.tables.messages.last_found(key)?;
        let most = u32::try_from(*budget).unwrap_or(u32::MAX);
        let kept = messages.saturating_sub(most);
        if kept > 0 {
            let removed = quotas::bytes(self.tables.messages.truncate(key, kept)?);
            let row = &conversation;
            self.count_changed(user, (row, stored), (row, kept), -removed)?;
            // The row must know which messages there are, and is otherwise unchanged.
            let unchanged = conversation.borrowed();
            let ends = match preview {
                Some(_) => self.tables.messages.ends(key)?,
                None => Vec::new(),
            };
            let preview = PreviewRef::of(&ends);
            let conversations = &mut self.tables.conversations;
            conversations.put(key, &unchanged, kept, preview.as_ref(), &mut self.record);
            *budget = 0;
            return Ok(false);
        }
        *budget -= messages as usize;
        self.delete(user, id).map(|()| true)
    }

    /// Appends a message to the user's conversation `id`, adds its cost to the total, advances
    /// `updated_at` to the message's time, and returns the new message count. Six B-tree lookups, and
    /// writes of the message, the row and the user's usage. The message is activity: if it advances
    /// `updated_at`, that costs four to six lookups and twice as many writes in addition.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`]; [`Error::UserClosed`]; [`Error::Invalid`] if the message
    /// count or the total cost leaves its range; [`Error::QuotaExceeded`]; or a fault of the store.
    pub fn append_message(
        &mut self,
        user: UserId,
        id: ConversationId,
        message: &Message,
    ) -> Result<u32> {
        let Found { key, conversation: old, stored, preview } = self.require(user, id)?;
        self.check_open(user)?;
        let new = rules::appended(&old, message)?;
        let number = rules::next_message(self.tables.messages.last_number(key, stored)?)?;
        let added = quotas::message_bytes(message);
        self.count_changed(user, (&old, stored), (&new, number), added)?;
        self.tables.messages.put(key, number, message, &mut self.record);
        let last = Excerpt::of(message);
        let preview = match &preview {
            Some(preview) => Some(Preview { first: preview.borrowed().first, last }),
            None if number == 1 && self.keeps_previews() => Some(Preview { first: last, last }),
            None => None,
        };
        self.put_changed(key, &old, &new, number, preview)?;
        Ok(new.message_count)
    }

    /// Runs `work` once for an idempotency key: a retry returns the response of the first run.
    /// Errors of `work` are not recorded, so a failed run is repeated. `request` is a digest of the
    /// request, `now` the current time, from which [`Store::expire`](crate::Store::expire) computes
    /// the age of the record. A B-tree lookup, and a write of the record.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`] if the key was used for a different request; the error of
    /// `work`; [`Error::QuotaExceeded`] if the record is beyond the user's quota; or a fault of the
    /// store.
    pub fn idempotent<E: From<Error>>(
        &mut self,
        user: UserId,
        key: &IdempotencyKey,
        request: [u8; 32],
        now: Timestamp,
        work: impl FnOnce(&mut Self) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let key = idempotency::key(user, key);
        if let Some(response) = self.tables.idempotency.find(key, &request)? {
            return Ok(response);
        }
        let response = work(self)?;
        let bytes = quotas::small_record_bytes(idempotency::record_len(&response));
        self.count_usage(user, UsageChange::of_bytes(bytes))?;
        self.tables.idempotency.put(key, request, &response, now);
        Ok(response)
    }

    /// The user's conversation `id`; `None` if this write does not reach it.
    fn find(&self, user: UserId, id: ConversationId) -> Result<Option<Found>> {
        let read = |row: &StoredRow<'_>| {
            let preview = match self.keeps_previews() {
                true => row.preview()?,
                false => KeptPreview::Unknown,
            };
            Ok::<_, Error>(Found {
                key: row.key(),
                conversation: row.conversation().owned(),
                stored: row.stored_messages(),
                preview: match preview {
                    KeptPreview::Known(preview) => preview.as_ref().map(Preview::owned),
                    KeptPreview::Unknown => None,
                },
            })
        };
        let found = self.tables.conversations.read(user, id, read)?;
        let found = found.map(|(_, found)| found).transpose()?;
        Ok(found.filter(|found| self.reaches(found.conversation.assistant)))
    }

    fn require(&self, user: UserId, id: ConversationId) -> Result<Found> {
        self.find(user, id)?.ok_or(Error::ConversationNotFound)
    }

    /// Whether rows keep previews.
    fn keeps_previews(&self) -> bool {
        self.tables.families.is_kept(IndexFamily::Previews)
    }

    /// Counts that a row changes and how many bytes its messages take in addition.
    fn count_changed(
        &mut self,
        user: UserId,
        (old, old_stored): (&Conversation, StoredMessages),
        (new, stored): (&Conversation, u32),
        messages: i64,
    ) -> Result<()> {
        let before = conversation_bytes(&old.borrowed(), old_stored);
        let after = conversation_bytes(&new.borrowed(), StoredMessages::Exactly(stored));
        self.count_usage(user, UsageChange::of_bytes(after - before + messages))
    }

    /// Puts a changed row with `stored` stored messages and the preview that it keeps.
    fn put_changed(
        &mut self,
        key: RowKey,
        old: &Conversation,
        new: &Conversation,
        stored: u32,
        preview: Option<PreviewRef<'_>>,
    ) -> Result<()> {
        let (old, new) = (old.borrowed(), new.borrowed());
        let conversations = &mut self.tables.conversations;
        conversations.put(key, &new, stored, preview.as_ref(), &mut self.record);
        self.apply(key, Some(&old), Some(&new))
    }
}

#[cfg(test)]
mod tests {
    use redb::ReadableTable;

    use crate::encoding::key::FixedKey;
    use crate::error::Error;
    use crate::kv::table_spec::TableSpec;
    use crate::model::message::{Message, Role};
    use crate::model::timestamp::Timestamp;
    use crate::tables::schema::{self, Bytes};
    use crate::testing::{RawStore, id, whatsapp_row};

    /// Flips a bit of a table's first value.
    fn damage<K: FixedKey>(store: &RawStore, table: TableSpec<K, Bytes>) {
        store.write(|write| {
            let mut table = table.open_for_write(write).unwrap();
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
            // Its own day, week and month: no record of counters that the first write touches.
            let mut other = whatsapp_row(4, "+2");
            other.created_at = "2031-01-01".parse()?;
            transaction.insert(user, other, Vec::new())
        });
        let audit = store.verify();
        assert!(audit.findings.iter().all(|fault| fault.table == table), "{:?}", audit.findings);
        assert_eq!(audit.messages, 2, "the message was rolled back");
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
        store.transact(|transaction| transaction.insert(user, whatsapp_row(1, "+2"), Vec::new()));
        damage(&store, schema::CONVERSATIONS);
        store.transact(|transaction| {
            let failed = transaction.delete(user, id(1));
            assert!(matches!(failed, Err(Error::Corrupted { table: "conversations.v1", .. })));
            transaction.rollback_to_savepoint();
            transaction.insert(user, whatsapp_row(2, "+2"), Vec::new())
        });
        assert_eq!(store.verify().conversations, 2);
    }
}
