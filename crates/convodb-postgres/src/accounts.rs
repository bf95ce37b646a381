//! Accounts: users and access tokens, each change in a transaction of its own.
//!
//! A token is never stored: its row has its SHA-256. The row of a user is locked by what depends on
//! whether the user is being erased.

use convodb::seam;
use convodb::{
    Assistant, AssistantId, AssistantRef, Name, NewToken, Quota, QuotaLimit, StorageUsage,
    Timestamp, Token, TokenId, TokenNarrowing, TokenOptions, TokenPrefix, TokenSelector, User,
    UserId,
};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::cluster::Cluster;
use crate::error::{Error, Result, corrupted};
use crate::page_statement::owner;
use crate::pool::Statements as _;
use crate::rows::{ACCESS_COLUMNS, Columns, decode_name, stored_access};
use crate::values::millis;

/// A user with what the user's data takes and may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserAccount {
    /// The user.
    pub user: User,
    /// What the user's data takes.
    pub usage: StorageUsage,
    /// What it may take: the limits of the user over those of
    /// [`ClusterOptions::quota`](crate::ClusterOptions::quota).
    pub quota: Quota,
}

/// The statement that reads users.
pub(crate) const ACCOUNTS: &str = "select a.id, a.name, a.created_ms, a.closed, h.conversations, \
     h.bytes, h.max_conversations, h.max_bytes from account a join head h on h.owner = a.id";

