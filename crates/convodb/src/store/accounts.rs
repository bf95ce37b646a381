//! Accounts: users, assistants and access tokens, each change as a write of its own.

use crate::error::{Error, Result};
use crate::model::account::{Assistant, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::quota::UserQuota;
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::model::token::{
    NewToken, Token, TokenId, TokenNarrowing, TokenOptions, TokenSelector, TokenText,
};
use crate::store::Store;

impl Store {
    /// [`Transaction::create_user`](crate::Transaction::create_user) as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::create_user`](crate::Transaction::create_user) and [`Store::write`].
    pub fn create_user<N>(&self, name: N, created_at: Timestamp) -> Result<User>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write(move |transaction| transaction.create_user::<Name>(name, created_at))
    }

    /// [`Transaction::rename_user`](crate::Transaction::rename_user) as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::rename_user`](crate::Transaction::rename_user) and [`Store::write`].
    pub fn rename_user<N>(&self, user: UserId, name: N) -> Result<()>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write(move |transaction| transaction.rename_user::<Name>(user, name))
    }

    /// [`Transaction::delete_assistant`](crate::Transaction::delete_assistant) as a write of its
    /// own.
    ///
    /// # Errors
    /// As [`Transaction::delete_assistant`](crate::Transaction::delete_assistant) and
    /// [`Store::write`].
    pub fn delete_assistant(&self, user: UserId, id: AssistantId) -> Result<()> {
        self.write_for(user, move |transaction| transaction.delete_assistant(user, id))
    }

    /// [`Transaction::create_assistant`](crate::Transaction::create_assistant) as a write of its
    /// own.
    ///
    /// # Errors
    /// As [`Transaction::create_assistant`](crate::Transaction::create_assistant) and
    /// [`Store::write`].
    pub fn create_assistant<N>(&self, user: UserId, id: AssistantId, name: N) -> Result<Assistant>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write_for(user, move |transaction| {
            transaction.create_assistant::<Name>(user, id, name)
        })
    }

    /// [`Transaction::rename_assistant`](crate::Transaction::rename_assistant) as a write of its
    /// own.
    ///
    /// # Errors
    /// As [`Transaction::rename_assistant`](crate::Transaction::rename_assistant) and
    /// [`Store::write`].
    pub fn rename_assistant<N>(&self, user: UserId, id: AssistantId, name: N) -> Result<()>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write_for(user, move |transaction| {
            transaction.rename_assistant::<Name>(user, id, name)
        })
    }

    /// [`Transaction::set_quota`](crate::Transaction::set_quota) as a write of its own.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// let one = UserQuota { conversations: QuotaLimit::AtMost(1), ..UserQuota::default() };
    /// store.set_quota(user, one)?;
    /// let new = || Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
    /// store.insert(user, new(), Vec::new())?;
    /// let refused = store.insert(user, new(), Vec::new());
    /// assert!(matches!(refused, Err(Error::QuotaExceeded { limit: 1, used: 1, .. })));
    /// assert_eq!(store.snapshot().storage_usage(user)?.conversations, 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::set_quota`](crate::Transaction::set_quota) and [`Store::write`].
    pub fn set_quota(&self, user: UserId, quota: UserQuota) -> Result<()> {
        self.write(move |transaction| transaction.set_quota(user, quota))
    }

    /// Creates an access token for the user: 256 random bits as text, which reach all data of the
    /// account and never expire. It cannot be shown again, because only its SHA-256 is stored.
    ///
    /// # Errors
    /// As [`Store::create_token_with`].
    pub fn create_token(&self, user: UserId, created_at: Timestamp) -> Result<String> {
        Ok(self.create_token_with(user, created_at, TokenOptions::default())?.token)
    }

    /// [`Store::create_token`] with a name, scopes, an assistant or an expiry, and returns the
    /// token with its public id. [`Snapshot::authenticate`](crate::Snapshot::authenticate) has an example.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::UserClosed`]; [`Error::AssistantNotFound`] if the options
    /// name an assistant that the user does not have; [`Error::Invalid`] if `expires_at` is not
    /// after `created_at`; or as [`Store::write`].
    pub fn create_token_with(
        &self,
        user: UserId,
        created_at: Timestamp,
        options: TokenOptions,
    ) -> Result<NewToken> {
        let text = self.draw_token()?;
        self.write(move |transaction| transaction.put_token(user, text, created_at, options))
    }

    /// Draws the text of a new access token, for
    /// [`Transaction::create_token_by`](crate::Transaction::create_token_by). It is no token before
    /// that has stored it.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no randomness.
    pub fn draw_token(&self) -> Result<TokenText> {
        Ok(TokenText::new(&self.fresh_secret()?))
    }

    /// [`Transaction::narrow_token`](crate::Transaction::narrow_token) as a write of its own.
    ///
    /// ```
    /// use convodb::{Scope, Scopes, TokenNarrowing, TokenOptions};
    /// # let store = convodb::Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let created = store.create_token_with(user, at, TokenOptions::default())?;
    /// let read = TokenNarrowing { scopes: Some(Scope::Read.into()), ..Default::default() };
    /// store.narrow_token(created.id, read)?;
    /// let access = store.snapshot().authenticate(&created.token, at)?.expect("still valid");
    /// assert!(!access.scopes.contains(Scope::Write));
    /// let all = TokenNarrowing { scopes: Some(Scopes::DATA), ..Default::default() };
    /// assert!(store.narrow_token(created.id, all).is_err(), "it can only lose scopes");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::narrow_token`](crate::Transaction::narrow_token) and [`Store::write`].
    pub fn narrow_token(&self, id: TokenId, narrowing: TokenNarrowing) -> Result<Token> {
        self.write(move |transaction| transaction.narrow_token(id, narrowing))
    }

    /// [`Transaction::revoke_token`](crate::Transaction::revoke_token) as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::revoke_token`](crate::Transaction::revoke_token) and [`Store::write`].
    pub fn revoke_token(&self, token: String) -> Result<()> {
        self.write(move |transaction| transaction.revoke_token(&token))
    }

    /// [`Transaction::revoke_tokens`](crate::Transaction::revoke_tokens) as a write of its own.
    ///
    /// ```
    /// use convodb::{TokenOptions, TokenSelector};
    /// # let store = convodb::Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let created = store.create_token_with(user, at, TokenOptions::default())?;
    /// assert_eq!(store.snapshot().tokens()?[0].id, created.id);
    /// assert_eq!(store.revoke_tokens(TokenSelector::Id(created.id))?, 1);
    /// assert!(store.snapshot().authenticate(&created.token, at)?.is_none());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn revoke_tokens(&self, tokens: TokenSelector) -> Result<u64> {
        self.write(move |transaction| transaction.revoke_tokens(&tokens))
    }
}
