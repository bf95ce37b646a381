//! Erasure: deletes many conversations, or a user with everything, in writes of bounded size.
//!
//! Other writers get their turn between two writes. Each write leaves the store consistent, and an
//! interrupted erasure is continued by erasing again. The bytes of what was erased stay in the
//! file, unreferenced, until it is [compacted](crate::compact).

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::model::id::{ConversationId, UserId};
use crate::query::list_spec::Order;
use crate::query::request::ListRequest;
use crate::store::Store;
use crate::tables::Tables;
use crate::transaction::Transaction;

/// The number of conversations in one write.
const BATCH: usize = 256;

/// The result of [`Store::erase_user`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EraseReport {
    /// Conversations, each with its messages.
    pub conversations: u64,
    /// Assistants.
    pub assistants: u64,
    /// Access tokens.
    pub tokens: u64,
}

impl Store {
    /// Deletes the user's conversations that match a request, oldest first, with their messages,
    /// index entries and counters, and returns their number. The request's filter and bounds apply;
    /// its order, page size and cursor do not. The conversations are found through the filter's one
    /// index range.
    ///
    /// One write deletes at most 256.
    ///
    /// ```
    /// use convodb::{Filter, ListRequest, Store};
    /// # let store = Store::in_memory()?;
    /// # let user = store.create_user("Acme", "2025-01-25".parse()?)?.id;
    /// let filter = Filter::new().customer_phone("+4915112345678")?;
    /// assert_eq!(store.delete_all(user, &ListRequest::new().filter(filter))?, 0);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::write`], or a fault of the store. What earlier writes deleted stays deleted.
    pub fn delete_all(&self, user: UserId, request: &ListRequest) -> Result<u64> {
        self.delete_all_with_progress(user, request, |_| ControlFlow::Continue(()))
    }

    /// [`Store::delete_all`], which calls `between` after each write with the number of
    /// conversations deleted so far. `between` may wait, to leave time for other writers, or stop
    /// the deletion.
    ///
    /// # Errors
    /// As [`Store::delete_all`].
    pub fn delete_all_with_progress(
        &self,
        user: UserId,
        request: &ListRequest,
        mut between: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64> {
        let request = ListRequest { order: Some(Order::Ascending), ..request.clone() };
        let mut deleted = 0;
        loop {
            let rows = self.snapshot().conversations(user, &request).take(BATCH);
            let ids = rows.map(|row| Ok(row?.id)).collect::<Result<Vec<ConversationId>>>()?;
            if ids.is_empty() {
                return Ok(deleted);
            }
            let filter = request.filter.clone();
            deleted += self.write(move |transaction| {
                let mut deleted = 0;
                for id in ids {
                    // It may have been changed or deleted since it was listed.
                    if transaction.conversation(user, id)?.is_some_and(|row| filter.matches(&row)) {
                        transaction.delete(user, id)?;
                        deleted += 1;
                    }
                }
                Ok::<_, Error>(deleted)
            })?;
            if between(deleted).is_break() {
                return Ok(deleted);
            }
        }
    }

    /// Erases a user: first the tokens, so that nobody can act as the user, then the conversations
    /// as [`Store::delete_all`] does, then assistants, changes and the account. The user's number
    /// is never reused.
    ///
    /// ```
    /// # use convodb::Store;
    /// # let store = Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", at)?.id;
    /// let token = store.create_token(user, at)?;
    /// assert_eq!(store.erase_user(user)?.tokens, 1);
    /// assert!(store.snapshot().user(user)?.is_none());
    /// assert!(store.snapshot().authenticate(&token)?.is_none());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UserNotFound`], or as [`Store::delete_all`].
    pub fn erase_user(&self, user: UserId) -> Result<EraseReport> {
        self.erase_user_with_progress(user, |_| {})
    }

    /// [`Store::erase_user`], which calls `between` after each write with the number of
    /// conversations deleted so far.
    ///
    /// # Errors
    /// As [`Store::erase_user`].
    pub fn erase_user_with_progress(
        &self,
        user: UserId,
        mut between: impl FnMut(u64),
    ) -> Result<EraseReport> {
        let mut erased =
            EraseReport { tokens: self.revoke_all_tokens(user)?, ..EraseReport::default() };
        loop {
            let before = erased.conversations;
            erased.conversations +=
                self.delete_all_with_progress(user, &ListRequest::default(), |deleted| {
                    between(before + deleted);
                    ControlFlow::Continue(())
                })?;
            while self.write(move |transaction| transaction.remove_remainder(user))? {}
            // Another writer of this process may have added something in between.
            if let Some((assistants, tokens)) =
                self.write(move |transaction| transaction.remove_user(user))?
            {
                erased.assistants = assistants;
                erased.tokens += tokens;
                return Ok(erased);
            }
        }
    }

    /// Revokes all tokens of the user and returns their number. Scans the tokens of all users.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], or as [`Store::write`].
    pub fn revoke_all_tokens(&self, user: UserId) -> Result<u64> {
        self.write(move |transaction| {
            if !transaction.tables.accounts.has_user(user)? {
                return Err(Error::UserNotFound);
            }
            transaction.tables.accounts.remove_tokens_of(user)
        })
    }
}

impl Transaction<'_> {
    /// Removes a batch of what remains after the user's conversations, in any table, and returns
    /// whether there was any. Does nothing while there are conversations.
    fn remove_remainder(&mut self, user: UserId) -> Result<bool> {
        if self.tables.conversations.any(user)? {
            return Ok(false);
        }
        // Oldest first, so that the remaining changes have no gap.
        let Tables { change_feed, sequences, .. } = &mut *self.tables;
        let last = sequences.last_change(user)?;
        let trimmed = change_feed.trim(sequences, user, last, BATCH)?;
        Ok(trimmed > 0 || self.tables.remove_conversation_data(user, BATCH)? > 0)
    }

    /// Removes the account and returns the numbers of assistants and tokens removed with it; `None`
    /// while the user has conversations.
    fn remove_user(&mut self, user: UserId) -> Result<Option<(u64, u64)>> {
        if self.tables.conversations.any(user)? {
            return Ok(None);
        }
        let account = self.tables.accounts.user(user)?.ok_or(Error::UserNotFound)?;
        let tokens = self.tables.accounts.remove_tokens_of(user)?;
        self.tables.remove_conversation_data(user, usize::MAX)?;
        self.tables.accounts.remove_name(&account.name)?;
        let assistants = self.tables.remove_account(user)?;
        Ok(Some((assistants as u64, tokens)))
    }
}
