//! Bulk load: everything is sorted first, so that every table is written once, in key order, to full
//! leaves. What does not fit into the budget of memory is sorted on disk.
//!
//! A load is one write: all of it is there when it is done, or none. It takes about as much
//! temporary disk as it has data, and holds the writer while it is written (not while it gathers).

use crate::bulk_load::staging::{BulkOptions, Staging};
use crate::bulk_load::writer::{BulkLoadReport, load};
use crate::error::{Error, Result};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, UserId};
use crate::model::message::Message;
use crate::store::Store;
use crate::transaction::check_messages;

/// Loads many conversations at once. Made by [`Store::bulk_load`].
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
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
    /// The assistant that was last found to exist.
    known: Option<(UserId, AssistantId)>,
    staging: Staging,
}

impl Store {
    /// Begins a bulk load, for many times the rate of single inserts and a smaller file. [`BulkLoader`]
    /// shows it.
    #[must_use]
    pub fn bulk_load(&self, options: BulkOptions) -> BulkLoader {
        BulkLoader { store: self.clone(), known: None, staging: Staging::new(options) }
    }
}

impl BulkLoader {
    /// Adds a conversation of the user's with its messages. Rows may come in any order; those of
    /// one millisecond keep it. Of several with one id the first counts.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`] and [`Error::Invalid`] for this row, which is then left out;
    /// or a fault of the disk that rows are sorted on.
    pub fn push(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        history: &[Message],
    ) -> Result<()> {
        check_messages(conversation, history)?;
        self.require_assistant(user, conversation.assistant)?;
        self.staging.push(user, conversation, history)
    }

    /// Writes what was pushed, as one atomic write.
    ///
    /// # Errors
    /// As [`Store::write`].
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
        let staging = self.staging;
        self.store.write_through(move |write, state| load(write, state, staging, progress))
    }

    fn require_assistant(&mut self, user: UserId, id: AssistantId) -> Result<()> {
        if self.known == Some((user, id)) {
            return Ok(());
        }
        let snapshot = self.store.snapshot();
        if snapshot.assistant(user, id)?.is_none() {
            let user = snapshot.user(user)?;
            return Err(user.map_or(Error::UserNotFound, |_| Error::AssistantNotFound));
        }
        self.known = Some((user, id));
        Ok(())
    }
}
