//! Checkpoints: the scheduler that decides when to flush the memtables, and the flushing thread.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, is_storage_full};

/// The memtables are flushed when their oldest write has this age.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The interval at which a running checkpoint is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The first delay after a checkpoint that failed, and the interval at which a full disk is queried.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest delay after checkpoints that failed.
const MAX_DELAY: Duration = Duration::from_secs(64);
/// The longest delay on a full disk, where space may be freed at any time.
const MAX_DELAY_FULL: Duration = Duration::from_secs(8);
/// The limit of the memtables while checkpoints keep failing, as a multiple of the size that starts
/// a checkpoint.
const FAILING_LIMIT: usize = 4;

/// A running checkpoint, which writes memtables that no longer change.
pub(crate) struct Checkpoint {
    thread: JoinHandle<Result<()>>,
    /// The last sequence number in the memtables.
    seqno: u64,
}

impl Checkpoint {
    /// Starts `work`, which writes the groups up to `seqno`.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn start(
        seqno: u64,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let thread = thread::Builder::new().name("convodb-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { thread, seqno })
    }

    /// Whether [`Checkpoint::join`] returns at once.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the checkpoint and returns the last sequence number that the tables
    /// contain.
    ///
    /// # Errors
    /// The commit failed: the tables do not contain the memtables.
    pub(crate) fn join(self) -> Result<u64> {
        let panicked = |_| Err(Error::Storage("the checkpoint thread panicked".to_owned()));
        self.thread.join().unwrap_or_else(panicked).map(|()| self.seqno)
    }
}

/// What the writer thread does next about checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextAction {
    /// Start a checkpoint now.
    Start,
    /// Wait for the running checkpoint and adopt its result now.
    Finish,
    /// Nothing before this instant; ever, if there is none.
    Wait(Option<Instant>),
}

/// Decides when to checkpoint. It reads no clock: callers pass the current instant, so every
/// decision can be tested.
#[derive(Debug, Default)]
pub(crate) struct CheckpointScheduler {
    /// The size of the memtables that starts a checkpoint.
    memtable_bytes: usize,
    /// Bytes written since the last checkpoint started.
    unflushed: usize,
    /// When the oldest of them were written.
    since: Option<Instant>,
    /// Bytes that the running checkpoint writes.
    running: Option<usize>,
    pub(crate) backoff: CheckpointBackoff,
}

impl CheckpointScheduler {
    /// A scheduler that starts checkpoints at `memtable_bytes`, with `unflushed` bytes replayed
    /// from the WAL.
    pub(crate) fn new(memtable_bytes: usize, unflushed: usize) -> Self {
        Self { memtable_bytes, unflushed, ..Self::default() }
    }

    /// Bytes in the memtables since the last checkpoint started.
    pub(crate) const fn unflushed(&self) -> usize {
        self.unflushed
    }

    /// Bytes that are not in the tables, those of a running checkpoint included.
    pub(crate) fn not_in_tables(&self) -> usize {
        self.unflushed + self.running.unwrap_or(0)
    }

    /// Records a group of `bytes` in the memtables.
    pub(crate) fn wrote(&mut self, now: Instant, bytes: usize) {
        self.unflushed += bytes;
        self.since.get_or_insert(now);
    }

    /// Records that a checkpoint of everything unflushed started.
    pub(crate) fn started(&mut self) {
        self.running = Some(std::mem::take(&mut self.unflushed));
        self.since = None;
    }

    /// Records that the running checkpoint ended, or that everything was flushed without one.
    pub(crate) fn flushed(&mut self, all: bool) {
        self.running = None;
        if all {
            (self.unflushed, self.since) = (0, None);
        }
        self.backoff = CheckpointBackoff::default();
    }

    /// Records that the running checkpoint failed.
    pub(crate) fn failed(&mut self) {
        self.running = None;
        self.backoff.failed();
    }

