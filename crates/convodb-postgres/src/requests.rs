//! What a server reads for a request beside lists and conversations: what a token allows, assistants
//! and the user.

use convodb::seam;
use convodb::{Access, Assistant, AssistantId, AssistantRef, Name, Timestamp, TokenId, UserId};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::accounts::{ACCOUNTS, UserAccount, decode_account, decode_assistant};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::page_statement::owner;
use crate::pool::Statements as _;
use crate::rows::{ACCESS_COLUMNS, Columns, decode_name, stored_access};

/// Requests of a server. One statement each.
impl Cluster {
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

    /// All assistants of the user by number, as [`convodb::Snapshot::assistants`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn assistants(&self, user: UserId) -> Result<Vec<Assistant>> {
        let sql = "select id, number, name from assistant where owner = $1 order by owner, number";
        let found = self.pool.rows(sql, &[&owner(user)?]).await?;
        let mut assistants = found.iter().map(decode_assistant).collect::<Result<Vec<_>>>()?;
        assistants.retain(|assistant| self.reaches(assistant.id));
        Ok(assistants)
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
        let found = self.pool.rows(sql, &[&owner(user)?, &ids]).await?;
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
        let found = self.pool.rows(&sql, &[&owner(user)?]).await?;
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
