//! Import rule: how a parsed item enters a store.
//!
//! Every import follows the same rule. [`insert_if_new`] leaves a conversation unchanged whose id
//! the user already has, so an interrupted import can be repeated. [`insert_or_update`] updates it
//! instead, for a copy that follows another system. Both create a missing assistant if the item
//! names it, and reject an item that breaks a rule without failing the items around it.
//!
//! [`ImportTarget`] is what the rule writes to: a [`Transaction`], which is all or nothing, or a
//! [`BulkTarget`], which sorts first and then writes many times as fast.

use std::collections::HashSet;

use convodb::{
    AssistantId, BulkLoader, BulkOptions, BulkReport, Conversation, ConversationId, Error, Message,
    Name, Result, Store, Transaction, UserId,
};

use convodb_http::item::Item;

/// A destination of imported conversations.
pub(crate) trait ImportTarget {
    /// Returns whether the user has the conversation. A bulk load returns `false`: it finds
    /// duplicates when it finishes.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn has_conversation(&mut self, user: UserId, id: ConversationId) -> Result<bool>;

    /// Returns whether the user has the assistant.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn has_assistant(&mut self, user: UserId, id: AssistantId) -> Result<bool>;

    /// Creates an assistant of the user.
    ///
    /// # Errors
    /// As [`Transaction::create_assistant`].
    fn create_assistant(&mut self, user: UserId, id: AssistantId, name: Name) -> Result<()>;

    /// Inserts a conversation with its messages.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the conversation or its messages break a rule; nothing of it is then
    /// written. Otherwise as [`Transaction::insert`] or [`BulkLoader::push`].
    fn insert(&mut self, user: UserId, new: &Conversation, messages: &[Message]) -> Result<()>;
}

impl ImportTarget for Transaction<'_> {
    fn has_conversation(&mut self, user: UserId, id: ConversationId) -> Result<bool> {
        Ok(self.get(user, id)?.is_some())
    }

    fn has_assistant(&mut self, user: UserId, id: AssistantId) -> Result<bool> {
        Ok(self.assistant(user, id)?.is_some())
    }

    fn create_assistant(&mut self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        Transaction::create_assistant(self, user, id, name).map(drop)
    }

    fn insert(&mut self, user: UserId, new: &Conversation, messages: &[Message]) -> Result<()> {
        Transaction::insert(self, user, new, messages)
    }
}

/// A bulk load as the target of an import.
///
/// Assistants are created at once, each in a write of its own. Conversations are written by
/// [`BulkTarget::finish`]; a process that stops before it leaves no conversation behind.
pub(crate) struct BulkTarget {
    store: Store,
    loader: BulkLoader,
    /// The assistants that exist, so that each is looked up once.
    assistants: HashSet<(UserId, AssistantId)>,
}

impl BulkTarget {
    /// Begins a bulk load into `store`.
    #[must_use]
    pub(crate) fn new(store: &Store, options: BulkOptions) -> Self {
        let loader = store.bulk_load(options);
        Self { store: store.clone(), loader, assistants: HashSet::new() }
    }

    /// Writes all conversations in one write, and returns how many were new.
    ///
    /// `progress` is called with the number of entries written and their total.
    ///
    /// # Errors
    /// As [`BulkLoader::finish`].
    pub(crate) fn finish(
        self,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<BulkReport> {
        self.loader.finish(progress)
    }
}

impl ImportTarget for BulkTarget {
    fn has_conversation(&mut self, _: UserId, _: ConversationId) -> Result<bool> {
        Ok(false)
    }

    fn has_assistant(&mut self, user: UserId, id: AssistantId) -> Result<bool> {
        if self.assistants.contains(&(user, id)) {
            return Ok(true);
        }
        let found = self.store.snapshot().assistant(user, id)?.is_some();
        if found {
            self.assistants.insert((user, id));
        }
        Ok(found)
    }

    fn create_assistant(&mut self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        self.store.create_assistant(user, id, name)?;
        self.assistants.insert((user, id));
        Ok(())
    }

    fn insert(&mut self, user: UserId, new: &Conversation, messages: &[Message]) -> Result<()> {
        self.loader.push(user, new, messages)
    }
}

/// The effect of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The effect on the conversation.
    pub(crate) outcome: Outcome,
    /// Whether the assistant of the item was created.
    pub(crate) assistant_created: bool,
}

/// The effect of one item on its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The conversation is new. In a bulk load this means "queued": the report of
    /// [`BulkTarget::finish`] has the final counts.
    Inserted {
        /// How many messages it has.
        messages: usize,
    },
    /// The user had the conversation, and it was updated.
    Updated {
        /// How many messages were appended.
        messages: usize,
    },
    /// The user had the conversation, and it was left unchanged.
    AlreadyPresent,
    /// The item breaks a rule; nothing of its conversation was written.
    Rejected(Rejection),
}