    /// The next action at `now`, where `finished` says whether a running checkpoint has finished.
    pub(crate) fn next_action(&self, now: Instant, finished: bool) -> NextAction {
        let full = self.unflushed >= self.memtable_bytes;
        if self.running.is_some() {
            return match finished || full {
                true => NextAction::Finish,
                false => NextAction::Wait(Some(now + POLL_INTERVAL)),
            };
        }
        if self.unflushed == 0 && self.since.is_none() {
            return NextAction::Wait(None);
        }
        // Groups replayed from the WAL have no time: they are as old as this recovery.
        let since = self.since.unwrap_or(now);
        let due = if full { now } else { since + MAX_AGE };
        let due = self.backoff.not_before(due);
        if due <= now { NextAction::Start } else { NextAction::Wait(Some(due)) }
    }

    /// Fixes the time of groups replayed from the WAL.
    pub(crate) fn recovered(&mut self, now: Instant) {
        if self.unflushed > 0 {
            self.since.get_or_insert(now);
        }
    }
}

/// Backoff after commits of the tables that failed.
///
/// A commit for which the disk has no space makes the open database useless until it is reopened,
/// and snapshots with it. So after one, a checkpoint also waits until the disk reports enough space,
/// and groups that only add something are refused until it has succeeded.
///
/// Where the files can be opened but commits keep failing, as over a damaged page or a quota that the
/// system does not report, each delay is twice the one before; meanwhile groups go into the WAL, up
/// to a limit.
#[derive(Debug, Default)]
pub(crate) struct CheckpointBackoff {
    /// The earliest time of a group that goes straight into the tables.
    pub(crate) write_through_at: Option<Instant>,
    /// The earliest time of the next checkpoint.
    retry_at: Option<Instant>,
    /// The limit of the memtables, unless they are empty.
    memtable_limit: Option<usize>,
    /// The failures before the files were reopened.
    history: Option<FailureHistory>,
    /// Whether a commit of the tables failed since then.
    failed: bool,
}

/// Failures of the tables that survive reopening the files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FailureHistory {
    /// The kind of the last fault.
    kind: Option<io::ErrorKind>,
    /// Consecutive failures to commit the tables.
    count: u32,
}

impl CheckpointBackoff {
    /// The backoff after reopening the files at `now`. A single failure may be transient and causes
    /// no delay, unless the disk is full.
    pub(crate) fn after(now: Instant, history: FailureHistory, memtable_bytes: usize) -> Self {
        let full = history.kind.is_some_and(is_storage_full);
        let (without_delay, longest) = if full { (1, MAX_DELAY_FULL) } else { (2, MAX_DELAY) };
        let doublings = history.count.saturating_sub(without_delay);
        let doublings = doublings.min(longest.as_secs().ilog2() + 1);
        let delay = (FIRST_DELAY * 2_u32.pow(doublings)).min(longest);
        let until = (full || history.count > 1).then(|| now + delay);
        let limit = if full { 0 } else { FAILING_LIMIT * memtable_bytes.max(1 << 20) };
        Self {
            write_through_at: until,
            retry_at: until,
            memtable_limit: until.map(|_| limit),
            history: Some(history),
            failed: false,
        }
    }

    /// Whether the limit of the memtables, which contain `unflushed` bytes, excludes `bytes` more.
    pub(crate) fn refuses(&self, unflushed: usize, bytes: usize) -> bool {
        self.memtable_limit.is_some_and(|limit| unflushed > 0 && unflushed + bytes > limit)
    }

    /// Records a commit of the tables that failed.
    pub(crate) const fn failed(&mut self) {
        self.failed = true;
    }

    /// `due`, or when the tables may be written again.
    pub(crate) fn not_before(&self, due: Instant) -> Instant {
        self.retry_at.map_or(due, |retry| retry.max(due))
    }

