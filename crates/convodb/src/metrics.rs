//! Metrics of a store: counters, gauges and latency histograms, in atomic words.
//!
//! An update costs a few nanoseconds. A lock is taken only when a new state is published, when the
//! last snapshot of a state is dropped and when metrics are read. The clock is read only to measure
//! durations: no stored data depends on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Metrics of a store: counters since it was opened, and gauges of its present state.
///
/// A copy: it does not change after it was read. Values are read one after the other, so writes
/// that run meanwhile may be in some of them and not in others.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Counter: committed groups of writes.
    pub commits: u64,
    /// Counter: table entries that these groups put or removed.
    pub changes: u64,
    /// Counter: bytes of keys and values that these groups put.
    pub committed_bytes: u64,
    /// Gauge: writes that wait for their result.
    pub writes_waiting: usize,
    /// Counter: writes refused because the write queue was full.
    pub writes_refused: u64,
    /// Counter: operations refused because of a user's quota.
    pub quota_refusals: u64,
    /// Counter: pages that a read needed and the disk could not read. Each is an
    /// [`Error::Io`](crate::Error::Io) of that read.
    pub read_faults: u64,
    /// Durations of WAL appends including the sync, which each write waits for.
    pub wal_syncs: Histogram,
    /// Durations of checkpoints: flushing the memtables into the tables, including the sync.
    pub checkpoints: Histogram,
    /// Gauge: bytes of keys and values put since the last checkpoint began. They stay in the
    /// memtables until the next one ends.
    pub memtable_bytes: usize,
    /// Gauge: committed states in memory: the current one and each older one that a snapshot refers
    /// to.
    pub live_snapshots: usize,
    /// Gauge: time since the oldest state in memory was replaced by a newer one; zero if only the
    /// current state is in memory. Space that was freed since cannot be reused until its snapshots
    /// are dropped.
    pub oldest_snapshot: Duration,
}

/// A latency histogram: how often an operation ran and how long it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Sum of all durations.
    pub sum: Duration,
    /// Pairs of an upper bound in seconds and the number of durations at most that long but longer
    /// than the bound before (not cumulative). The last bound is infinity.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The smallest bound in seconds that at least this share of the durations, from 0 to 1, is
    /// within; infinity if that many are longer than every finite bound, `None` without durations.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let times = convodb::LatencyHistogram::default();
    /// (1..=10).for_each(|millis| times.record(Duration::from_millis(millis)));
    /// assert_eq!(times.read().quantile(0.5), Some(0.0064));
    /// assert_eq!(times.read().quantile(1.0), Some(0.0128));
    /// ```
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        #[allow(clippy::cast_precision_loss, reason = "a bucket is coarser")]
        let wanted = share * count as f64;
        let mut sum = 0;
        let mut bounds = self.buckets.iter().map(|(bound, count)| {
            sum += count;
            (*bound, sum)
        });
        #[allow(clippy::cast_precision_loss, reason = "a bucket is coarser")]
        let found = bounds.find(|(_, sum)| *sum > 0 && *sum as f64 >= wanted);
        found.map(|(bound, _)| bound)
    }
}

/// Number of finite bounds of a histogram: from 0.1 ms, each twice the one before, to 6.6 s.
pub(crate) const BOUNDS: usize = 17;
const FIRST_BOUND: Duration = Duration::from_micros(100);

/// The live metrics of one store.
#[derive(Debug, Default)]
pub(crate) struct MetricsRegistry {
    pub(crate) commits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) memtable_bytes: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
    pub(crate) refused: AtomicU64,
    pub(crate) quota_refusals: AtomicU64,
    pub(crate) wal_syncs: LatencyHistogram,
    pub(crate) checkpoints: LatencyHistogram,
    snapshots: Mutex<SnapshotTracker>,
}

/// A latency histogram that is being recorded, with atomic buckets: recording takes a few
/// nanoseconds and no lock. [`Histogram`] is a copy of it.
///
/// ```
/// # use std::time::Duration;
/// let times = convodb::LatencyHistogram::default();
/// times.record(Duration::from_micros(150));
/// assert_eq!((times.read().count(), times.read().buckets[1]), (1, (0.0002, 1)));
/// ```
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    /// The last bucket counts durations longer than every bound.
    buckets: [AtomicU64; BOUNDS + 1],
    micros: AtomicU64,
}

/// The published states that readers may still use, numbered in order of publication.
#[derive(Debug, Default)]
struct SnapshotTracker {
    last: u64,
    /// For each live state, when a newer one replaced it; `None` for the current one.
    live: BTreeMap<u64, Option<Instant>>,
}

