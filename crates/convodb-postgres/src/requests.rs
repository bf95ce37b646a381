//! What a server reads for a request beside lists and conversations: what a token allows, assistants
//! and the user.

use convodb::seam;
use convodb::{Access, Assistant, AssistantId, AssistantRef, Name, Timestamp, TokenId, UserId};
use convodb_service::{AssistantPage, RecalledAccess};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::accounts::{ACCOUNTS, UserAccount, decode_account, decode_assistant};
use crate::cluster::Cluster;
use crate::error::{Error, Result, corrupted};
use crate::known_tokens::{Guard, access_sql};
use crate::page_statement::owner;
use crate::pool::Statements as _;
use crate::rows::{ACCESS_COLUMNS, Columns, decode_name, stored_access};

/// Requests of a server. One statement each.
impl Cluster {
    /// What an access token allows at the time `now`, as [`convodb::Snapshot::authenticate`]. One
    /// statement.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn authenticate(&self, token: &str, now: Timestamp) -> Result<Option<Access>> {
        let digest = seam::token_digest(token);
        let found = self.pool.rows(&access_sql(), &[&digest.as_slice()]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let stored = stored_access(row)?;
        let access = stored.access(now)?;
        if access.is_some() {
            self.known_tokens().remember(stored);
        }
        Ok(access)
    }

    /// What an access token allowed when it was read last: see [`convodb_service::Remote::recall`].
    pub(crate) fn recall_token(&self, token: &str, now: Timestamp) -> Option<RecalledAccess> {
        let stored = self.known_tokens().recall(&seam::token_digest(token))?;
        RecalledAccess::new(stored, now)
    }

    /// Checks what was recalled of an access token. One statement.
    pub(crate) async fn check_token(&self, recalled: &RecalledAccess) -> Result<()> {
        let guard = Guard { recalled, known: self.known_tokens() };
        self.pool.read_by(Some(guard), |session| async move { session.check().await }).await
    }

    /// What the access token with this id allows at the time `now`, as [`convodb::Snapshot::access`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn access(&self, token: TokenId, now: Timestamp) -> Result<Option<Access>> {
        let (first, last) = seam::token_digests(token);
        let sql = format!("select {ACCESS_COLUMNS} from token where digest between $1 and $2");
        let found = self.pool.rows(&sql, &[&first.as_slice(), &last.as_slice()]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        Ok(stored_access(row)?.access(now)?)
    }

    /// The user's assistant that a client refers to, as [`convodb::Snapshot::resolve_assistant`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn resolve_assistant(
        &self,
        user: UserId,
        named: AssistantRef,
    ) -> Result<Option<Assistant>> {
        match self.find_assistant(user, named).await {
            Ok(found) => Ok(Some(found).filter(|found| self.reaches(found.id))),
            Err(Error::Store(convodb::Error::AssistantNotFound)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The user's assistants by number, without the first `offset`, at most `limit`, as
    /// [`convodb::Snapshot::assistants`]; and how many there are. One statement, which reads an index
    /// entry of each of the user's assistants, and those that it returns.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn assistants(
        &self,
        user: UserId,
        offset: u32,
        limit: usize,
    ) -> Result<AssistantPage> {
        let only = self.restriction.map(|only| only.uuid());
        let and_only = if only.is_some() { "and id = $4" } else { "" };
        let sql = format!(
            "select n.total, a.id, a.number, a.name from (select count(*) as total from assistant \
             where owner = $1 {and_only}) n left join lateral (select id, number, name \
             from assistant where owner = $1 {and_only} order by owner, number \
             offset $2 limit $3) a on true order by a.number"
        );
        let (owner, offset) = (owner(user)?, i64::from(offset));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = match &only {
            Some(only) => self.primary().rows(&sql, &[&owner, &offset, &limit, only]).await?,
            None => self.primary().rows(&sql, &[&owner, &offset, &limit]).await?,
        };
        let first = found.first().ok_or_else(|| corrupted("assistant", "a count is missing"))?;
        let total = Columns::new(first, 0, "assistant").unsigned()?;
        let mut assistants = Vec::with_capacity(found.len());
        for row in &found {
            // Of an outer join that found none.
            if Columns::new(row, 1, "assistant").next::<Option<Uuid>>()?.is_some() {
                assistants.push(decode_assistant(row, 1)?);
            }
        }
        Ok(AssistantPage { total: u32::try_from(total).unwrap_or(u32::MAX), assistants })
    }

    /// The names of those of the user's assistants `ids` that exist.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn assistant_names(
        &self,
        user: UserId,
        ids: &[AssistantId],
    ) -> Result<Vec<(AssistantId, Name)>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let sql = "select id, name from assistant where owner = $1 and id = any ($2)";
        let found = self.primary().rows(sql, &[&owner(user)?, &ids]).await?;
        let name = |row: &Row| -> Result<_> {
            let mut columns = Columns::new(row, 0, "assistant");
            Ok((AssistantId::new(columns.next()?), decode_name(&mut columns)?))
        };
        found.iter().map(name).collect()
    }

    /// The user with what the data takes and may take.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn account(&self, user: UserId) -> Result<Option<UserAccount>> {
        let sql = format!("{ACCOUNTS} where a.id = $1");
        let found = self.primary().rows(&sql, &[&owner(user)?]).await?;
        found.first().map(|row| decode_account(row, self.default_quota())).transpose()
    }

    /// Checks that the database answers and accepts writes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Postgres`].
    pub async fn check_ready(&self) -> Result<()> {
        let client = self.pool.get().await?;
        let row = client.query_one("select pg_is_in_recovery() from store", &[]).await?;
        if Columns::new(&row, 0, "store").next()? {
            return Err(Error::Unavailable("the server is a standby".to_owned()));
        }
        Ok(())
    }
}
