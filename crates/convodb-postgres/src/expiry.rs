//! Expiry: trims the change feeds by age, and removes old idempotency records.
//!
//! As in an embedded store, an hourly mark of a feed says which changes are older than the hour. Each
//! transaction locks the head of one user first, as groups of writes do.

use std::time::Duration;

use convodb::seam;
use convodb::{ExpireReport, Retention, Timestamp};

use crate::accounts::in_doubt;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::page_statement::owner;
use crate::rows::Columns;
use crate::values::millis;

/// The most rows that one transaction removes.
const BATCH: i64 = 1_000;
/// How far the clocks of concurrent calls may differ.
const SKEW_MILLIS: i64 = MILLIS_PER_HOUR;
const MILLIS_PER_HOUR: i64 = 60 * 60 * 1_000;

const LOCK_HEAD: &str = "select from head where owner = $1 for no key update";

impl Cluster {
    /// Removes what is older than `retention` at the instant `now`, and records how far each user's
    /// feed is, as [`convodb::Store::expire`]: call it about once an hour. A transaction removes at
    /// most 1,000 rows of a user.
    ///
    /// `now` must be right: [`Cluster::doubt_retention`] compares it with the last pass.
    ///
    /// # Errors
    /// A fault of the database. What was removed before stays removed.
    pub async fn expire(&self, now: Timestamp, retention: Retention) -> Result<ExpireReport> {
        let mut report = ExpireReport::default();
        for account in self.users().await? {
            let owner = owner(account.user.id)?;
            self.mark_changes(owner, now).await?;
            report.changes += self.trim_changes(owner, ago(now, retention.changes)).await?;
            let redated = "update answer set at_ms = $2 where owner = $1 and at_ms > $3";
            let values = (millis(now), millis(now).saturating_add(SKEW_MILLIS));
            let client = self.pool.get().await?;
            client.execute(redated, &[&owner, &values.0, &values.1]).await.map_err(in_doubt)?;
            drop(client);
            let before = ago(now, retention.idempotency);
            report.idempotency += self.remove_responses(owner, before).await?;
        }
        Ok(report)
    }

    /// Marks the user's last change as one of the hour of `now`, if there were changes since the last
    /// mark. Marks of later hours, from before a clock was corrected, give way to it.
    async fn mark_changes(&self, owner: i32, now: Timestamp) -> Result<()> {
        let hour = millis(now) / MILLIS_PER_HOUR;
        let later = "delete from change_mark where owner = $1 and hour > $2";
        let mark = "insert into change_mark (owner, hour, number) select owner, $2, feed from head \
                    where owner = $1 and feed > coalesce((select number from change_mark \
                    where owner = $1 order by owner desc, hour desc limit 1), 0) \
                    on conflict (owner, hour) do update set number = excluded.number";
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        transaction.query_opt(LOCK_HEAD, &[&owner]).await?;
        for sql in [later, mark] {
            transaction.execute(sql, &[&owner, &hour]).await?;
        }
        transaction.commit().await.map_err(in_doubt)
    }

    /// Trims the changes that are certainly older than `before`: changes can follow a mark within its
    /// hour, so those of earlier hours.
    async fn trim_changes(&self, owner: i32, before: Timestamp) -> Result<u64> {
        let head = "with last as (select number from change_mark where owner = $1 and hour < $2 \
                    order by owner desc, hour desc limit 1) update head \
                    set trimmed = least((select number from last), trimmed + $3) \
                    where owner = $1 and trimmed < (select number from last) returning trimmed";
        let changes = "delete from change where owner = $1 and number <= $2";
        let marks = "delete from change_mark where owner = $1 and number <= $2";
        let hour = millis(before) / MILLIS_PER_HOUR;
        let mut client = self.pool.get().await?;
        let mut trimmed = 0;
        loop {
            client.renew();
            let transaction = client.transaction().await?;
            transaction.query_opt(LOCK_HEAD, &[&owner]).await?;
            let found = transaction.query_opt(head, &[&owner, &hour, &BATCH]).await?;
            let Some(found) = found else { return Ok(trimmed) };
            let until: i64 = Columns::new(&found, 0, "head").next()?;
            trimmed += transaction.execute(changes, &[&owner, &until]).await?;
            transaction.execute(marks, &[&owner, &until]).await?;
            transaction.commit().await.map_err(in_doubt)?;
        }
    }

    /// Removes the idempotency records of before a time, and what they count towards the quota.
    async fn remove_responses(&self, owner: i32, before: Timestamp) -> Result<u64> {
        let sql = "with removed as (delete from answer where owner = $1 and key = any (array( \
                   select key from answer where owner = $1 and at_ms < $2 \
                   order by owner, at_ms limit $3)) returning octet_length(answer) as length) \
                   select count(*), coalesce(sum(length), 0)::bigint from removed";
        let head = "update head set bytes = bytes - $2 where owner = $1";
        let mut client = self.pool.get().await?;
        let mut all = 0;
        loop {
            client.renew();
            let transaction = client.transaction().await?;
            transaction.query_opt(LOCK_HEAD, &[&owner]).await?;
            let row = transaction.query_one(sql, &[&owner, &millis(before), &BATCH]).await?;
            let mut columns = Columns::new(&row, 0, "answer");
            let (removed, length): (i64, i64) = (columns.next()?, columns.next()?);
            if removed == 0 {
                return Ok(all);
            }
            let bytes = removed * seam::response_bytes(&[]) + length;
            transaction.execute(head, &[&owner, &bytes]).await?;
            transaction.commit().await.map_err(in_doubt)?;
            all += removed.unsigned_abs();
        }
    }
}

/// The instant `ago` before `now`, or the first instant where there is none.
fn ago(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(ago)).unwrap_or(Timestamp::MIN)
}