/// Why an item was rejected. Names the field and the rule, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// The user has no such assistant, and the item does not name it.
    #[error("assistant_name must be given for an assistant that is not there yet")]
    UnnamedAssistant,
    /// A value breaks a rule that only the store checks.
    #[error("{field} {reason}")]
    Invalid {
        /// The field, by its name in the documented API.
        field: &'static str,
        /// What a right value looks like.
        reason: &'static str,
    },
}

/// Inserts the item's conversation if the user does not have its id.
///
/// # Errors
/// As [`ImportTarget`]'s methods, but for [`Error::Invalid`], which is [`Outcome::Rejected`].
pub(crate) fn insert_if_new(
    target: &mut impl ImportTarget,
    user: UserId,
    item: &Item,
) -> Result<Applied> {
    if target.has_conversation(user, item.conversation.id)? {
        return Ok(Applied { outcome: Outcome::AlreadyPresent, assistant_created: false });
    }
    with_assistant(target, user, item, |target| insert(target, user, item))
}

/// Inserts the item's conversation, or updates the one that the user has: every field that can
/// change becomes the item's, and the messages after the first `stored_messages` are appended.
///
/// `stored_messages` is how many messages the conversation has, 0 if it is new. A message is never
/// removed, and `message_count` never becomes less than the messages that are stored.
///
/// # Errors
/// As [`Transaction::insert`], [`Transaction::append_message`] and [`Transaction::update`], but for
/// the [`Error::Invalid`] of an insert, which is [`Outcome::Rejected`].
pub(crate) fn insert_or_update(
    transaction: &mut Transaction<'_>,
    user: UserId,
    item: &Item,
    stored_messages: usize,
) -> Result<Applied> {
    with_assistant(transaction, user, item, |transaction| {
        if transaction.has_conversation(user, item.conversation.id)? {
            update(transaction, user, item, stored_messages)
        } else {
            insert(transaction, user, item)
        }
    })
}

/// Runs `apply` once the item's assistant exists, or rejects the item.
fn with_assistant<T: ImportTarget>(
    target: &mut T,
    user: UserId,
    item: &Item,
    apply: impl FnOnce(&mut T) -> Result<Outcome>,
) -> Result<Applied> {
    let id = item.conversation.assistant;
    let exists = target.has_assistant(user, id)?;
    if !exists {
        let Some(name) = &item.assistant_name else {
            let outcome = Outcome::Rejected(Rejection::UnnamedAssistant);
            return Ok(Applied { outcome, assistant_created: false });
        };
        target.create_assistant(user, id, name.clone())?;
    }
    Ok(Applied { outcome: apply(target)?, assistant_created: !exists })
}

fn insert(target: &mut impl ImportTarget, user: UserId, item: &Item) -> Result<Outcome> {
    match target.insert(user, &item.conversation, &item.messages) {
        Ok(()) => Ok(Outcome::Inserted { messages: item.messages.len() }),
        // The target checks the whole item before it writes any of it.
        Err(Error::Invalid { field, reason }) => {
            Ok(Outcome::Rejected(Rejection::Invalid { field, reason }))
        }
        Err(error) => Err(error),
    }
}

fn update(
    transaction: &mut Transaction<'_>,
    user: UserId,
    item: &Item,
    stored_messages: usize,
) -> Result<Outcome> {
    let new = item.messages.get(stored_messages..).unwrap_or_default();
    for message in new {
        transaction.append_message(user, item.conversation.id, message)?;
    }
    let min_count = u32::try_from(stored_messages + new.len()).unwrap_or(u32::MAX);
    transaction.update(user, item.conversation.id, |stored| {
        let Conversation { id, created_at, .. } = *stored;
        *stored = Conversation { id, created_at, ..item.conversation.clone() };
        stored.message_count = stored.message_count.max(min_count);
    })?;
    Ok(Outcome::Updated { messages: new.len() })
}

/// Totals of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportCounts {
    /// Conversations inserted.
    pub(crate) inserted: u64,
    /// Conversations updated.
    pub(crate) updated: u64,
    /// Conversations that the user already had and that were left unchanged.
    pub(crate) already_present: u64,
    /// Messages stored.
    pub(crate) messages: u64,
    /// Assistants created.
    pub(crate) assistants_created: u64,
    /// Items rejected.
    pub(crate) rejected: u64,
}

impl ImportCounts {
    /// Counts the effect of one item.
    pub(crate) fn record(&mut self, applied: &Applied) {
        self.assistants_created += u64::from(applied.assistant_created);
        match applied.outcome {
            Outcome::Inserted { messages } => {
                self.inserted += 1;
                self.messages += messages as u64;
            }
            Outcome::Updated { messages } => {
                self.updated += 1;
                self.messages += messages as u64;
            }
            Outcome::AlreadyPresent => self.already_present += 1,
            Outcome::Rejected(_) => self.rejected += 1,
        }
    }
}
