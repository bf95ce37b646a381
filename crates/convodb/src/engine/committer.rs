//! What makes groups of writes durable. A group is put into the log, synced, and added to the
//! *tail*: what the tables do not hold yet, kept in memory and read above them. A checkpoint carries
//! the tail into the tables, in key order and in one commit, while new groups go on into the log.
//! So a commit costs one append, and entries that fall on one leaf cost one visit of it for many
//! groups.
//!
//! A group that removes something goes into the tables at once, with the tail before it: so what
//! readers see never has holes to step over, and a page keeps its bound.
//!
//! A fault raises the alarm, after which a committer does nothing more: another one goes on from
//! what is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, WriteTransaction};

use crate::engine::admission::{Admission, FailureHistory, WritePath};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::recovery::{Recovered, Unflushed};
use crate::engine::redb_commit::{commit_with, flush};
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result};
use crate::io::fault::FaultSignal;
use crate::io::redb_backend::ForceClose;
use crate::kv::catch_panic::catch_redb_panic;
use crate::kv::table::PendingWrites;
use crate::metrics::LatencyHistogram;
use crate::options::{CommitMode, Durability};
use crate::tables::Tables;
use crate::tables::state::{CommittedState, Published};
use crate::transaction::Transaction;
use crate::wal::{AppendError, Wal};

/// A tail that is so old is carried into the tables.
const TAIL_AGE: Duration = Duration::from_secs(1);
/// How often a checkpoint is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// See the head of this file.
pub(crate) struct Committer {
    database: Arc<Database>,
    /// None for a store in memory.
    force_close: Option<ForceClose>,
    /// Where the store is; none for one in memory.
    location: Option<StoreLocation>,
    fault_signal: Arc<FaultSignal>,
    tables: Tables,
    current: Arc<Published>,
    /// None for a store in memory, or whose commits are deferred.
    wal: Option<Wal>,
    mode: CommitMode,
    /// The last group.
    seqno: u64,
    /// What was put since the last checkpoint began.
    unflushed: Unflushed,
    checkpoint: Option<Checkpoint>,
    admission: Admission,
}

impl Committer {
    /// A committer of a store in memory.
    pub(crate) fn in_memory(
        cache_bytes: usize,
        mode: CommitMode,
        fault_signal: Arc<FaultSignal>,
    ) -> Result<Self> {
        let recovered = Recovered::in_memory(cache_bytes, mode.row_cache_bytes)?;
        Ok(Self::over(recovered, None, mode, fault_signal, |state| Arc::new(Published::new(state))))
    }

    /// Goes on from what the tables and the log at `place` hold: what the tables do not is the tail.
    pub(crate) fn open(
        location: &StoreLocation,
        mode: CommitMode,
        fault_signal: Arc<FaultSignal>,
    ) -> Result<Self> {
        let recovered = Recovered::open_or_create(location, &fault_signal, mode.row_cache_bytes)?;
        let shown = |state| Arc::new(Published::new(state));
        let mut committer = Self::over(recovered, Some(location), mode, fault_signal, shown);
        if mode.durability == Durability::Deferred {
            // What was acknowledged as durable stays so; from here on there is no log.
            committer.flush_memtable()?;
            (committer.wal, committer.mode) = (None, mode);
        }
        Ok(committer)
    }

    /// Goes on for the same readers from what is on disk, after a setback.
    pub(crate) fn reopen(
        location: &StoreLocation,
        mode: CommitMode,
        fault_signal: Arc<FaultSignal>,
        current: Arc<Published>,
        failures: FailureHistory,
    ) -> Result<Self> {
        let recovered =
            Recovered::reopen(location, &fault_signal, mode.row_cache_bytes, &current.load())?;
        let shown = |state| {
            current.show(state);
            current
        };
        let mut committer = Self::over(recovered, Some(location), mode, fault_signal, shown);
        committer.admission = Admission::after(failures, mode.memtable_bytes);
        if mode.durability == Durability::Deferred {
            (committer.wal, committer.mode) = (None, mode);
        }
        Ok(committer)
    }

