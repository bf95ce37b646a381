//! Erasure: deletes many conversations, or a user with everything, in writes of bounded size.
//!
//! Other writers get their turn between two writes, and each write leaves the store consistent. The
//! bytes of what was erased stay in the file, unreferenced, until it is
//! [compacted](crate::compact). From before its first write until then, an erasure is marked in the
//! store ([`Snapshot::unfinished_erasures`]), so that an interrupted one is not forgotten: erasing
//! again or compacting finishes it.

use std::ops::ControlFlow;

use crate::encoding::index_term::{Fingerprinter, Fingerprints};
use crate::error::{Error, Result};
use crate::model::account::User;
use crate::model::conversation::Conversation;
use crate::model::id::{ConversationId, UserId};
use crate::model::timestamp::Timestamp;
use crate::model::token::TokenSelector;
use crate::query::filter::Filter;
use crate::query::list_spec::Order;
use crate::query::request::ListRequest;
use crate::snapshot::Snapshot;
use crate::store::{MAX_DELETED_MESSAGES, Store};
use crate::tables::Tables;
use crate::tables::erasure_marks::{self, ErasureMark};
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

/// An erasure that was begun, and whose bytes may still be in the store's files.
///
/// It is unfinished until the store is [compacted](crate::compact), which also deletes what an
/// interrupted erasure has not deleted. Contains no personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnfinishedErasure {
    /// The user, who may no longer exist.
    pub user: UserId,
    /// What is erased.
    pub scope: ErasureScope,
    /// When it was begun.
    pub since: Timestamp,
    /// Whether everything is deleted, so that only the bytes remain.
    pub deleted: bool,
}

/// What an erasure erases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ErasureScope {
    /// The user with everything.
    User,
    /// Conversations of the user that matched a filter.
    Conversations,
}

impl Snapshot {
    /// The erasures that are not finished, by user. Reads a few entries.
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// for erasure in store.snapshot().unfinished_erasures()? {
    ///     println!("user {}: erased bytes remain in the file; compact it", erasure.user);
    /// }
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn unfinished_erasures(&self) -> Result<Vec<UnfinishedErasure>> {
        let marks = erasure_marks::all(self.state().meta())?.into_iter();
        let unfinished = marks.map(|mark| UnfinishedErasure {
            user: mark.user,
            scope: match mark.is_of_user() {
                true => ErasureScope::User,
                false => ErasureScope::Conversations,
            },
            since: mark.since,
            deleted: mark.deleted,
        });
        Ok(unfinished.collect())
    }
}

