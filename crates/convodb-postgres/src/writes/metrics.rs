//! Counters of writes and of the faults that they met.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the writes of a [`Cluster`](crate::Cluster) have met since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteMetrics {
    /// The number of writes that were answered, those that failed included.
    pub writes: u64,
    /// The number of transactions that were committed, each of a group of writes.
    pub groups: u64,
    /// How often a group ran again because of another transaction.
    pub conflicts: u64,
    /// How often a group lost its connection, or got none, before its commit was sent.
    pub lost_connections: u64,
    /// How often a group made no progress and gave its connection up to the writes of other users.
    pub stalled: u64,
    /// How often a commit was in doubt and turned out to be done.
    pub doubts_landed: u64,
    /// How often a commit was in doubt and turned out not to be done; the group ran again.
    pub doubts_not_written: u64,
    /// How often a commit was in doubt and remained so: [`Error::InDoubt`](crate::Error::InDoubt).
    pub doubts_unknown: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct WriteCounters {
    pub(crate) writes: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) lost_connections: AtomicU64,
    pub(crate) stalled: AtomicU64,
    pub(crate) doubts_landed: AtomicU64,
    pub(crate) doubts_not_written: AtomicU64,
    pub(crate) doubts_unknown: AtomicU64,
}

impl WriteCounters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> WriteMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteMetrics {
            writes: read(&self.writes),
            groups: read(&self.groups),
            conflicts: read(&self.conflicts),
            lost_connections: read(&self.lost_connections),
            stalled: read(&self.stalled),
            doubts_landed: read(&self.doubts_landed),
            doubts_not_written: read(&self.doubts_not_written),
            doubts_unknown: read(&self.doubts_unknown),
        }
    }
}
