//! Accounts: users, assistants and access tokens of a snapshot.

use std::cmp::Reverse;

use crate::error::Result;
use crate::model::account::{Assistant, AssistantRef, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::quota::{StorageUsage, UserQuota};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::model::token::{Access, Token, TokenId};
use crate::snapshot::Snapshot;

impl Snapshot {
    /// What an access token allows at the time `now`; `None` if the token does not exist or has
    /// expired. One B-tree lookup.
    ///
    /// ```
    /// use convodb::{Scope, TokenOptions};
    /// # let store = convodb::Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let expires_at = Some("2025-02-01".parse()?);
    /// let options = TokenOptions { scopes: Scope::Read.into(), expires_at, ..Default::default() };
    /// let token = store.create_token_with(user, at, options)?.token;
    /// let access = store.snapshot().authenticate(&token, at)?.expect("a valid token");
    /// assert_eq!(access.user, user);
    /// assert!(access.scopes.contains(Scope::Read) && !access.scopes.contains(Scope::Write));
    /// assert!(store.snapshot().authenticate(&token, "2025-02-01".parse()?)?.is_none());
    /// assert!(store.snapshot().authenticate("cvdb_guess", at)?.is_none());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Option<Access>> {
        let found = self.state.tables.accounts.token(token)?;
        Ok(found.and_then(|found| found.access(now)))
    }

    /// What the token with this id allows at the time `now`; `None` if it was revoked or has
    /// expired. Work that lasts checks its authority with it again, on a new snapshot each time:
    /// revoking a token or erasing its user then ends the work. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn access(&self, token: TokenId, now: Timestamp) -> Result<Option<Access>> {
        let found = self.state.tables.accounts.token_by_id(token)?;
        Ok(found.and_then(|found| found.access(now)))
    }

    /// The access tokens of all users, in the order of their ids, expired ones included. A step for
    /// each; loads all of them into memory.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn tokens(&self) -> Result<Vec<Token>> {
        self.state.tables.accounts.tokens()?.map(|found| Ok(found?.token)).collect()
    }

    /// The access tokens of a user, the newest first, expired ones included; of a snapshot that is
    /// restricted to an assistant, those that reach nothing else. A step for each token of any user.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn tokens_of(&self, user: UserId) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        for found in self.state.tables.accounts.tokens()? {
            let token = found?.token;
            let is_reached = self.restriction.is_none() || token.assistant == self.restriction;
            if token.user == user && is_reached {
                tokens.push(token);
            }
        }
        tokens.sort_by_key(|token| (Reverse(token.created_at), token.id));
        Ok(tokens)
    }

    /// What the user's data takes, nothing if there is no such user. One B-tree lookup.
    /// [`Store::set_quota`](crate::Store::set_quota) has an example.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn storage_usage(&self, user: UserId) -> Result<StorageUsage> {
        self.state.tables.quotas.usage(user)
    }

    /// The user's own limits. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn quota(&self, user: UserId) -> Result<UserQuota> {
        self.state.tables.quotas.limits(user)
    }

    /// The user with this number. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user(&self, id: UserId) -> Result<Option<User>> {
        self.state.tables.accounts.user(id)
    }

    /// The user with this name. Two B-tree lookups.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user_by_name(&self, name: &Name) -> Result<Option<UserId>> {
        self.state.tables.accounts.user_by_name(name)
    }

    /// All users, by number. A step for each; loads all of them into memory.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn users(&self) -> Result<Vec<User>> {
        self.state.tables.accounts.users()
    }

    /// The user's assistant `id`. One B-tree lookup.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant(&self, user: UserId, id: AssistantId) -> Result<Option<Assistant>> {
        if !self.reaches(id) {
            return Ok(None);
        }
        self.state.tables.accounts.assistant(user, id)
    }

    /// Appends the current name of the user's assistant to `out`, and returns whether the user has
    /// that assistant. Names are cached until an assistant changes: the first call for an assistant
    /// is a B-tree lookup; later calls allocate nothing but the growth of `out`.
    ///
    /// ```
    /// # use convodb::{AssistantId, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// let mut names = String::new();
    /// assert!(store.snapshot().assistant_name(user, bot, &mut names)?);
    /// assert_eq!(names, "Bot");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_name(&self, user: UserId, id: AssistantId, out: &mut String) -> Result<bool> {
        Ok(self.reaches(id) && self.state.tables.assistant_name(user, id, out)?)
    }

    /// The user's assistant with this number in the assistants list. Two B-tree lookups.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_by_number(&self, user: UserId, number: u32) -> Result<Option<Assistant>> {
        let found = self.state.tables.accounts.assistant_by_number(user, number)?;
        Ok(found.filter(|found| self.reaches(found.id)))
    }

    /// The user's assistant that a person or a client refers to, by id or by number. One or two
    /// B-tree lookups.
    ///
    /// ```
    /// # use convodb::{AssistantId, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?;
    /// let snapshot = store.snapshot();
    /// assert_eq!(snapshot.resolve_assistant(user, "1".parse()?)?.as_ref(), Some(&bot));
    /// assert_eq!(snapshot.resolve_assistant(user, bot.id.to_string().parse()?)?, Some(bot));
    /// assert_eq!(snapshot.resolve_assistant(user, "2".parse()?)?, None);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn resolve_assistant(
        &self,
        user: UserId,
        assistant: AssistantRef,
    ) -> Result<Option<Assistant>> {
        match assistant {
            AssistantRef::Id(id) => self.assistant(user, id),
            AssistantRef::Number(number) => self.assistant_by_number(user, number),
        }
    }

    /// The number of assistants of the user. One B-tree lookup, then a step for each assistant:
    /// numbers have gaps, because assistants can be deleted and numbers are not reused.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_count(&self, user: UserId) -> Result<u32> {
        match self.restriction {
            Some(only) => Ok(u32::from(self.state.tables.accounts.has_assistant(user, only)?)),
            None => self.state.tables.accounts.assistant_count(user),
        }
    }

    /// The user's assistants by number, without the first `offset`, at most `limit`. One B-tree
    /// lookup, then a step for each that is skipped, and a step and a lookup for each returned.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistants(&self, user: UserId, offset: u32, limit: usize) -> Result<Vec<Assistant>> {
        let Some(only) = self.restriction else {
            return self.state.tables.accounts.assistants(user, offset, limit);
        };
        let only = self.assistant(user, only)?;
        Ok(only.into_iter().skip(offset as usize).take(limit).collect())
    }
}