impl Store {
    /// Deletes the user's conversations that match a request, oldest first, with their messages,
    /// index entries and counters, and returns their number. The request's filter and bounds apply;
    /// its order, page size and cursor do not. The conversations are found through the filter's one
    /// index range.
    ///
    /// One write deletes at most 256, with at most [`MAX_DELETED_MESSAGES`] messages.
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
            deleted += self.write_for(user, move |transaction| {
                let (mut deleted, mut messages) = (0, MAX_DELETED_MESSAGES);
                for id in ids {
                    // It may have been changed or deleted since it was listed.
                    if transaction.conversation(user, id)?.is_some_and(|row| filter.matches(&row)) {
                        if !transaction.delete_within(user, id, &mut messages)? {
                            break;
                        }
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

    /// Erases the user's conversations that match a filter, as [`Store::delete_all`] does, and marks
    /// the erasure as unfinished until the store is compacted: see
    /// [`Snapshot::unfinished_erasures`]. `now` is the time of the mark. Returns the number of
    /// conversations.
    ///
    /// ```
    /// use convodb::{Filter, Store};
    /// # let store = Store::in_memory()?;
    /// # let now = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", now)?.id;
    /// let filter = Filter::new().customer_phone("+4915112345678")?;
    /// assert_eq!(store.erase_conversations(user, &filter, now)?, 0);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::delete_all`].
    pub fn erase_conversations(
        &self,
        user: UserId,
        filter: &Filter,
        now: Timestamp,
    ) -> Result<u64> {
        self.erase_conversations_with_progress(user, filter, now, |_| {})
    }

    /// [`Store::erase_conversations`], which calls `between` after each write with the number of
    /// conversations deleted so far.
    ///
    /// # Errors
    /// As [`Store::erase_conversations`].
    pub fn erase_conversations_with_progress(
        &self,
        user: UserId,
        filter: &Filter,
        now: Timestamp,
        mut between: impl FnMut(u64),
    ) -> Result<u64> {
        let mut deleted = 0;
        // A mark has one value a field, so that each part of the list has a mark of its own.
        for part in filter.parts() {
            deleted += self.erase_part(user, &part, now, |number| between(deleted + number))?;
        }
        Ok(deleted)
    }

    /// Erases the conversations that match a filter with at most one value a field.
    fn erase_part(
        &self,
        user: UserId,
        filter: &Filter,
        now: Timestamp,
        mut between: impl FnMut(u64),
    ) -> Result<u64> {
        let fields = filter.fingerprints(self.snapshot().state().fingerprinter());
        let request = ListRequest { filter: filter.clone(), ..ListRequest::default() };
        let any = self.snapshot().conversations(user, &request).next().transpose()?.is_some();
        let mark = self.interrupted_erasure(user, fields)?;
        if !any && mark.is_none() {
            return Ok(0);
        }
        let since = mark.map_or(now, |mark| mark.since);
        let mark = ErasureMark { user, fields, since, deleted: false };
        self.put_mark(mark)?;
        let deleted = self.delete_all_with_progress(user, &request, |deleted| {
            between(deleted);
            ControlFlow::Continue(())
        })?;
        self.put_mark(ErasureMark { deleted: true, ..mark })?;
        Ok(deleted)
    }

    /// Erases a user. The first write revokes the tokens and closes the account, durably: from then
    /// on nobody can authenticate as the user, and no write but a deletion is accepted for it
    /// ([`Error::UserClosed`]), so that the erasure ends. Then it deletes the conversations as
    /// [`Store::delete_all`] does, then assistants, changes and the account. The user's number is
    /// never reused. An interrupted erasure leaves the account closed; erasing again continues.
    /// The erasure is marked as unfinished until the store is compacted: see
    /// [`Snapshot::unfinished_erasures`]. `now` is the time of the mark.
    ///
    /// ```
    /// # use convodb::Store;
    /// # let store = Store::in_memory()?;
    /// # let now = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", now)?.id;
    /// let token = store.create_token(user, now)?;
    /// assert_eq!(store.erase_user(user, now)?.tokens, 1);
    /// let snapshot = store.snapshot();
    /// assert!(snapshot.user(user)?.is_none());
    /// assert!(snapshot.authenticate(&token, now)?.is_none());
    /// assert_eq!(snapshot.unfinished_erasures()?[0].user, user, "until it is compacted");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UserNotFound`], or as [`Store::delete_all`].
    pub fn erase_user(&self, user: UserId, now: Timestamp) -> Result<EraseReport> {
        self.erase_user_with_progress(user, now, |_| {})
    }

    /// [`Store::erase_user`], which calls `between` after each write with the number of
    /// conversations deleted so far.
    ///
    /// # Errors
    /// As [`Store::erase_user`].
    pub fn erase_user_with_progress(
        &self,
        user: UserId,
        now: Timestamp,
        between: impl FnMut(u64),
    ) -> Result<EraseReport> {
        if self.snapshot().user(user)?.is_none() {
            return Err(Error::UserNotFound);
        }
        let fields = Fingerprints::default();
        let since = self.interrupted_erasure(user, fields)?.map_or(now, |mark| mark.since);
        let mark = ErasureMark { user, fields, since, deleted: false };
        self.put_mark(mark)?;
        let erased = self.delete_user(user, between)?;
        self.put_mark(ErasureMark { deleted: true, ..mark })?;
        Ok(erased)
    }

    /// Deletes what interrupted erasures have not deleted yet, and abandoned inserts.
    pub(crate) fn continue_erasures(&self) -> Result<()> {
        self.remove_abandoned_inserts()?;
        for mark in erasure_marks::all(self.snapshot().state().meta())? {
            if mark.deleted {
                continue;
            }
            if !mark.is_of_user() {
                self.delete_marked(&mark)?;
            } else if self.snapshot().user(mark.user)?.is_some() {
                self.delete_user(mark.user, |_| {})?;
            }
            self.put_mark(ErasureMark { deleted: true, ..mark })?;
        }
        Ok(())
    }

    /// The mark of an earlier, unfinished erasure of these fields.
    fn interrupted_erasure(
        &self,
        user: UserId,
        fields: Fingerprints,
    ) -> Result<Option<ErasureMark>> {
        let marks = erasure_marks::all(self.snapshot().state().meta())?;
        Ok(marks.into_iter().find(|mark| (mark.user, mark.fields) == (user, fields)))
    }

    fn put_mark(&self, mark: ErasureMark) -> Result<()> {
        self.write_through(move |write, _| erasure_marks::put(write, &mark))
    }

    /// Deletes the conversations that a mark names. Reads all conversations of the user: a mark does
    /// not contain the values, only their fingerprints.
    fn delete_marked(&self, mark: &ErasureMark) -> Result<()> {
        let ErasureMark { user, fields, .. } = *mark;
        let snapshot = self.snapshot();
        let fingerprinter = snapshot.state().fingerprinter();
        let is_marked = move |row: &Conversation, fingerprinter: &Fingerprinter| {
            let row = fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
            erasure_marks::matches(&fields, &row)
        };
        let mut rows = snapshot.conversations(user, &ListRequest::default());
        loop {
            let mut ids: Vec<ConversationId> = Vec::new();
            for row in rows.by_ref() {
                let row = row?;
                if is_marked(&row, fingerprinter) {
                    ids.push(row.id);
                }
                if ids.len() == BATCH {
                    break;
                }
            }
            if ids.is_empty() {
                return Ok(());
            }
            let fingerprinter = fingerprinter.clone();
            self.write(move |transaction| {
                for id in ids {
                    let row = transaction.conversation(user, id)?;
                    if row.is_some_and(|row| is_marked(&row, &fingerprinter)) {
                        transaction.delete(user, id)?;
                    }
                }
                Ok::<_, Error>(())
            })?;
        }
    }

    /// Deletes a user with everything, in writes of bounded size.
    fn delete_user(&self, user: UserId, mut between: impl FnMut(u64)) -> Result<EraseReport> {
        let tokens = self.write(move |transaction| transaction.close_user(user))?;
        let mut erased = EraseReport { tokens, ..EraseReport::default() };
        loop {
            let before = erased.conversations;
            erased.conversations +=
                self.delete_all_with_progress(user, &ListRequest::default(), |deleted| {
                    between(before + deleted);
                    ControlFlow::Continue(())
                })?;
            while self.write(move |transaction| transaction.remove_remainder(user))? {}
            // A bulk load that was staged before the account was closed may have finished since.
            if let Some((assistants, tokens)) =
                self.write(move |transaction| transaction.remove_user(user))?
            {
                erased.assistants = assistants;
                erased.tokens += tokens;
                return Ok(erased);
            }
        }
    }
}

impl Transaction<'_> {
    /// Closes the user's account to everything but its erasure, and returns the number of tokens
    /// revoked.
    fn close_user(&mut self, user: UserId) -> Result<u64> {
        let accounts = &mut self.tables.accounts;
        let account = accounts.user(user)?.ok_or(Error::UserNotFound)?;
        if !account.closed {
            accounts.put_user(&User { closed: true, ..account });
        }
        accounts.remove_tokens(&TokenSelector::User(user))
    }

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
        let tokens = self.tables.accounts.remove_tokens(&TokenSelector::User(user))?;
        self.tables.remove_conversation_data(user, usize::MAX)?;
        self.tables.accounts.remove_name(&account.name)?;
        let assistants = self.tables.remove_account(user)?;
        Ok(Some((assistants as u64, tokens)))
    }
}
