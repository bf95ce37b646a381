//! Expiry: trims the change feed by age, and removes old idempotency records.
//!
//! The engine reads no clock, so a program that has one calls [`Store::expire`] about once an hour.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::Store;
use crate::tables::Tables;
use crate::tables::quotas::{UsageChange, small_record_bytes};
use crate::transaction::Transaction;

/// The maximum number of removals in one write, so that other writes do not wait for long.
const BATCH: usize = 1000;

/// How far the clocks of concurrent calls may differ.
const SKEW_MILLIS: u64 = 60 * 60 * 1000;

/// How long changes and idempotency records are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Retention {
    /// Changes of the feed, to the hour. Default: 30 days. A reader that falls further behind gets
    /// [`Error::ChangesExpired`].
    pub changes: Duration,
    /// Responses of writes with an idempotency key. Default: one day.
    pub idempotency: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self { changes: 30 * day, idempotency: day }
    }
}

/// The result of [`Store::expire`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ExpireReport {
    /// Changes trimmed.
    pub changes: u64,
    /// Idempotency records removed.
    pub idempotency: u64,
}

impl Store {
    /// Removes what is older than `retention` at the instant `now`, a thousand entries in each
    /// write, and records how far each user's feed is, from which later calls compute the age of
    /// changes: call it about once an hour. Without it changes are bounded by number only
    /// ([`StoreOptions::retained_changes`](crate::StoreOptions::retained_changes)) and idempotency
    /// records are never removed. Also removes abandoned inserts
    /// ([`Store::remove_abandoned_inserts`]). Reads the users, and every idempotency record, twice.
    ///
    /// `now` must be right: [`Snapshot::doubt_retention`](crate::Snapshot::doubt_retention) compares
    /// it with the last pass. What is dated later, because a clock was ahead, counts as of `now`.
    ///
    /// ```
    /// # use convodb::{ExpireReport, Retention, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// let now: Timestamp = "2025-01-25 14:30:00".parse()?;
    /// assert_eq!(store.expire(now, Retention::default())?, ExpireReport::default());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn expire(&self, now: Timestamp, retention: Retention) -> Result<ExpireReport> {
        self.remove_abandoned_inserts()?;
        let mut report = ExpireReport::default();
        let before = ago(now, retention.changes);
        for user in self.snapshot().users()? {
            self.write(move |transaction| transaction.mark_changes(user.id, now))?;
            report.changes += in_batches(|| {
                self.write(move |transaction| transaction.trim_changes_before(user.id, before))
            })?;
        }
        let until = Timestamp::from_millis(now.millis() + SKEW_MILLIS).unwrap_or(Timestamp::MAX);
        in_batches(|| {
            self.write(move |transaction| transaction.tables.idempotency.redate(until, now, BATCH))
        })?;
        let before = ago(now, retention.idempotency);
        report.idempotency = in_batches(|| {
            self.write(move |transaction| transaction.remove_idempotency_records(before))
        })?;
        Ok(report)
    }
}

/// The instant `ago` before `now`, or the first instant where there is none.
fn ago(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(ago)).unwrap_or(Timestamp::MIN)
}

/// Repeats a write that changes at most a batch until it changes less.
fn in_batches(mut write: impl FnMut() -> Result<usize>) -> Result<u64> {
    let mut all = 0;
    loop {
        let removed = write()?;
        all += removed as u64;
        if removed < BATCH {
            return Ok(all);
        }
    }
}

impl Transaction<'_> {
    fn mark_changes(&mut self, user: UserId, now: Timestamp) -> Result<()> {
        let Tables { change_feed, sequences, .. } = &mut *self.tables;
        change_feed.add_time_mark(sequences, user, now)
    }

    fn trim_changes_before(&mut self, user: UserId, before: Timestamp) -> Result<usize> {
        let Tables { change_feed, sequences, .. } = &mut *self.tables;
        let until = change_feed.last_before(user, before)?;
        change_feed.trim(sequences, user, until, BATCH)
    }

    fn remove_idempotency_records(&mut self, before: Timestamp) -> Result<usize, Error> {
        let removed = self.tables.idempotency.expire(before, BATCH)?;
        for of_user in removed.chunk_by(|(user, _), (next, _)| user == next) {
            let bytes: i64 = of_user.iter().map(|(_, length)| small_record_bytes(*length)).sum();
            if let Some((user, _)) = of_user.first() {
                self.count_usage(*user, UsageChange::of_bytes(-bytes))?;
            }
        }
        Ok(removed.len())
    }
}