    /// Goes on from what was opened, of which readers are `shown` the last commit.
    fn over(
        recovered: Recovered,
        location: Option<&StoreLocation>,
        mode: CommitMode,
        fault_signal: Arc<FaultSignal>,
        shown: impl FnOnce(CommittedState) -> Arc<Published>,
    ) -> Self {
        let Recovered { database, force_close, wal, tables, state, seqno, unflushed } = recovered;
        Self {
            database: Arc::new(database),
            force_close,
            location: location.cloned(),
            fault_signal,
            tables,
            current: shown(state),
            wal,
            mode: CommitMode { durability: Durability::Immediate, ..mode },
            seqno,
            unflushed,
            checkpoint: None,
            admission: Admission::default(),
        }
    }

    /// What readers see, now and after each commit.
    pub(crate) fn current(&self) -> &Arc<Published> {
        &self.current
    }

    /// Runs `work`, which may run any number of writes, on what is committed and what the writes
    /// before it did.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
        let state = self.current.load();
        work(&mut Transaction::new(&mut self.tables, state.fingerprinter()))
    }

    /// Makes durable what the writes since the last commit did, and shows it to readers.
    ///
    /// # Errors
    /// After [`Error::WriteAborted`] nothing of it will ever be there; after [`Error::CommitUnknown`] that
    /// is unknown. Either way it is taken back here.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let pending = self.tables.pending();
        let committed = self.commit_group(pending);
        let metrics = self.tables.metrics();
        metrics.memtable_bytes.store(self.unflushed.bytes, Ordering::Relaxed);
        match committed {
            Ok(()) if pending.changes > 0 => metrics.committed(pending.changes, pending.bytes),
            Ok(()) => {}
            Err(_) => self.tables.rollback(),
        }
        committed
    }

    fn commit_group(&mut self, pending: PendingWrites) -> Result<()> {
        self.check()?;
        if pending.changes == 0 {
            return Ok(());
        }
        // What a checkpoint is writing needs its room too.
        let writing = self.checkpoint.as_ref().map_or(0, Checkpoint::bytes);
        let owed = self.unflushed.bytes + writing;
        let path = self.admission.route(self.location.as_ref(), owed, pending)?;
        if path == WritePath::WriteThrough {
            return self.flush_with_group();
        }
        self.append()?;
        self.unflushed.bytes += pending.bytes;
        self.unflushed.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Puts the group into the log.
    fn append(&mut self) -> Result<()> {
        let seqno = self.seqno + 1;
        if let Some(wal) = &mut self.wal {
            let _timer =
                LatencyHistogram::begin(self.tables.metrics(), |metrics| &metrics.wal_syncs);
            let tables = &mut self.tables;
            match wal.append(seqno, |out| tables.encode(out)) {
                Ok(()) => {}
                Err(AppendError::RolledBack(error)) => {
                    return Err(Error::WriteAborted {
                        kind: error.io_kind(),
                        why: error.to_string(),
                    });
                }
                Err(AppendError::Unknown(error)) => return Err(self.fault(&error)),
            }
        }
        self.seqno = seqno;
        self.tables.commit();
        self.publish(self.current.load().with(self.tables.clone()));
        Ok(())
    }

    /// Carries the tail and the group in hand into the tables, and waits for it.
    fn flush_with_group(&mut self) -> Result<()> {
        self.finish_checkpoint();
        self.check()?;
        self.seqno += 1;
        if let Err(error) = flush(&self.database, &mut self.tables, self.seqno, self.mode) {
            self.admission.failed();
            return Err(self.fault(&error));
        }
        self.tables.commit();
        self.flushed(self.seqno)
    }

    /// Carries the tail into the tables, if there is one.
    fn flush_memtable(&mut self) -> Result<()> {
        let nothing = self.checkpoint.is_none() && self.tables.is_stored();
        if nothing { self.check() } else { self.flush_with_group() }
    }

    /// Runs a write that goes past the tail, straight into the tables.
    ///
    /// # Errors
    /// What `work` fails with, after which nothing of it is there, or as of [`Committer::commit`].
    pub(crate) fn write_through<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T>,
    ) -> Result<T> {
        self.flush_memtable().map_err(not_begun)?;
        // It is a group too: should the tables ever be without it, later ones do not follow.
        let seqno = self.seqno + 1;
        let (state, mode) = (self.current.load(), self.mode);
        let done = commit_with(&self.database, mode, seqno, |write| work(write, &state))
            .map_err(|error| self.fault(&error))?
            .inspect_err(|error| {
                // Over a damaged page redb may have stopped anywhere: the files are opened again.
                if matches!(error, Error::Corrupted { .. }) {
                    self.fault(error);
                }
            })
            .map_err(|error| match (error, self.check()) {
                // A reader met the fault.
                (Error::SnapshotInvalidated, Err(given_up)) => given_up,
                (error, _) => error,
            })?;
        self.seqno = seqno;
        self.flushed(seqno)?;
        Ok(done)
    }

    /// Goes on from tables that hold all groups up to `group`.
    fn flushed(&mut self, seqno: u64) -> Result<()> {
        let adopted = self.adopt(seqno);
        // The commit is durable, but a caller that cannot read its write is told so.
        adopted.map_err(|error| self.fault(&error))
    }

    fn adopt(&mut self, seqno: u64) -> Result<()> {
        let state = catch_redb_panic(|| {
            let read = self.database.begin_read()?;
            self.tables.end_checkpoint(&read)?;
            // Nobody sees a group in hand: its own commit shows both.
            let shown = self.tables.pending().changes == 0;
            shown.then(|| CommittedState::open(&read, self.tables.clone())).transpose()
        })?;
        if let Some(state) = state {
            self.publish(state);
        }
        if seqno == self.seqno {
            self.unflushed = Unflushed::default();
            self.end_segment();
        }
        self.admission = Admission::default();
        if let Some(wal) = &self.wal {
            // What cannot be removed now does no harm, and will be after the next checkpoint.
            let _ = wal.remove_segments(seqno);
        }
        Ok(())
    }

    fn publish(&self, state: CommittedState) {
        self.current.show(state);
    }

    /// How long the writer may sleep before [`Committer::run_maintenance`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        match (&self.checkpoint, self.unflushed.since) {
            (Some(_), _) => Some(ASK_EVERY),
            (None, Some(since)) => {
                let full = self.unflushed.bytes >= self.mode.memtable_bytes;
                let due = self.admission.due(if full { Instant::now() } else { since + TAIL_AGE });
                Some(due.saturating_duration_since(Instant::now()))
            }
            (None, None) => None,
        }
    }

    /// Begins a checkpoint when it is time, and ends it when it is done.
    pub(crate) fn run_maintenance(&mut self) {
        let full = self.unflushed.bytes >= self.mode.memtable_bytes;
        if self.checkpoint.as_ref().is_some_and(|running| running.is_done() || full) {
            self.finish_checkpoint();
        }
        let now = Instant::now();
        let old = self.unflushed.since.is_some_and(|since| now >= since + TAIL_AGE);
        let due = self.checkpoint.is_none() && !self.fault_signal.is_reported() && (full || old);
        if due && self.admission.may_checkpoint(self.location.as_ref(), self.unflushed.bytes) {
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        let (database, mode, seqno) = (self.database.clone(), self.mode, self.seqno);
        self.tables.begin_checkpoint();
        self.end_segment();
        let Unflushed { bytes, .. } = std::mem::take(&mut self.unflushed);
        self.tables.metrics().memtable_bytes.store(0, Ordering::Relaxed);
        let mut frozen = self.tables.clone();
        let work = move || flush(&database, &mut frozen, seqno, mode);
        match Checkpoint::begin(seqno, bytes, work) {
            Ok(checkpoint) => self.checkpoint = Some(checkpoint),
            Err(error) => {
                self.fault(&error);
            }
        }
        if self.location.as_ref().is_some_and(|location| !location.vfs.works_beside()) {
            self.finish_checkpoint();
        }
    }

    fn end_segment(&mut self) {
        if let Some(wal) = &mut self.wal {
            wal.end_segment();
        }
    }

    /// Waits for the checkpoint that is being written, if one is.
    fn finish_checkpoint(&mut self) {
        let Some(checkpoint) = self.checkpoint.take() else { return };
        if let Err(error) = checkpoint.finish().and_then(|seqno| self.adopt(seqno)) {
            self.admission.failed();
            self.fault(&error);
        }
    }

    /// Raises the alarm, and tells of the fault.
    fn fault(&self, error: &Error) -> Error {
        self.fault_signal.report(error.io_kind(), || error.to_string());
        failed(error)
    }

    fn check(&self) -> Result<()> {
        self.fault_signal.check()
    }

    /// Closes what is open after a fault, and tells of it.
    pub(crate) fn shut_down_after_fault(mut self) -> FailureHistory {
        // Whatever it came to, the tables tell it when they are opened again.
        if self.checkpoint.take().is_some_and(|checkpoint| checkpoint.finish().is_err()) {
            self.admission.failed();
        }
        let failures = self.admission.failures(self.fault_signal.kind());
        let force_close = self.force_close.take();
        // What redb cannot close properly is repaired when it is opened.
        let _ = catch_redb_panic(|| {
            drop(self);
            Ok(())
        });
        force_close.inspect(ForceClose::close);
        failures
    }

    /// Carries the tail into the tables and closes the file.
    pub(crate) fn close(mut self) -> Result<()> {
        let settled = self.flush_memtable();
        let force_close = self.force_close.take();
        // Also where it is only let go of, redb may panic over what damage left behind.
        let closed = catch_redb_panic(|| {
            let whole = self;
            // Readers have snapshots of it, but only the writer has the database itself.
            let database = Arc::into_inner(whole.database);
            settled?;
            database.map_or(Ok(()), |database| Ok(database.close()?))
        });
        force_close.inspect(ForceClose::close);
        closed
    }
}

