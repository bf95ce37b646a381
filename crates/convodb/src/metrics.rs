//! What a store counts of its own work, in atomic words: some nanoseconds each time, and no lock but
//! where a new state is shown to readers, and the last of its snapshots is dropped.
//!
//! LatencyHistogram are of how long the store's own work took, and of how long a state is held. No data depends
//! on them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a store counted since it was opened, and what it holds now. Plain numbers.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
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
    pub wal_syncs: Histogram,
    /// What carried writes into the tables, and synced them.
    pub checkpoints: Histogram,
    /// Bytes that were put since the last checkpoint began, and are held in memory until then.
    pub memtable_bytes: usize,
    /// States of the store that are in memory: the present one, and those that snapshots hold.
    pub live_snapshots: usize,
    /// For how long the oldest of them has not been the present one: zero where no snapshot is older.
    /// As long as it is held, space that became free since cannot be used again.
    pub oldest_snapshot: Duration,
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
    pub(crate) fn of(times: &LatencyHistogram) -> Self {
        let (sum, buckets) = times.read();
        Self { sum, buckets }
    }

    /// How often it was done.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

/// How many bounds a histogram of times has: from 0.1 ms, each twice the one before.
pub(crate) const BOUNDS: usize = 17;
const FIRST_BOUND: Duration = Duration::from_micros(100);

/// The words of one store.
#[derive(Debug, Default)]
pub(crate) struct MetricsRegistry {
    pub(crate) commits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) memtable_bytes: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
    pub(crate) refused: AtomicU64,
    pub(crate) wal_syncs: LatencyHistogram,
    pub(crate) checkpoints: LatencyHistogram,
    shown: Mutex<SnapshotTracker>,
}

/// How often something was done, and how long it took.
#[derive(Debug, Default)]
pub(crate) struct LatencyHistogram {
    /// The last one is for what took longer than all bounds.
    buckets: [AtomicU64; BOUNDS + 1],
    micros: AtomicU64,
}

/// The states that readers may still hold, by the order in which they were shown.
#[derive(Debug, Default)]
struct SnapshotTracker {
    last: u64,
    /// Since when each one is not the present one.
    held: BTreeMap<u64, Option<Instant>>,
}

impl MetricsRegistry {
    /// A group was committed.
    pub(crate) fn committed(&self, changes: usize, bytes: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A write waits for its answer, as long as what this gives is held.
    pub(crate) fn wait(self: &Arc<Self>) -> WaitGuard {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitGuard(self.clone())
    }

    /// A state is shown to readers, until what this gives is dropped.
    pub(crate) fn show(self: &Arc<Self>) -> SnapshotGuard {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.last;
        if let Some(before) = shown.held.get_mut(&before) {
            *before = Some(Instant::now());
        }
        shown.last += 1;
        let number = shown.last;
        shown.held.insert(number, None);
        SnapshotGuard { metrics: self.clone(), number }
    }

    /// How many states are held, and for how long the oldest one has not been the present one.
    pub(crate) fn live_snapshots(&self) -> (usize, Duration) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = shown.held.values().next().copied().flatten();
        (shown.held.len(), oldest.map_or(Duration::ZERO, |since| since.elapsed()))
    }
}

/// See [`MetricsRegistry::wait`].
pub(crate) struct WaitGuard(Arc<MetricsRegistry>);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See [`MetricsRegistry::show`].
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    metrics: Arc<MetricsRegistry>,
    number: u64,
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        let mut shown = self.metrics.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.held.remove(&self.number);
    }
}

impl LatencyHistogram {
    /// LatencyHistogram a piece of work, which `of` finds in the meter: until what this gives is dropped.
    pub(crate) fn begin(
        metrics: &Arc<MetricsRegistry>,
        of: fn(&MetricsRegistry) -> &LatencyHistogram,
    ) -> Timer {
        Timer { metrics: metrics.clone(), of, began: Instant::now() }
    }

    fn add(&self, took: Duration) {
        let past = (0..BOUNDS).take_while(|number| took > FIRST_BOUND * (1 << number)).count();
        self.buckets[past].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How long all of it took together, and how much of it took no longer than each bound, in
    /// seconds, and longer than the one before; infinity is the last.
    pub(crate) fn read(&self) -> (Duration, Vec<(f64, u64)>) {
        let bounds = (0..BOUNDS).map(|number| (FIRST_BOUND * (1 << number)).as_secs_f64());
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let all = Duration::from_micros(self.micros.load(Ordering::Relaxed));
        (all, bounds.chain([f64::INFINITY]).zip(counts).collect())
    }
}

/// See [`LatencyHistogram::begin`].
pub(crate) struct Timer {
    metrics: Arc<MetricsRegistry>,
    of: fn(&MetricsRegistry) -> &LatencyHistogram,
    began: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        (self.of)(&self.metrics).add(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let times = LatencyHistogram::default();
        let micros = [0, 100, 101, 200, 6_553_600, 6_553_601];
        micros.into_iter().for_each(|micros| times.add(Duration::from_micros(micros)));
        let (all, buckets) = times.read();
        assert_eq!(all, Duration::from_micros(micros.into_iter().sum()));
        let some: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [(0.0001, 2), (0.0002, 2), (6.5536, 1), (f64::INFINITY, 1)]);
    }

    #[test]
    fn the_oldest_state_that_is_held_is_told() {
        let metrics = Arc::new(MetricsRegistry::default());
        let first = metrics.show();
        assert_eq!(metrics.live_snapshots(), (1, Duration::ZERO));
        let second = metrics.show();
        let third = metrics.show();
        assert_eq!(metrics.live_snapshots().0, 3);
        assert!(metrics.live_snapshots().1 > Duration::ZERO);
        drop(second);
        let since = metrics.live_snapshots().1;
        assert!(since > Duration::ZERO, "the first one is older");
        drop(first);
        assert_eq!(metrics.live_snapshots(), (1, Duration::ZERO), "the present one has no age");
        drop(third);
        assert_eq!(metrics.live_snapshots(), (0, Duration::ZERO));
    }
}
