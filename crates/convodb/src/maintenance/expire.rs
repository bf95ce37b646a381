//! Forgetting, after a time, what is kept only for a time: changes of the feed, and answers to writes
//! with an idempotency key. The engine reads no clock, so whoever has one calls this now and then.

use std::time::Duration;

use crate::error::Result;
use crate::model::id::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::Store;
use crate::tables::{change_feed, idempotency};
use crate::transaction::Transaction;

/// The most that one write removes, so that others do not wait for long.
const BATCH: usize = 1000;

/// For how long what is kept for a time is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Changes of the feed, to the hour; 30 days by default. A reader that comes back later than
    /// that gets [`Error::ChangesExpired`](crate::Error::ChangesExpired).
    pub changes: Duration,
    /// Answers to writes with an idempotency key; a day by default.
    pub idempotency: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self { changes: 30 * day, idempotency: day }
    }
}

/// What [`Store::expire`] forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireReport {
    /// Changes.
    pub changes: u64,
    /// Answers.
    pub idempotency: u64,
}

impl Store {
    /// Forgets what is older than `keep` at the present instant `now`, a thousand in one write, and
    /// notes how far each user's feed is, so that a later call knows how old its changes are: call it
    /// about once an hour. What is not called for is kept for ever. Reads the users, and each answer
    /// that is kept.
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
    pub fn expire(&self, now: Timestamp, keep: Retention) -> Result<ExpireReport> {
        let mut expired = ExpireReport::default();
        let before = before(now, keep.changes);
        for user in self.snapshot().users()? {
            self.write(move |transaction| transaction.mark_changes(user.id, now))?;
            expired.changes += in_batches(|| {
                self.write(move |transaction| transaction.forget_changes(user.id, before))
            })?;
        }
        let before = self::before(now, keep.idempotency);
        expired.idempotency =
            in_batches(|| self.write(move |transaction| transaction.forget_answers(before)))?;
        Ok(expired)
    }
}

/// The instant so long ago; the first one there is where that is before it.
fn before(now: Timestamp, ago: Duration) -> Timestamp {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(ago)).unwrap_or(Timestamp::MIN)
}

/// Repeats a write that removes at most a batch, until there is no more to remove.
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
        change_feed::add_time_mark(self.tables, user, now)
    }

    fn forget_changes(&mut self, user: UserId, before: Timestamp) -> Result<usize> {
        let until = change_feed::last_before(self.tables, user, before)?;
        change_feed::trim(self.tables, user, until, BATCH)
    }

    fn forget_answers(&mut self, before: Timestamp) -> Result<usize> {
        let older = idempotency::older(&self.tables.idempotency, before, BATCH)?;
        for key in &older {
            self.tables.idempotency.remove(*key)?;
        }
        Ok(older.len())
    }
}
