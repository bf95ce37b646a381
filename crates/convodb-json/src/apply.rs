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
use std::ops::AddAssign;

use convodb::{
    AssistantId, BulkLoadReport, BulkLoader, BulkOptions, Conversation, ConversationId, Cost,
    Error, InsertProgress, Message, Name, Result, Store, Timestamp, Transaction, UserId,
};

use crate::parse::Item;

/// A destination of imported conversations.
pub trait ImportTarget {
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
        Ok(self.conversation(user, id)?.is_some())
    }

    fn has_assistant(&mut self, user: UserId, id: AssistantId) -> Result<bool> {
        Ok(self.assistant(user, id)?.is_some())
    }

    fn create_assistant(&mut self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        Transaction::create_assistant(self, user, id, name).map(drop)
    }

    fn insert(&mut self, user: UserId, new: &Conversation, messages: &[Message]) -> Result<()> {
        Transaction::insert(self, user, new.clone(), messages.to_vec())
    }
}

/// A bulk load as the target of an import.
///
/// Assistants are created at once, each in a write of its own. Conversations are written by
/// [`BulkTarget::finish`]; a process that stops before it leaves no conversation behind.
pub struct BulkTarget {
    store: Store,
    loader: BulkLoader,
    /// The assistants that exist, so that each is looked up once.
    assistants: HashSet<(UserId, AssistantId)>,
}

impl BulkTarget {
    /// Begins a bulk load into `store`.
    #[must_use]
    pub fn new(store: &Store, options: BulkOptions) -> Self {
        let loader = store.bulk_load(options);
        Self { store: store.clone(), loader, assistants: HashSet::new() }
    }

    /// Writes all conversations in one write, and returns how many were new.
    ///
    /// # Errors
    /// As [`BulkLoader::finish`].
    pub fn finish(self) -> Result<BulkLoadReport> {
        self.loader.finish()
    }

