//! What a store counted of its own work, for who watches it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::meter::Times;
use crate::store::Store;

/// What a store counted since it was opened, and what it holds now. Plain numbers.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Groups of writes that were committed.
    pub commits: u64,
    /// Entries of tables that those put or removed.
    pub changes: u64,
    /// Bytes of keys and values that those put.
    pub committed_bytes: u64,
    /// Writes that wait for their answer now.
    pub writes_waiting: usize,
    /// Writes that were refused because too many waited.
    pub writes_refused: u64,
    /// Appends to the log with their sync: what a write waits for.
    pub log_syncs: Histogram,
    /// What carried writes into the tables, and synced them.
    pub checkpoints: Histogram,
    /// Bytes that were put since the last checkpoint began, and are held in memory until then.
    pub tail_bytes: usize,
    /// States of the store that are in memory: the present one, and those that snapshots hold.
    pub views: usize,
    /// For how long the oldest of them has not been the present one: zero where no snapshot is older.
    /// As long as it is held, space that became free since cannot be used again.
    pub oldest_view: Duration,
}

/// How often something was done, and how long it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// All of it together.
    pub sum: Duration,
    /// How often it took no longer than so many seconds, and longer than the bound before. The last
    /// bound is infinity.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    fn of(times: &Times) -> Self {
        let (sum, buckets) = times.read();
        Self { sum, buckets }
    }

    /// How often it was done.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Store {
    /// What the store counted. Some dozen atomic words; what it takes is told by [`Store::usage`].
    ///
    /// ```
    /// # use convodb::{Store, Timestamp};
    /// let store = Store::in_memory()?;
    /// store.create_user("Acme".parse()?, Timestamp::MIN)?;
    /// let counters = store.counters();
    /// assert_eq!((counters.commits, counters.writes_waiting), (1, 0));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn counters(&self) -> Counters {
        let meter = self.meter();
        let (views, oldest_view) = meter.held();
        Counters {
            commits: meter.commits.load(Ordering::Relaxed),
            changes: meter.changes.load(Ordering::Relaxed),
            committed_bytes: meter.bytes.load(Ordering::Relaxed),
            writes_waiting: meter.waiting.load(Ordering::Relaxed),
            writes_refused: meter.refused.load(Ordering::Relaxed),
            log_syncs: Histogram::of(&meter.log_syncs),
            checkpoints: Histogram::of(&meter.checkpoints),
            tail_bytes: meter.tail_bytes.load(Ordering::Relaxed),
            views,
            oldest_view,
        }
    }
}
