//! Inserts, whole or in writes of bounded size.

use std::sync::Arc;

use uuid::Uuid;

use crate::encoding::key::RowKey;
use crate::encoding::row::StoredMessages;
use crate::error::{Error, Result};
use crate::model::conversation::Conversation;
use crate::model::id::{ConversationId, UserId};
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::preview::PreviewRef;
use crate::rules::check_messages;
use crate::tables::quotas::{self, UsageChange, conversation_bytes, message_bytes};
use crate::tables::staged_inserts::RunningInsert;
use crate::transaction::Transaction;

/// How far an insert in parts is: see [`Transaction::insert_part`]. While it exists, what is stored
/// is not removed as abandoned.
#[derive(Clone, Debug, Default)]
pub struct InsertProgress {
    /// The position that is reserved; `None` before the first part.
    running: Option<Arc<RunningInsert>>,
    /// The number of messages that are stored.
    stored: usize,
}

impl InsertProgress {
    /// Whether nothing is stored yet.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.running.is_none()
    }
}

impl Transaction<'_> {
    /// [`Transaction::insert`] in several writes of bounded size, so that other writes get their turn
    /// between them: stores messages of at most `budget` bytes, at least one message, and subtracts
    /// them. Returns the progress for the next write, or `None` when the conversation is inserted.
    ///
    /// Until then nobody sees anything of it, and it counts towards the user's usage. If no write
    /// follows, [`Store::remove_abandoned_inserts`](crate::Store::remove_abandoned_inserts) removes
    /// what is stored. A conversation whose messages fit `budget` is inserted at once.
    /// [`Store::insert`](crate::Store::insert) does all of this.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// let id = ConversationId::generate(at);
    /// let mut row = Conversation::new(id, bot, Channel::Widget, at);
    /// row.message_count = 3;
    /// let messages = vec![Message::new(Role::User, "Hello!", at)?; 3];
    /// let (mut progress, mut writes) = (Some(InsertProgress::default()), 0);
    /// while let Some(before) = progress {
    ///     let (row, messages) = (row.clone(), messages.clone());
    ///     assert!(store.snapshot().conversation(user, id)?.is_none());
    ///     progress = store.write(move |transaction| {
    ///         transaction.insert_part(user, &row, &messages, before, &mut { 100 })
    ///     })?;
    ///     writes += 1;
    /// }
    /// assert_eq!((writes, store.snapshot().messages(user, id)?.map(|all| all.len())), (3, Some(3)));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::insert`], before the first part as before the last one;
    /// [`Error::ConversationNotFound`] if what was stored is removed.
    pub fn insert_part(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        messages: &[Message],
        progress: InsertProgress,
        budget: &mut usize,
    ) -> Result<Option<InsertProgress>> {
        let rest = messages.get(progress.stored..).unwrap_or_default();
        let part = part_of(rest, budget);
        let is_last = part == rest.len();
        let Some(running) = &progress.running else {
            let position = self.check_insert(user, conversation, messages)?;
            let key = RowKey::new(user, position);
            if is_last {
                return self.put_new(key, conversation, messages, 0).map(|()| None);
            }
            // The whole insert, so that what cannot end is not begun.
            let bytes = new_bytes(conversation, messages.len(), messages);
            self.check_usage(user, UsageChange { conversations: 1, bytes })?;
            self.tables.staged.put(key, conversation.id);
            let running = Some(Arc::new(self.tables.running_inserts().begin(key)));
            return self.stage(key, &messages[..part], InsertProgress { running, stored: 0 });
        };
        let key = running.key;
        self.require_open_user(user)?;
        if key.user != user || self.tables.staged.get(key)? != Some(conversation.id) {
            return Err(Error::ConversationNotFound);
        }
        if !is_last {
            return self.stage(key, &rest[..part], progress);
        }
        // What the first part checked may have changed.
        self.check_insert(user, conversation, messages)?;
        self.tables.staged.table.remove(key)?;
        self.put_new(key, conversation, messages, progress.stored).map(|()| None)
    }

    /// Removes messages of an abandoned insert, at most `budget`, and its entry when none are left.
    /// Returns whether it is removed.
    pub(crate) fn remove_abandoned(&mut self, key: RowKey, budget: u32) -> Result<bool> {
        if self.tables.running_inserts().contains(key) || self.tables.staged.get(key)?.is_none() {
            return Ok(true);
        }
        let kept = self.tables.messages.last_found(key)?.saturating_sub(budget);
        let removed = match kept {
            0 => self.tables.messages.remove_all(key)?,
            kept => self.tables.messages.truncate(key, kept)?,
        };
        self.count_usage(key.user, UsageChange::of_bytes(-quotas::bytes(removed)))?;
        match kept {
            0 => self.tables.staged.table.remove(key)?,
            // From now on the insert cannot be continued.
            _ => self.tables.staged.put(key, ConversationId::new(Uuid::nil())),
        }
        Ok(kept == 0)
    }

    /// Checks an insert, and returns the first free position.
    pub(super) fn check_insert(
        &self,
        user: UserId,
        conversation: &Conversation,
        messages: &[Message],
    ) -> Result<Position> {
        check_messages(conversation, messages)?;
        self.check_assistant(user, conversation.assistant)?;
        self.check_open(user)?;
        if self.tables.conversations.position(user, conversation.id)?.is_some() {
            return Err(Error::DuplicateConversation(conversation.id.uuid()));
        }
        self.tables.free_position(user, conversation.created_at)
    }

    /// Puts a new row with its messages. The first `staged` of them are stored already.
    pub(super) fn put_new(
        &mut self,
        key: RowKey,
        conversation: &Conversation,
        messages: &[Message],
        staged: usize,
    ) -> Result<()> {
        let rest = messages.get(staged..).unwrap_or_default();
        let bytes = new_bytes(conversation, messages.len(), rest);
        self.count_usage(key.user, UsageChange { conversations: 1, bytes })?;
        let new = conversation.borrowed();
        let preview = if self.keeps_previews() { PreviewRef::of(messages) } else { None };
        let (stored, record) = (number(messages.len()), &mut self.record);
        let conversations = &mut self.tables.conversations;
        conversations.put(key, &new, stored, preview.as_ref(), record);
        conversations.put_id(key, conversation.id);
        self.put_messages(key, rest, staged);
        self.apply(key, None, Some(&new))
    }

    /// Stores the next messages of a staged insert.
    fn stage(
        &mut self,
        key: RowKey,
        part: &[Message],
        progress: InsertProgress,
    ) -> Result<Option<InsertProgress>> {
        let bytes = part.iter().map(message_bytes).fold(0, i64::saturating_add);
        self.count_usage(key.user, UsageChange::of_bytes(bytes))?;
        self.put_messages(key, part, progress.stored);
        Ok(Some(InsertProgress { stored: progress.stored + part.len(), ..progress }))
    }

    /// Puts messages after the first `stored` ones of a row.
    fn put_messages(&mut self, key: RowKey, messages: &[Message], stored: usize) {
        for (at, message) in (number(stored) + 1..).zip(messages) {
            self.tables.messages.put(key, at, message, &mut self.record);
        }
    }
}

/// The bytes of a new conversation that will have `stored` stored messages, and of these messages.
fn new_bytes(conversation: &Conversation, stored: usize, messages: &[Message]) -> i64 {
    let row = conversation_bytes(&conversation.borrowed(), StoredMessages::Exactly(number(stored)));
    messages.iter().map(message_bytes).fold(row, i64::saturating_add)
}

/// A number of messages. `check_messages` allows no more than a `u32` counts.
fn number(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

/// How many of these messages have at most `budget` bytes, at least one; subtracts their bytes.
fn part_of(messages: &[Message], budget: &mut usize) -> usize {
    let mut taken = 0;
    for message in messages {
        let bytes = usize::try_from(message_bytes(message)).unwrap_or(usize::MAX);
        if taken > 0 && bytes > *budget {
            break;
        }
        *budget = budget.saturating_sub(bytes);
        taken += 1;
    }
    taken
}