impl MetricsRegistry {
    /// The current values.
    pub(crate) fn read(&self) -> Metrics {
        let (live_snapshots, oldest_snapshot) = self.live_snapshots();
        Metrics {
            commits: self.commits.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
            committed_bytes: self.bytes.load(Ordering::Relaxed),
            writes_waiting: self.waiting.load(Ordering::Relaxed),
            writes_refused: self.refused.load(Ordering::Relaxed),
            quota_refusals: self.quota_refusals.load(Ordering::Relaxed),
            read_faults: 0,
            wal_syncs: self.wal_syncs.read(),
            checkpoints: self.checkpoints.read(),
            memtable_bytes: self.memtable_bytes.load(Ordering::Relaxed),
            live_snapshots,
            oldest_snapshot,
        }
    }

    /// Counts a committed group.
    pub(crate) fn committed(&self, changes: usize, bytes: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a waiting write until the guard is dropped.
    pub(crate) fn wait(self: &Arc<Self>) -> WaitGuard {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitGuard(self.clone())
    }

    /// Tracks a state that is published now until the guard is dropped with its last snapshot.
    pub(crate) fn track_snapshot(self: &Arc<Self>) -> SnapshotGuard {
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let last = snapshots.last;
        if let Some(replaced_at) = snapshots.live.get_mut(&last) {
            *replaced_at = Some(Instant::now());
        }
        snapshots.last += 1;
        let number = snapshots.last;
        snapshots.live.insert(number, None);
        SnapshotGuard { metrics: self.clone(), number }
    }

    /// The number of live states, and the time since the oldest of them was replaced (zero if it is
    /// the current one).
    pub(crate) fn live_snapshots(&self) -> (usize, Duration) {
        let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = snapshots.live.values().next().copied().flatten();
        (snapshots.live.len(), oldest.map_or(Duration::ZERO, |replaced_at| replaced_at.elapsed()))
    }
}

/// Counts a waiting write until it is dropped: see [`MetricsRegistry::wait`].
pub(crate) struct WaitGuard(Arc<MetricsRegistry>);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tracks a published state until it is dropped: see [`MetricsRegistry::track_snapshot`].
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    metrics: Arc<MetricsRegistry>,
    number: u64,
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        let mut snapshots = self.metrics.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        snapshots.live.remove(&self.number);
    }
}

impl LatencyHistogram {
    /// Starts a timer that adds its duration to the histogram that `of` selects when it is dropped.
    pub(crate) fn begin(
        metrics: &Arc<MetricsRegistry>,
        of: fn(&MetricsRegistry) -> &LatencyHistogram,
    ) -> Timer {
        Timer { metrics: metrics.clone(), of, began: Instant::now() }
    }

    /// Counts a duration.
    pub fn record(&self, took: Duration) {
        let bucket = (0..BOUNDS).take_while(|number| took > FIRST_BOUND * (1 << number)).count();
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The durations so far.
    #[must_use]
    pub fn read(&self) -> Histogram {
        let bounds = (0..BOUNDS).map(|number| (FIRST_BOUND * (1 << number)).as_secs_f64());
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let sum = Duration::from_micros(self.micros.load(Ordering::Relaxed));
        Histogram { sum, buckets: bounds.chain([f64::INFINITY]).zip(counts).collect() }
    }
}

/// A running measurement: see [`LatencyHistogram::begin`].
pub(crate) struct Timer {
    metrics: Arc<MetricsRegistry>,
    of: fn(&MetricsRegistry) -> &LatencyHistogram,
    began: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        (self.of)(&self.metrics).record(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_their_buckets() {
        let times = LatencyHistogram::default();
        let micros = [0, 100, 101, 200, 6_553_600, 6_553_601];
        micros.into_iter().for_each(|micros| times.record(Duration::from_micros(micros)));
        let Histogram { sum, buckets } = times.read();
        assert_eq!(sum, Duration::from_micros(micros.into_iter().sum()));
        let used: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(used, [(0.0001, 2), (0.0002, 2), (6.5536, 1), (f64::INFINITY, 1)]);
    }

    #[test]
    fn the_age_of_the_oldest_live_snapshot_is_reported() {
        let metrics = Arc::new(MetricsRegistry::default());
        let first = metrics.track_snapshot();
        assert_eq!(metrics.live_snapshots(), (1, Duration::ZERO));
        let second = metrics.track_snapshot();
        let third = metrics.track_snapshot();
        assert_eq!(metrics.live_snapshots().0, 3);
        assert!(metrics.live_snapshots().1 > Duration::ZERO);
        drop(second);
        let age = metrics.live_snapshots().1;
        assert!(age > Duration::ZERO, "the first state is still in memory");
        drop(first);
        assert_eq!(metrics.live_snapshots(), (1, Duration::ZERO), "the current state has no age");
        drop(third);
        assert_eq!(metrics.live_snapshots(), (0, Duration::ZERO));
    }
}