    /// Whether the disk must report enough space before a checkpoint starts.
    pub(crate) const fn needs_space_check(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Postpones the next checkpoint, for which the disk reports too little space.
    pub(crate) fn postpone(&mut self, now: Instant) {
        self.retry_at = Some(now + FIRST_DELAY);
    }

    /// The history to pass on when the files are reopened after a fault of this kind.
    pub(crate) fn history(&self, kind: Option<io::ErrorKind>) -> FailureHistory {
        let before = self.history.map_or(0, |history| history.count);
        FailureHistory { kind, count: before.saturating_add(u32::from(self.failed)) }
    }

    /// The kind of the fault before the files were reopened.
    pub(crate) fn last_kind(&self) -> Option<io::ErrorKind> {
        self.history.and_then(|history| history.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Instant, kind: io::ErrorKind, failures: u32) -> CheckpointBackoff {
        (0..failures).fold(CheckpointBackoff::default(), |mut backoff, _| {
            backoff.failed();
            CheckpointBackoff::after(now, backoff.history(Some(kind)), 1 << 20)
        })
    }

    #[test]
    fn delays_double_while_commits_of_the_tables_keep_failing() {
        let now = Instant::now();
        let delay = |kind, failures| {
            let retry = after(now, kind, failures).retry_at;
            retry.map(|at| at.duration_since(now).as_secs_f64())
        };
        assert_eq!(delay(io::ErrorKind::Other, 1), None);
        for (failures, seconds) in [(2, 0.5), (3, 1.0), (4, 2.0), (9, 64.0), (40, 64.0)] {
            assert_eq!(delay(io::ErrorKind::Other, failures), Some(seconds), "{failures}");
        }
        for (failures, seconds) in [(1, 0.5), (2, 1.0), (5, 8.0), (40, 8.0)] {
            let full = io::ErrorKind::StorageFull;
            assert_eq!(delay(full, failures), Some(seconds), "{failures} on a full disk");
        }
        let read_fault = after(now, io::ErrorKind::Other, 1).history(None);
        assert_eq!(read_fault.count, 1, "a fault of a reader says nothing about the tables");
    }

    #[test]
    fn a_checkpoint_starts_by_size_or_age_and_never_without_writes() {
        let now = Instant::now();
        let mut scheduler = CheckpointScheduler::new(100, 0);
        assert_eq!(scheduler.next_action(now, false), NextAction::Wait(None));
        scheduler.wrote(now, 60);
        let due = now + MAX_AGE;
        assert_eq!(scheduler.next_action(now, false), NextAction::Wait(Some(due)));
        assert_eq!(scheduler.next_action(due, false), NextAction::Start);
        scheduler.wrote(now, 40);
        assert_eq!(scheduler.next_action(now, false), NextAction::Start);
    }

    #[test]
    fn a_full_memtable_waits_for_the_running_checkpoint() {
        let now = Instant::now();
        let mut scheduler = CheckpointScheduler::new(100, 0);
        scheduler.wrote(now, 100);
        scheduler.started();
        let poll = NextAction::Wait(Some(now + POLL_INTERVAL));
        assert_eq!(scheduler.next_action(now, false), poll);
        assert_eq!(scheduler.next_action(now, true), NextAction::Finish);
        scheduler.wrote(now, 100);
        assert_eq!(scheduler.not_in_tables(), 200);
        assert_eq!(scheduler.next_action(now, false), NextAction::Finish);
        scheduler.flushed(false);
        assert_eq!((scheduler.unflushed(), scheduler.not_in_tables()), (100, 100));
        assert_eq!(scheduler.next_action(now, false), NextAction::Start);
        scheduler.flushed(true);
        assert_eq!(scheduler.next_action(now, false), NextAction::Wait(None));
    }

    #[test]
    fn replayed_groups_are_flushed_a_second_after_recovery() {
        let now = Instant::now();
        let mut scheduler = CheckpointScheduler::new(100, 10);
        scheduler.recovered(now);
        assert_eq!(scheduler.next_action(now, false), NextAction::Wait(Some(now + MAX_AGE)));
        assert_eq!(scheduler.next_action(now + MAX_AGE, false), NextAction::Start);
    }

    #[test]
    fn backoff_postpones_even_a_full_memtable() {
        let now = Instant::now();
        let mut scheduler = CheckpointScheduler::new(100, 0);
        scheduler.wrote(now, 200);
        scheduler.backoff = after(now, io::ErrorKind::StorageFull, 1);
        let retry = now + FIRST_DELAY;
        assert_eq!(scheduler.next_action(now, false), NextAction::Wait(Some(retry)));
        scheduler.backoff.postpone(retry);
        let later = retry + FIRST_DELAY;
        assert_eq!(scheduler.next_action(retry, false), NextAction::Wait(Some(later)));
        assert_eq!(scheduler.next_action(later, false), NextAction::Start);
    }
}