    /// As [`BulkTarget::finish`]; calls `progress` with the number of entries written and their
    /// total.
    ///
    /// # Errors
    /// As [`BulkLoader::finish`].
    pub fn finish_with_progress(
        self,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<BulkLoadReport> {
        self.loader.finish_with_progress(progress)
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
pub struct Applied {
    /// The effect on the conversation.
    pub outcome: Outcome,
    /// Whether the assistant of the item was created.
    pub assistant_created: bool,
}

/// The effect of one item on its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
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
#[non_exhaustive]
pub enum Rejection {
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
    /// The conversation is beyond the user's quota; a smaller one may not be.
    #[error("quota of {limit} {what} exceeded: {used} are used, and this adds {added}")]
    QuotaExceeded {
        /// What the quota counts: `conversations` or `bytes`.
        what: &'static str,
        /// The quota.
        limit: u64,
        /// How much of it was used before.
        used: u64,
        /// How much the conversation would add.
        added: u64,
    },
}

impl Rejection {
    /// The rejection by a quota, or any other error.
    fn of_quota(error: Error) -> Result<Self> {
        match error {
            Error::QuotaExceeded { what, limit, used, added } => {
                Ok(Rejection::QuotaExceeded { what, limit, used, added })
            }
            error => Err(error),
        }
    }
}

/// Inserts the item's conversation if the user does not have its id.
///
/// ```
/// # use convodb::{BulkOptions, Store};
/// # use convodb_json::{BulkTarget, Item, Outcome, insert_if_new};
/// # let store = Store::in_memory()?;
/// # let user = store.create_user("Acme", "2025-01-25".parse()?)?.id;
/// # let line = br#"{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "type": "widget",
/// #     "assistant_id": "a1b2c3d4-5678-40ab-8def-1234567890ab", "assistant_name": "Support",
/// #     "created_at": "2025-01-25 10:15:00"}"#;
/// let mut target = BulkTarget::new(&store, BulkOptions::default());
/// let applied = insert_if_new(&mut target, user, &Item::parse(line)?)?;
/// assert_eq!(applied.outcome, Outcome::Inserted { messages: 0 });
/// assert_eq!(target.finish()?.inserted, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`ImportTarget`]'s methods, but for [`Error::Invalid`] and [`Error::QuotaExceeded`], which are
/// [`Outcome::Rejected`]. A bulk load checks quotas when it finishes.
pub fn insert_if_new(target: &mut impl ImportTarget, user: UserId, item: &Item) -> Result<Applied> {
    if target.has_conversation(user, item.conversation.id)? {
        return Ok(Applied { outcome: Outcome::AlreadyPresent, assistant_created: false });
    }
    let applied = with_assistant(target, user, item, |target| match insert(target, user, item) {
        Err(error) => Rejection::of_quota(error).map(Outcome::Rejected),
        inserted => inserted,
    });
    applied.or_else(|error| {
        let outcome = Rejection::of_quota(error).map(Outcome::Rejected)?;
        Ok(Applied { outcome, assistant_created: false })
    })
}

/// What a write has done of an item: see [`insert_part_if_new`].
#[derive(Debug)]
pub enum PartApplied {
    /// All of it.
    Whole(Applied),
    /// A part of its messages: the next write continues with this progress.
    Part {
        /// Where to continue.
        progress: InsertProgress,
        /// Whether the assistant of the item was created.
        assistant_created: bool,
    },
}

/// [`insert_if_new`] in writes of bounded size: stores messages of at most `budget` bytes and
/// subtracts them ([`Transaction::insert_part`]). The first write of an item has the default progress.
///
/// # Errors
/// As [`insert_if_new`].
pub fn insert_part_if_new(
    transaction: &mut Transaction<'_>,
    user: UserId,
    item: &Item,
    progress: InsertProgress,
    budget: &mut usize,
) -> Result<PartApplied> {
    let mut target = PartTarget { transaction, progress, budget, next: None };
    let is_new = target.progress.is_new();
    let applied = match is_new {
        true => insert_if_new(&mut target, user, item)?,
        false => {
            let outcome = match insert(&mut target, user, item) {
                Err(error) => Outcome::Rejected(Rejection::of_quota(error)?),
                Ok(outcome) => outcome,
            };
            Applied { outcome, assistant_created: false }
        }
    };
    Ok(match target.next {
        Some(progress) => {
            PartApplied::Part { progress, assistant_created: applied.assistant_created }
        }
        None => PartApplied::Whole(applied),
    })
}

/// A transaction that stores a part of a conversation.
struct PartTarget<'t, 'txn> {
    transaction: &'t mut Transaction<'txn>,
    progress: InsertProgress,
    budget: &'t mut usize,
    /// Where the next write continues.
    next: Option<InsertProgress>,
}

impl ImportTarget for PartTarget<'_, '_> {
    fn has_conversation(&mut self, user: UserId, id: ConversationId) -> Result<bool> {
        self.transaction.has_conversation(user, id)
    }

    fn has_assistant(&mut self, user: UserId, id: AssistantId) -> Result<bool> {
        self.transaction.has_assistant(user, id)
    }

    fn create_assistant(&mut self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        ImportTarget::create_assistant(self.transaction, user, id, name)
    }

    fn insert(&mut self, user: UserId, new: &Conversation, messages: &[Message]) -> Result<()> {
        let progress = std::mem::take(&mut self.progress);
        self.next = self.transaction.insert_part(user, new, messages, progress, self.budget)?;
        Ok(())
    }
}

/// Inserts the item's conversation, or updates the one that the user has: every field that can
/// change becomes the item's, and the messages after the first `stored_messages` are appended.
///
/// `stored_messages` is how many messages the conversation has, 0 if it is new. A message is never
/// removed, and `message_count` never becomes less than the messages that are stored. An item by
/// which nothing changes writes nothing, and is [`Outcome::AlreadyPresent`].
///
/// ```
/// # use convodb::Store;
/// # use convodb_json::{Item, Outcome, insert_or_update};
/// # let store = Store::in_memory()?;
/// # let user = store.create_user("Acme", "2025-01-25".parse()?)?.id;
/// # let line = br#"{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "type": "widget",
/// #     "assistant_id": "a1b2c3d4-5678-40ab-8def-1234567890ab", "assistant_name": "Support",
/// #     "created_at": "2025-01-25 10:15:00"}"#;
/// let item = Item::parse(line)?;
/// let outcomes = store.write(move |transaction| {
///     let first = insert_or_update(transaction, user, &item, 0)?.outcome;
///     let second = insert_or_update(transaction, user, &item, 0)?.outcome;
///     Ok::<_, convodb::Error>([first, second])
/// })?;
/// assert_eq!(outcomes, [Outcome::Inserted { messages: 0 }, Outcome::AlreadyPresent]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Transaction::insert`], [`Transaction::append_message`] and [`Transaction::update`], but for
/// the [`Error::Invalid`] of an insert, which is [`Outcome::Rejected`].
pub fn insert_or_update(
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
        let created = match &item.assistant_name {
            Some(name) => target.create_assistant(user, id, name.clone()),
            None => {
                let outcome = Outcome::Rejected(Rejection::UnnamedAssistant);
                return Ok(Applied { outcome, assistant_created: false });
            }
        };
        match created {
            Ok(()) => {}
            // The transaction is restricted to another assistant.
            Err(Error::Invalid { field, reason }) => {
                let outcome = Outcome::Rejected(Rejection::Invalid { field, reason });
                return Ok(Applied { outcome, assistant_created: false });
            }
            Err(error) => return Err(error),
        }
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
        // A restricted transaction does not see it, and cannot add it a second time.
        Err(Error::DuplicateConversation(_)) => {
            let (field, reason) = ("id", "has already been taken");
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
    let (id, new) = (item.conversation.id, &item.conversation);
    let stored = transaction.conversation(user, id)?.ok_or(Error::ConversationNotFound)?;
    if let Some(rejection) = check_update(&stored, new) {
        return Ok(Outcome::Rejected(rejection));
    }
    let messages = item.messages.get(stored_messages..).unwrap_or_default();
    let min_count = u32::try_from(stored_messages + messages.len()).unwrap_or(u32::MAX);
    let changed = Conversation {
        created_at: stored.created_at,
        message_count: new.message_count.max(min_count),
        ..new.clone()
    };
    if messages.is_empty() && changed == stored {
        return Ok(Outcome::AlreadyPresent);
    }
    for message in messages {
        transaction.append_message(user, id, message)?;
    }
    transaction.update(user, id, Timestamp::MIN, |stored| {
        *stored = changed;
        Ok(())
    })?;
    Ok(Outcome::Updated { messages: messages.len() })
}

/// The rule of [`Transaction::update`] that the item breaks, if any. Checked first, because
/// messages are appended before the update.
fn check_update(stored: &Conversation, new: &Conversation) -> Option<Rejection> {
    let invalid = |field, reason| Some(Rejection::Invalid { field, reason });
    if stored.channel.kind() != new.channel.kind() {
        return invalid("type", "must not change");
    }
    if new.total_cost < Cost::ZERO {
        return invalid("total_cost", "must not be negative");
    }
    if new.updated_at < stored.created_at {
        return invalid("updated_at", "must not be before created_at");
    }
    None
}

/// Totals of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Conversations inserted.
    pub inserted: u64,
    /// Conversations updated.
    pub updated: u64,
    /// Conversations that the user already had and that were left unchanged.
    pub already_present: u64,
    /// Messages stored.
    pub messages: u64,
    /// Assistants created.
    pub assistants_created: u64,
    /// Items rejected.
    pub rejected: u64,
}

impl ImportCounts {
    /// Counts the effect of one item.
    pub fn record(&mut self, applied: &Applied) {
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

impl AddAssign for ImportCounts {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.already_present += other.already_present;
        self.messages += other.messages;
        self.assistants_created += other.assistants_created;
        self.rejected += other.rejected;
    }
}

#[cfg(test)]
mod tests;