/// Users and access tokens. Changes may also fail with a fault of the database, which leaves nothing
/// written, or with [`Error::InDoubt`]. They are not repeated.
impl Cluster {
    /// All users, by number. One statement.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn users(&self) -> Result<Vec<UserAccount>> {
        let sql = format!("{ACCOUNTS} order by a.id");
        let found = self.pool.rows(&sql, &[]).await?;
        found.iter().map(|row| decode_account(row, self.default_quota())).collect()
    }

    /// The user with this name, or else with this number. One statement.
    ///
    /// # Errors
    /// [`convodb::Error::UserNotFound`], or a fault of the database.
    pub async fn find_user(&self, named: &Name) -> Result<UserId> {
        let number: Option<i32> = named.as_str().parse().ok();
        let sql = "select id from account where name = $1 or id = $2 order by name <> $1 limit 1";
        let found = self.pool.rows(sql, &[&named.as_str().as_bytes(), &number]).await?;
        let found = found.first().ok_or(convodb::Error::UserNotFound)?;
        decode_user_id(&mut Columns::new(found, 0, "account"))
    }

    /// The user's assistant with this id or number. One statement.
    ///
    /// # Errors
    /// [`convodb::Error::AssistantNotFound`], or a fault of the database.
    pub async fn find_assistant(&self, user: UserId, named: AssistantRef) -> Result<Assistant> {
        let (id, number) = match named {
            AssistantRef::Id(id) => (Some(id.uuid()), None),
            AssistantRef::Number(number) => (None, i32::try_from(number).ok()),
        };
        let sql = "select id, number, name from assistant \
                   where owner = $1 and (id = $2 or number = $3)";
        let found = self.primary().rows(sql, &[&owner(user)?, &id, &number]).await?;
        decode_assistant(found.first().ok_or(convodb::Error::AssistantNotFound)?, 0)
    }

    /// Creates a user, as [`convodb::Transaction::create_user`]. One statement.
    ///
    /// # Errors
    /// [`convodb::Error::DuplicateUser`].
    pub async fn create_user(&self, name: Name, created_at: Timestamp) -> Result<User> {
        let sql = "with numbered as (update store set last_user = last_user + 1 \
                   returning last_user::integer as id), created as (insert into account \
                   (id, name, created_ms, closed) select id, $1, $2, false from numbered) \
                   insert into head (owner, feed, trimmed, assistants, conversations, bytes) \
                   select id, 0, 0, 0, 0, 0 from numbered returning owner";
        let client = self.pool.get().await?;
        let values: [&(dyn ToSql + Sync); 2] = [&name.as_str().as_bytes(), &millis(created_at)];
        let row = client.query_one(sql, &values).await.map_err(duplicate_or_in_doubt)?;
        let id = decode_user_id(&mut Columns::new(&row, 0, "head"))?;
        Ok(User { id, name, created_at, closed: false })
    }

    /// Renames a user, as [`convodb::Transaction::rename_user`]. One statement.
    ///
    /// # Errors
    /// [`convodb::Error::UserNotFound`] or [`convodb::Error::DuplicateUser`].
    pub async fn rename_user(&self, user: UserId, name: Name) -> Result<()> {
        let sql = "update account set name = $2 where id = $1";
        let client = self.pool.get().await?;
        let renamed = client.execute(sql, &[&owner(user)?, &name.as_str().as_bytes()]).await;
        match renamed.map_err(duplicate_or_in_doubt)? {
            0 => Err(convodb::Error::UserNotFound.into()),
            _ => Ok(()),
        }
    }

    /// Sets limits of a user, as [`convodb::Transaction::set_quota`]; one that is `None` stays as it
    /// is. The next group of writes of the user, of any server, observes them. Two statements.
    ///
    /// # Errors
    /// Those of misuse of [`convodb::Transaction::set_quota`].
    pub async fn set_quota(
        &self,
        user: UserId,
        conversations: Option<QuotaLimit>,
        bytes: Option<QuotaLimit>,
    ) -> Result<()> {
        let owner = owner(user)?;
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        // A transaction that closes the user waits.
        let sql = "select closed from account where id = $1 for share";
        let found = transaction.query_opt(sql, &[&owner]).await?;
        let found = found.ok_or(convodb::Error::UserNotFound)?;
        if Columns::new(&found, 0, "account").next()? {
            return Err(convodb::Error::UserClosed.into());
        }
        seam::check_limits([conversations, bytes].into_iter().flatten())?;
        let sql = "update head set \
                   max_conversations = case when $2 then $3 else max_conversations end, \
                   max_bytes = case when $4 then $5 else max_bytes end where owner = $1";
        let stored = |limit: Option<QuotaLimit>| limit.and_then(stored_limit);
        let values: [&(dyn ToSql + Sync); 5] = [
            &owner,
            &conversations.is_some(),
            &stored(conversations),
            &bytes.is_some(),
            &stored(bytes),
        ];
        transaction.execute(sql, &values).await?;
        transaction.commit().await.map_err(in_doubt)
    }

    /// Creates an access token, as [`convodb::Store::create_token_with`]. Three statements.
    ///
    /// # Errors
    /// Those of misuse of [`convodb::Store::create_token_with`].
    pub async fn create_token(
        &self,
        user: UserId,
        created_at: Timestamp,
        options: TokenOptions,
    ) -> Result<NewToken> {
        let mut secret = [0; 32];
        let filled = getrandom::fill(&mut secret);
        filled.map_err(|error| Error::Unavailable(format!("no random numbers: {error}")))?;
        let token = seam::token_text(&secret);
        let TokenOptions { name, scopes, assistant, expires_at } = options;
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let owner = owner(user)?;
        // A transaction that closes the user waits for the token, and revokes it.
        let sql = "select closed from account where id = $1 for share";
        let found = transaction.query_opt(sql, &[&owner]).await?;
        let found = found.ok_or(convodb::Error::UserNotFound)?;
        if Columns::new(&found, 0, "account").next()? {
            return Err(convodb::Error::UserClosed.into());
        }
        let assistant = assistant.map(|id| id.uuid());
        if assistant.is_some() {
            let sql = "select from assistant where owner = $1 and id = $2";
            let found = transaction.query_opt(sql, &[&owner, &assistant]).await?;
            found.ok_or(convodb::Error::AssistantNotFound)?;
        }
        if expires_at.is_some_and(|expires_at| expires_at <= created_at) {
            let reason = "must be later than the time of creation";
            return Err(convodb::Error::Invalid { field: "expires_at", reason }.into());
        }
        let digest = seam::token_digest(&token);
        let prefix: Option<TokenPrefix> = token.parse().ok();
        let sql = "insert into token (digest, owner, name, prefix, scopes, assistant, created_ms, \
                   expires_ms) values ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values: [&(dyn ToSql + Sync); 8] = [
            &digest.as_slice(),
            &owner,
            &name.as_ref().map(|name| name.as_str().as_bytes()),
            &prefix.as_ref().map(TokenPrefix::as_str),
            &i16::from(seam::scope_bits(scopes)),
            &assistant,
            &millis(created_at),
            &expires_at.map(millis),
        ];
        transaction.execute(sql, &values).await?;
        transaction.commit().await.map_err(in_doubt)?;
        Ok(NewToken { token, id: seam::token_id(digest) })
    }

    /// All access tokens, in the order of their ids. One statement.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        let sql =
            format!("select {ACCESS_COLUMNS}, name, prefix, created_ms from token order by digest");
        self.pool.rows(&sql, &[]).await?.iter().map(decode_token).collect()
    }

    /// Narrows an access token, and returns it, as [`convodb::Transaction::narrow_token`]. What is read
    /// or written afterwards, by any server, is allowed no more than what remains. Three statements.
    ///
    /// # Errors
    /// Those of misuse of [`convodb::Transaction::narrow_token`].
    pub async fn narrow_token(&self, id: TokenId, narrowing: TokenNarrowing) -> Result<Token> {
        let (first, last) = seam::token_digests(id);
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let sql = format!(
            "select {ACCESS_COLUMNS}, name, prefix, created_ms from token \
             where digest between $1 and $2 for update"
        );
        let found = transaction.query_opt(&sql, &[&first.as_slice(), &last.as_slice()]).await?;
        let found = found.ok_or(convodb::Error::TokenNotFound)?;
        let (stored, before) = (stored_access(&found)?, decode_token(&found)?);
        let mut has_assistant = false;
        if let Some(assistant) = narrowing.assistant {
            let sql = "select from assistant where owner = $1 and id = $2";
            let values: [&(dyn ToSql + Sync); 2] = [&owner(before.user)?, &assistant.uuid()];
            has_assistant = transaction.query_opt(sql, &values).await?.is_some();
        }
        let token = seam::narrowed(&before, narrowing, |_| Ok(has_assistant))?;
        let sql = "update token set scopes = $2, assistant = $3, expires_ms = $4 where digest = $1";
        let values: [&(dyn ToSql + Sync); 4] = [
            &stored.digest.as_slice(),
            &i16::from(seam::scope_bits(token.scopes)),
            &token.assistant.map(|id| id.uuid()),
            &token.expires_at.map(millis),
        ];
        transaction.execute(sql, &values).await?;
        transaction.commit().await.map_err(in_doubt)?;
        Ok(token)
    }

    /// Revokes an access token, as [`convodb::Transaction::revoke_token`]. One statement.
    ///
    /// # Errors
    /// [`convodb::Error::TokenNotFound`].
    pub async fn revoke_token(&self, token: &str) -> Result<()> {
        let digest = seam::token_digest(token);
        match self.delete_tokens("digest = $1", &[&digest.as_slice()]).await? {
            0 => Err(convodb::Error::TokenNotFound.into()),
            _ => Ok(()),
        }
    }

    /// Revokes the selected access tokens, as [`convodb::Transaction::revoke_tokens`], and returns
    /// their number. One statement.
    ///
    /// # Errors
    /// None but those of each change.
    pub async fn revoke_tokens(&self, selector: &TokenSelector) -> Result<u64> {
        match selector {
            TokenSelector::Id(id) => {
                let (first, last) = seam::token_digests(*id);
                let values: [&(dyn ToSql + Sync); 2] = [&first.as_slice(), &last.as_slice()];
                self.delete_tokens("digest between $1 and $2", &values).await
            }
            TokenSelector::Prefix(prefix) => {
                self.delete_tokens("prefix = $1", &[&prefix.as_str()]).await
            }
            TokenSelector::User(user) => self.delete_tokens("owner = $1", &[&owner(*user)?]).await,
            TokenSelector::All => self.delete_tokens("true", &[]).await,
        }
    }

    async fn delete_tokens(&self, condition: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        let sql = format!("delete from token where {condition}");
        self.pool.get().await?.execute(&sql, values).await.map_err(in_doubt)
    }
}

