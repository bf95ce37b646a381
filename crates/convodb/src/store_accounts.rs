//! Writes about accounts: users, their assistants and their tokens.

use data_encoding::BASE64URL_NOPAD;

use crate::error::Result;
use crate::model::account::{Assistant, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::store::Store;

impl Store {
    /// [`Transaction::create_user`](crate::Transaction::create_user) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn create_user(&self, name: Name, created_at: Timestamp) -> Result<User> {
        self.write(move |transaction| transaction.create_user(name, created_at))
    }

    /// [`Transaction::create_assistant`](crate::Transaction::create_assistant) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn create_assistant(&self, user: UserId, id: AssistantId, name: Name) -> Result<Assistant> {
        self.write(move |transaction| transaction.create_assistant(user, id, name))
    }

    /// [`Transaction::rename_assistant`](crate::Transaction::rename_assistant) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn rename_assistant(&self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        self.write(move |transaction| transaction.rename_assistant(user, id, name))
    }

    /// A new access token of the user's: 256 random bits as text. It cannot be shown again: only
    /// its SHA-256 is stored.
    ///
    /// # Errors
    /// [`Error::UserNotFound`](crate::Error::UserNotFound), or as [`Store::write`].
    pub fn create_token(&self, user: UserId, created_at: Timestamp) -> Result<String> {
        let token = format!("cvdb_{}", BASE64URL_NOPAD.encode(&self.fresh_secret()?));
        self.write(move |transaction| {
            transaction.put_token(user, &token, created_at)?;
            Ok(token)
        })
    }

    /// [`Transaction::revoke_token`](crate::Transaction::revoke_token) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn revoke_token(&self, token: String) -> Result<()> {
        self.write(move |transaction| transaction.revoke_token(&token))
    }
}
