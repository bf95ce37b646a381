//! Counters of reads: what they cost, and the faults that they met.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the reads of a [`Cluster`](crate::Cluster) have cost since it was opened. Work in transactions,
/// as of an erasure, is counted, too; writes in lanes are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadMetrics {
    /// The number of statements that were sent.
    pub statements: u64,
    /// The number of waits for an answer of the database: of statements that are sent at once, one.
    pub round_trips: u64,
    /// The number of reads that ran again, because they lost their connection.
    pub repeated: u64,
    /// The number of reads that a standby answered.
    pub of_standby: u64,
    /// The number of reads that a standby failed and the primary answered.
    pub standby_failures: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct ReadCounters {
    pub(crate) statements: AtomicU64,
    pub(crate) round_trips: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) of_standby: AtomicU64,
    pub(crate) standby_failures: AtomicU64,
}

impl ReadCounters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> ReadMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadMetrics {
            statements: read(&self.statements),
            round_trips: read(&self.round_trips),
            repeated: read(&self.repeated),
            of_standby: read(&self.of_standby),
            standby_failures: read(&self.standby_failures),
        }
    }
}