/// A limit of a user as it is stored.
fn stored_limit(limit: QuotaLimit) -> Option<i64> {
    match limit {
        QuotaLimit::Default => None,
        QuotaLimit::Unlimited => Some(u64::MAX.cast_signed()),
        QuotaLimit::AtMost(limit) => Some(limit.cast_signed()),
    }
}

/// The error of a statement that commits: without an answer, it may be done.
pub(crate) fn in_doubt(error: Error) -> Error {
    match &error {
        // Shutdowns end a connection, whatever it was doing.
        Error::Postgres(cause) if cause.code().is_some_and(|code| !is_shutdown(code)) => error,
        _ => Error::InDoubt,
    }
}

fn is_shutdown(code: &SqlState) -> bool {
    code.code().starts_with("57P")
}

fn duplicate_or_in_doubt(error: Error) -> Error {
    match &error {
        Error::Postgres(cause) if cause.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            convodb::Error::DuplicateUser.into()
        }
        _ => in_doubt(error),
    }
}

pub(crate) fn decode_account(row: &Row, default: Quota) -> Result<UserAccount> {
    let mut columns = Columns::new(row, 0, "account");
    let user = decode_user(&mut columns)?;
    let usage = StorageUsage { conversations: columns.unsigned()?, bytes: columns.unsigned()? };
    let mut limit = |default| -> Result<Option<u64>> {
        Ok(match columns.next::<Option<i64>>()?.map(i64::cast_unsigned) {
            None => default,
            Some(u64::MAX) => None,
            own => own,
        })
    };
    let (conversations, bytes) = (limit(default.conversations)?, limit(default.bytes)?);
    Ok(UserAccount { user, usage, quota: Quota { conversations, bytes } })
}

