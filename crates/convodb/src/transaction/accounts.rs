//! Accounts: users, assistants and access tokens within a transaction.

use crate::error::{Error, Result};
use crate::model::account::{Assistant, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::quota::UserQuota;
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::model::token::{
    Access, NewToken, Token, TokenId, TokenNarrowing, TokenOptions, TokenSelector, TokenText,
};
use crate::rules::{check_limits, narrowed};
use crate::tables::Tables;
use crate::tables::accounts::assistant_record_len;
use crate::tables::quotas::{UsageChange, small_record_bytes};
use crate::transaction::Transaction;

impl Transaction<'_> {
    /// Creates a user. Its number is never reused.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not a valid [`Name`]; [`Error::DuplicateUser`]; or a fault
    /// of the store.
    pub fn create_user<N>(&mut self, name: N, created_at: Timestamp) -> Result<User>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        if self.user_by_name(&name)?.is_some() {
            return Err(Error::DuplicateUser);
        }
        let id = self.tables.sequences.next_user()?;
        let user = User { id, name, created_at, closed: false };
        self.tables.accounts.put_user(&user);
        Ok(user)
    }

    /// Renames a user. A user may be renamed to its current name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not a valid [`Name`]; [`Error::UserNotFound`];
    /// [`Error::DuplicateUser`]; or a fault of the store.
    pub fn rename_user<N>(&mut self, user: UserId, name: N) -> Result<()>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        let account = self.require_user(user)?;
        match self.user_by_name(&name)? {
            Some(other) if other != user => return Err(Error::DuplicateUser),
            Some(_) => return Ok(()),
            None => {}
        }
        self.tables.accounts.remove_name(&account.name)?;
        self.tables.accounts.put_user(&User { name, ..account });
        Ok(())
    }

    /// The user with this name. Two B-tree lookups.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user_by_name(&self, name: &Name) -> Result<Option<UserId>> {
        self.tables.accounts.user_by_name(name)
    }

    /// Creates an assistant of the user.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not a valid [`Name`], or if this write is restricted to
    /// another assistant; [`Error::UserNotFound`]; [`Error::UserClosed`];
    /// [`Error::DuplicateAssistant`]; [`Error::QuotaExceeded`]; or a fault of the store.
    pub fn create_assistant<N>(
        &mut self,
        user: UserId,
        id: AssistantId,
        name: N,
    ) -> Result<Assistant>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        if !self.reaches(id) {
            let reason = "must be the assistant that the token is limited to";
            return Err(Error::Invalid { field: "assistant_id", reason });
        }
        self.require_open_user(user)?;
        if self.assistant(user, id)?.is_some() {
            return Err(Error::DuplicateAssistant(id.uuid()));
        }
        let Tables { accounts, sequences, .. } = &*self.tables;
        let last = accounts.last_assistant_number(sequences, user)?;
        let number = last.checked_add(1).ok_or(Error::Invalid {
            field: "assistant",
            reason: "must be one of the user's first 4294967295",
        })?;
        let assistant = Assistant { id, number, name };
        self.count_usage(user, UsageChange::of_bytes(assistant_bytes(&assistant)))?;
        self.tables.accounts.put_assistant(user, &assistant);
        Ok(assistant)
    }

    /// Renames an assistant of the user. Every list shows the new name from the next snapshot on.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not a valid [`Name`]; [`Error::UserNotFound`];
    /// [`Error::AssistantNotFound`]; [`Error::UserClosed`]; [`Error::QuotaExceeded`] if the name is
    /// longer; or a fault of the store.
    pub fn rename_assistant<N>(&mut self, user: UserId, id: AssistantId, name: N) -> Result<()>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        let assistant = self.require_assistant(user, id)?;
        self.check_open(user)?;
        let before = assistant_bytes(&assistant);
        let renamed = Assistant { name, ..assistant };
        let bytes = assistant_bytes(&renamed) - before;
        self.count_usage(user, UsageChange::of_bytes(bytes))?;
        self.tables.accounts.put_assistant(user, &renamed);
        Ok(())
    }

    /// Deletes an assistant of the user that has no conversations. Its number is never reused. One
    /// B-tree lookup more than the removals.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::AssistantNotFound`], [`Error::AssistantInUse`], or a fault
    /// of the store.
    pub fn delete_assistant(&mut self, user: UserId, id: AssistantId) -> Result<()> {
        let assistant = self.require_assistant(user, id)?;
        if self.tables.indexes.assistant_has_conversations(self.fingerprinter, user, id)? {
            return Err(Error::AssistantInUse(id.uuid()));
        }
        self.count_usage(user, UsageChange::of_bytes(-assistant_bytes(&assistant)))?;
        let Tables { accounts, sequences, .. } = &mut *self.tables;
        accounts.remove_assistant(sequences, user, &assistant)
    }

    /// The user's assistant `id`. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant(&self, user: UserId, id: AssistantId) -> Result<Option<Assistant>> {
        if !self.reaches(id) {
            return Ok(None);
        }
        self.tables.accounts.assistant(user, id)
    }

    /// The user's own limits. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn quota(&self, user: UserId) -> Result<UserQuota> {
        self.tables.quotas.limits(user)
    }

    /// Sets the limits of a user. What the user has beyond a new limit stays, and what adds to it is
    /// refused. One B-tree lookup more than the write.
    ///
    /// # Errors
    /// [`Error::UserNotFound`]; [`Error::UserClosed`]; [`Error::Invalid`] if a limit is 2^64 - 1; or
    /// a fault of the store.
    pub fn set_quota(&mut self, user: UserId, quota: UserQuota) -> Result<()> {
        self.require_open_user(user)?;
        check_limits([quota.conversations, quota.bytes])?;
        self.tables.quotas.put_limits(user, quota)
    }

    /// Stores the SHA-256 of the text as a token of the user.
    pub(crate) fn put_token(
        &mut self,
        user: UserId,
        text: TokenText,
        created_at: Timestamp,
        options: TokenOptions,
    ) -> Result<NewToken> {
        self.require_open_user(user)?;
        if let Some(assistant) = options.assistant
            && !self.tables.accounts.has_assistant(user, assistant)?
        {
            return Err(Error::AssistantNotFound);
        }
        if options.expires_at.is_some_and(|expires_at| expires_at <= created_at) {
            let reason = "must be later than the time of creation";
            return Err(Error::Invalid { field: "expires_at", reason });
        }
        let id = self.tables.accounts.put_new_token(text.as_str(), user, created_at, options);
        Ok(NewToken { token: text.into_string(), id })
    }

    /// Creates an access token for the user of another one, `creator`, which reaches no more than
    /// that: some of its scopes, its only assistant if it has one, and no later expiry. Two B-tree
    /// lookups, and a write.
    ///
    /// ```
    /// use convodb::{Scope, TokenOptions};
    /// # let store = convodb::Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let scopes = "read,tokens".parse()?;
    /// let options = TokenOptions { scopes, ..TokenOptions::default() };
    /// let creator = store.create_token_with(user, at, options)?.id;
    /// let create = |scope: Scope| {
    ///     let (text, options) = (store.draw_token()?, TokenOptions { scopes: scope.into(), ..Default::default() });
    ///     store.write(move |transaction| transaction.create_token_by(creator, text, at, options))
    /// };
    /// assert!(create(Scope::Write).is_err(), "the creator has not got it");
    /// let created = create(Scope::Read)?;
    /// assert!(store.snapshot().authenticate(&created.token, at)?.is_some());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TokenNotFound`] if the creator does not exist or has expired; [`Error::Invalid`]
    /// with the field `scopes`, `assistant` or `expires_at` if the new token would reach more, or
    /// if it would have expired; [`Error::AssistantNotFound`]; [`Error::UserClosed`]; or a fault of
    /// the store.
    pub fn create_token_by(
        &mut self,
        creator: TokenId,
        text: TokenText,
        now: Timestamp,
        options: TokenOptions,
    ) -> Result<NewToken> {
        let invalid = |field, reason| Err(Error::Invalid { field, reason });
        let creator = self.tables.accounts.token_by_id(creator)?;
        let creator = creator.filter(|found| found.access(now).is_some());
        let creator = creator.ok_or(Error::TokenNotFound)?.token;
        if !options.scopes.is_subset(creator.scopes) {
            return invalid("scopes", "must be some of those that the creating token has");
        }
        if creator.assistant.is_some() && options.assistant != creator.assistant {
            return invalid("assistant", "must be the one that the creating token is limited to");
        }
        if let Some(last) = creator.expires_at
            && options.expires_at.is_none_or(|expires_at| last < expires_at)
        {
            return invalid("expires_at", "must not be later than the creating token expires");
        }
        self.put_token(creator.user, text, now, options)
    }

    /// The user's token with this id; `None` if it is another user's, or if the write is restricted
    /// to an assistant and the token reaches more. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn token(&self, user: UserId, id: TokenId) -> Result<Option<Token>> {
        let found = self.tables.accounts.token_by_id(id)?.map(|found| found.token);
        Ok(found.filter(|token| {
            token.user == user
                && (self.restriction.is_none() || token.assistant == self.restriction)
        }))
    }

    /// Narrows a token, and returns it. Snapshots taken afterwards allow no more than what remains.
    /// Nothing can be added to a token: create another one. Two B-tree lookups, and a write.
    ///
    /// # Errors
    /// [`Error::TokenNotFound`]; [`Error::AssistantNotFound`]; [`Error::Invalid`] if the token would
    /// gain something; or a fault of the store.
    pub fn narrow_token(&mut self, id: TokenId, narrowing: TokenNarrowing) -> Result<Token> {
        let found = self.tables.accounts.token_by_id(id)?.ok_or(Error::TokenNotFound)?;
        let user = found.token.user;
        let has_assistant = |assistant| self.tables.accounts.has_assistant(user, assistant);
        let token = narrowed(&found.token, narrowing, has_assistant)?;
        if token != found.token {
            self.tables.accounts.replace_token(&found, &token);
        }
        Ok(token)
    }

    /// Revokes a token. Snapshots taken afterwards refuse it.
    ///
    /// # Errors
    /// [`Error::TokenNotFound`], or a fault of the store.
    pub fn revoke_token(&mut self, token: &str) -> Result<()> {
        if self.tables.accounts.token(token)?.is_none() {
            return Err(Error::TokenNotFound);
        }
        self.tables.accounts.remove_token(token)
    }

    /// Revokes the selected tokens and returns their number. Snapshots taken afterwards refuse
    /// them. One B-tree lookup for an id, else a step for each token of any user.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn revoke_tokens(&mut self, tokens: &TokenSelector) -> Result<u64> {
        self.tables.accounts.remove_tokens(tokens)
    }

    /// What the token with this id allows at the time `now`, to check again what an authentication
    /// allowed before: see [`Snapshot::access`](crate::Snapshot::access). One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn access(&self, token: TokenId, now: Timestamp) -> Result<Option<Access>> {
        Ok(self.tables.accounts.token_by_id(token)?.and_then(|found| found.access(now)))
    }

    /// Records that the token was used at a time, unless a later use is recorded. A write of each
    /// use would cost more than most uses, so record one an hour or so. A token that does not exist
    /// is ignored. One B-tree lookup, and a write of the token.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn record_token_use(&mut self, token: TokenId, at: Timestamp) -> Result<()> {
        self.tables.accounts.record_token_use(token, at)
    }

    pub(super) fn require_open_user(&self, user: UserId) -> Result<User> {
        let user = self.require_user(user)?;
        if user.closed { Err(Error::UserClosed) } else { Ok(user) }
    }

    /// Fails if the user is being erased. One B-tree lookup.
    pub(super) fn check_open(&self, user: UserId) -> Result<()> {
        if self.tables.accounts.is_closed(user)? { Err(Error::UserClosed) } else { Ok(()) }
    }

    pub(super) fn require_user(&self, user: UserId) -> Result<User> {
        self.tables.accounts.user(user)?.ok_or(Error::UserNotFound)
    }

    pub(super) fn check_assistant(&self, user: UserId, id: AssistantId) -> Result<()> {
        match self.reaches(id) && self.tables.accounts.has_assistant(user, id)? {
            true => Ok(()),
            false => Err(self.missing_assistant(user)?),
        }
    }

    pub(super) fn require_assistant(&self, user: UserId, id: AssistantId) -> Result<Assistant> {
        match self.assistant(user, id)? {
            Some(assistant) => Ok(assistant),
            None => Err(self.missing_assistant(user)?),
        }
    }

    /// The error for an assistant that the user does not have: perhaps there is no such user.
    pub(super) fn missing_assistant(&self, user: UserId) -> Result<Error> {
        self.require_user(user).map(|_| Error::AssistantNotFound)
    }
}

/// The bytes that an assistant takes.
fn assistant_bytes(assistant: &Assistant) -> i64 {
    small_record_bytes(assistant_record_len(assistant))
}
