//! Deletion of many conversations, by filter, age or user, in transactions of bounded size.
//!
//! Conversations are deleted as any write, through the lane of the user: counters, quotas and the
//! feed stay right, other writers get their turn, and each transaction deletes at most 256.

use convodb::seam;
use convodb::{EraseReport, ListRequest, Order, PageSize, RetentionDoubt, Timestamp, UserId};
use convodb_service::Write;
use futures_util::future::join_all;

use crate::accounts::in_doubt;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::page_statement::owner;
use crate::rows::Columns;

/// The most rows of other tables that one transaction deletes.
const BATCH: i64 = 10_000;
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Deleting.
impl Cluster {
    /// Deletes the user's conversations that match a request, oldest first, as
    /// [`convodb::Store::delete_all`], and returns their number. One transaction deletes at most 100.
    ///
    /// # Errors
    /// Those of [`Cluster::list`] and [`Cluster::write`]. What earlier transactions deleted stays
    /// deleted, so that the call can be repeated.
    pub async fn delete_all(&self, user: UserId, request: &ListRequest) -> Result<u64> {
        let request = ListRequest {
            order: Some(Order::Ascending),
            page_size: Some(PageSize::MAX),
            cursor: None,
            ..request.clone()
        };
        let primary = self.of_primary();
        let mut deleted = 0;
        loop {
            let page = primary.list(user, &request).await?;
            let ids: Vec<_> = page.conversations().map(|row| row.id).collect();
            if ids.is_empty() {
                return Ok(deleted);
            }
            let writes = ids.into_iter().map(|id| {
                // It may have been changed since it was listed.
                let filter = request.filter.clone();
                self.write(user, Write::DeleteMatching { id, filter })
            });
            for done in join_all(writes).await {
                match done {
                    Ok(_) => deleted += 1,
                    Err(Error::Store(convodb::Error::ConversationNotFound)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Erases a user, as [`convodb::Store::erase_user`]. The first transaction closes the account and
    /// revokes its tokens; then conversations, changes, idempotency records and assistants are deleted
    /// in transactions of bounded size, and the account last. After a fault the account stays closed,
    /// and erasing again continues.
    ///
    /// The bytes remain in the database until it has vacuumed and overwritten them, and in its WAL
    /// archive and backups.
    ///
    /// # Errors
    /// [`convodb::Error::UserNotFound`]; those of [`Cluster::delete_all`]; or [`Error::InDoubt`].
    pub async fn erase_user(&self, user: UserId) -> Result<EraseReport> {
        let owner = owner(user)?;
        let tokens = self.close_user(owner).await?;
        let mut whole = self.clone();
        (whole.restriction, whole.authority) = (None, None);
        let conversations = whole.delete_all(user, &ListRequest::default()).await?;
        // The feed ends where it is said to end, also if this stops half way.
        let changes = "with trimmed as (update head set trimmed = least(feed, trimmed + $2) \
                       where owner = $1 and trimmed < feed returning trimmed) delete from change \
                       where owner = $1 and number <= (select trimmed from trimmed)";
        self.in_batches(changes, owner).await?;
        let mut assistants = 0;
        for table in ["change_mark", "answer", "total", "assistant"] {
            let sql = format!(
                "delete from {table} where owner = $1 and ctid = any (array(select ctid from {table} \
                 where owner = $1 limit $2))"
            );
            assistants = self.in_batches(&sql, owner).await?;
        }
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        for sql in ["delete from head where owner = $1", "delete from account where id = $1"] {
            transaction.execute(sql, &[&owner]).await?;
        }
        transaction.commit().await.map_err(in_doubt)?;
        Ok(EraseReport { conversations, assistants, tokens })
    }

    /// Closes an account, and returns the number of its tokens, which it revokes. After the writes that
    /// hold the lock of the user's head no write but a deletion is accepted.
    async fn close_user(&self, owner: i32) -> Result<u64> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let lock = "select from head where owner = $1 for no key update";
        transaction.query_opt(lock, &[&owner]).await?.ok_or(convodb::Error::UserNotFound)?;
        transaction.execute("update account set closed = true where id = $1", &[&owner]).await?;
        let tokens = transaction.execute("delete from token where owner = $1", &[&owner]).await?;
        transaction.commit().await.map_err(in_doubt)?;
        Ok(tokens)
    }

    /// Repeats a deletion of an owner's rows, of at most a batch, until it deletes none. Returns the
    /// number of rows.
    async fn in_batches(&self, sql: &str, owner: i32) -> Result<u64> {
        let mut client = self.pool.get().await?;
        let prepared = client.prepare(sql).await?;
        let mut all = 0;
        loop {
            client.renew();
            match client.execute(&prepared, &[&owner, &BATCH]).await.map_err(in_doubt)? {
                0 => return Ok(all),
                deleted => all += deleted,
            }
        }
    }
}

/// Retention.
impl Cluster {
    /// Why a retention pass should not run unless a person confirms it, as
    /// [`convodb::Snapshot::doubt_retention`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn doubt_retention(
        &self,
        users: &[UserId],
        now: Timestamp,
        before: Option<Timestamp>,
    ) -> Result<Option<RetentionDoubt>> {
        let client = self.pool.get().await?;
        let row =
            client.query_one("select retention_ms, retention_until_ms from store", &[]).await?;
        drop(client);
        let mut columns = Columns::new(&row, 0, "store");
        let (last, last_limit) = (columns.optional_time()?, columns.optional_time()?);
        let doubt = seam::clock_doubt(last, now);
        let Some(before) = before.filter(|_| doubt.is_none()) else { return Ok(doubt) };
        if !seam::needs_comparison(last_limit, before) {
            return Ok(None);
        }
        let (mut all_expired, mut all) = (0, 0);
        let primary = self.of_primary();
        for &user in users {
            let expired = primary.count_before(user, before).await?;
            let of = primary.count(user, &ListRequest::default()).await?.conversations;
            if seam::is_most(expired, of) {
                return Ok(Some(RetentionDoubt::DeletesMost { user: Some(user), expired, of }));
            }
            all_expired += expired;
            all += of;
        }
        let doubt = RetentionDoubt::DeletesMost { user: None, expired: all_expired, of: all };
        Ok(seam::is_most(all_expired, all).then_some(doubt))
    }

    /// The number of conversations that were created before a time; all of its day if that day has too
    /// many to be counted one by one.
    async fn count_before(&self, user: UserId, before: Timestamp) -> Result<u64> {
        let request = ListRequest::default().created_to(before);
        let count = self.count(user, &request).await?;
        if count.is_exact {
            return Ok(count.conversations);
        }
        let midnight = Timestamp::from_millis((before.millis() / DAY_MILLIS + 1) * DAY_MILLIS)
            .unwrap_or(Timestamp::MAX);
        let request = ListRequest::default().created_to(midnight);
        Ok(self.count(user, &request).await?.conversations)
    }

    /// Records a retention pass, as [`convodb::Store::begin_retention`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn begin_retention(&self, now: Timestamp, before: Option<Timestamp>) -> Result<()> {
        let sql = "update store set retention_ms = $1, \
                   retention_until_ms = coalesce($2, retention_until_ms)";
        let millis = crate::values::millis;
        let client = self.pool.get().await?;
        client.execute(sql, &[&millis(now), &before.map(millis)]).await.map_err(in_doubt)?;
        Ok(())
    }
}