/// The assistant of the columns `id, number, name` from number `at` on.
pub(crate) fn decode_assistant(row: &Row, at: usize) -> Result<Assistant> {
    let mut columns = Columns::new(row, at, "assistant");
    let id = AssistantId::new(columns.next()?);
    let number = u32::try_from(columns.next::<i32>()?);
    let number = number.map_err(|_| corrupted("assistant", "a number is negative"))?;
    Ok(Assistant { id, number, name: decode_name(&mut columns)? })
}

/// The user of the columns `id, name, created_ms, closed`.
pub(crate) fn decode_user(columns: &mut Columns<'_>) -> Result<User> {
    let id = decode_user_id(columns)?;
    let name = decode_name(columns)?;
    Ok(User { id, name, created_at: columns.time()?, closed: columns.next()? })
}

/// A user's number.
pub(crate) fn decode_user_id(columns: &mut Columns<'_>) -> Result<UserId> {
    let id = u32::try_from(columns.next::<i32>()?);
    Ok(UserId::new(id.map_err(|_| corrupted("account", "a number is negative"))?))
}

/// The token of the columns [`ACCESS_COLUMNS`] and `name, prefix, created_ms`.
pub(crate) fn decode_token(row: &Row) -> Result<Token> {
    let access = stored_access(row)?;
    let scopes = seam::scopes_of_bits(access.scopes);
    let mut columns = Columns::new(row, 6, "token");
    Ok(Token {
        id: seam::token_id(access.digest),
        user: access.user,
        name: columns.text(|text| Name::new(text).ok())?,
        prefix: columns.next()?,
        scopes: scopes.ok_or_else(|| corrupted("token", "a token has unknown scopes"))?,
        assistant: access.assistant,
        created_at: columns.time()?,
        expires_at: access.expires_at,
        last_used_at: access.last_used_at,
    })
}