/// The fault of a commit before a write, of which nothing is there.
fn not_begun(error: Error) -> Error {
    match error {
        Error::CommitUnknown { kind, why } => Error::WriteAborted { kind, why },
        error => error,
    }
}

fn failed(error: &Error) -> Error {
    Error::CommitUnknown { kind: error.io_kind(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::fault::FaultState;
    use crate::model::text::Name;
    use crate::model::timestamp::Timestamp;
    use crate::tables::accounts;

    fn recovered() -> (Committer, Arc<Published>) {
        let mode = CommitMode {
            durability: Durability::Immediate,
            memtable_bytes: 1 << 20,
            row_cache_bytes: 0,
            fast_recovery: false,
        };
        let committer =
            Committer::in_memory(1 << 20, mode, FaultState::new().fault_signal()).unwrap();
        let current = committer.current().clone();
        (committer, current)
    }

    /// A group that removes waits for the checkpoint that is being written, and is not seen before
    /// it is itself committed.
    #[test]
    fn the_end_of_a_checkpoint_shows_nothing_of_the_group_in_hand() {
        let (mut committer, current) = recovered();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let seen = |text: &str| {
            let tables = &current.load_full().tables;
            accounts::user_of_name(&tables.users, &tables.user_names, &name(text)).unwrap()
        };
        committer.run(|write| write.create_user(name("one"), Timestamp::MIN)).unwrap();
        committer.commit().unwrap();
        committer.begin_checkpoint();
        committer.run(|write| write.create_user(name("two"), Timestamp::MIN)).unwrap();
        committer.finish_checkpoint();
        assert!(seen("one").is_some() && seen("two").is_none());
        committer.commit().unwrap();
        assert!(seen("one").is_some() && seen("two").is_some());
        committer.close().unwrap();
    }
}
