//! Bulk loader: the public API of a bulk load.
//!
//! Everything is sorted first, so that every table is written once, in key order, to full leaves.
//! What exceeds the memory budget is sorted on disk.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use crate::bulk_load::staging::{BulkOptions, Staging};
use crate::bulk_load::writer::{BulkLoadReport, load};
use crate::encoding::key::UuidKey;
use crate::error::{Error, Result};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, UserId};
use crate::model::message::Message;
use crate::rules::check_messages;
use crate::store::Store;

/// A bulk load, created by [`Store::bulk_load`]: loads any number of conversations as one write.
///
/// The write is atomic: after it, all conversations are stored, or none. It needs about as much
/// temporary disk space as the data has, outside the file of the store. [`BulkLoader::push`] does
/// not affect other writers; [`BulkLoader::finish`] occupies the writer thread until all is
/// written.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
/// let mut load = store.bulk_load(BulkOptions::default());
/// for n in 0..1000 {
///     let at = Timestamp::from_millis(at.millis() + n)?;
///     let mut conversation =
///         Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
///     conversation.message_count = 1;
///     let hello = Message::new(Role::User, "Hello!".to_owned(), at)?;
///     load.push(user, &conversation, &[hello])?;
/// }
/// let report = load.finish()?;
/// assert_eq!((report.inserted, report.messages), (1000, 1000));
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct BulkLoader {
    store: Store,
    /// Assistants that are known to exist, of users that are not closed.
    known_assistants: HashSet<UuidKey, RandomState>,
    staging: Staging,
}

/// The most assistants that are remembered, in a few megabytes. A full set is emptied.
const KNOWN_ASSISTANTS: usize = 64 * 1024;

impl Store {
    /// Begins a bulk load, which is many times faster than single inserts and leaves a smaller
    /// file. [`BulkLoader`] has an example.
    #[must_use]
    pub fn bulk_load(&self, options: BulkOptions) -> BulkLoader {
        let (known_assistants, staging) = (HashSet::default(), Staging::new(options));
        BulkLoader { store: self.clone(), known_assistants, staging }
    }
}

impl BulkLoader {
    /// Adds a conversation of the user with its messages. Conversations can arrive in any order.
    /// Those of one millisecond are listed in the order of arrival. If several have the same id,
    /// the first one is loaded and the others are reported as repeated.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `message_count` is less than the number of messages;
    /// [`Error::UserNotFound`]; [`Error::UserClosed`]; or [`Error::AssistantNotFound`]. In these cases the conversation is
    /// left out, and the load can continue. After an I/O error of a temporary file, it cannot.
    pub fn push(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        messages: &[Message],
    ) -> Result<()> {
        check_messages(conversation, messages)?;
        self.require_assistant(user, conversation.assistant)?;
        self.staging.push(user, conversation, messages)
    }

    /// Writes the pushed conversations as one atomic write. Conversations whose id the store has
    /// are left as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the millisecond of a `created_at` is full (4,194,304 conversations of
    /// one user); [`Error::QuotaExceeded`]; [`Error::UserNotFound`] or [`Error::UserClosed`] if a
    /// user was erased meanwhile; [`Error::AssistantNotFound`] if an assistant was deleted
    /// meanwhile; or as [`Store::write`]. Nothing is stored then.
    pub fn finish(self) -> Result<BulkLoadReport> {
        self.finish_with_progress(|_, _| {})
    }

    /// [`BulkLoader::finish`], which calls `progress` with the number of entries written and the
    /// approximate total, on the writer thread.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn finish_with_progress(
        self,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<BulkLoadReport> {
        let (staging, quota) = (self.staging, self.store.default_quota());
        self.store.write_through(move |write, state| load(write, state, staging, quota, progress))
    }

    fn require_assistant(&mut self, user: UserId, id: AssistantId) -> Result<()> {
        let key = UuidKey { user, uuid: id.uuid() };
        if self.known_assistants.contains(&key) {
            return Ok(());
        }
        let snapshot = self.store.snapshot();
        if snapshot.assistant(user, id)?.is_none() {
            let user = snapshot.user(user)?;
            return Err(user.map_or(Error::UserNotFound, |_| Error::AssistantNotFound));
        }
        if snapshot.user(user)?.is_some_and(|user| user.closed) {
            return Err(Error::UserClosed);
        }
        if self.known_assistants.len() >= KNOWN_ASSISTANTS {
            self.known_assistants.clear();
        }
        self.known_assistants.insert(key);
        Ok(())
    }
}
