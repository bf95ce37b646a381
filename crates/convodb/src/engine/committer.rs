//! Group commit: makes a group of writes durable in the WAL and visible in the memtables.
//!
//! A commit is one WAL append and one sync. Readers see the memtables above the tables. A
//! checkpoint later writes the memtables into the tables, in key order and in one redb commit,
//! while new groups continue into the WAL; so entries that share a leaf cost one visit of that leaf
//! for many groups.
//!
//! Where the disk has no space for the WAL, a group is written straight into the tables together with
//! the memtables. That is also the way of a group that removes something on a full disk.
//!
//! After a fault a committer does nothing more: the supervisor recovers with a new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use redb::{Database, ReadableDatabase, WriteTransaction};

use crate::engine::admission::{
    DiskSpaceGuard, Refusal, WritePath, is_refused_by_a_full_disk, route,
};
use crate::engine::checkpoint::{
    Checkpoint, CheckpointBackoff, CheckpointScheduler, FailureHistory, NextAction,
};
use crate::engine::index_steps::IndexSteps;
use crate::engine::published::{ChangedUsers, Published};
use crate::engine::recovery::Recovered;
use crate::engine::redb_commit::{commit_with, flush};
use crate::engine::store_file::{StoreFile, StoreLocation};
use crate::error::{Error, Result, from_redb};
use crate::io::fault::FaultSignal;
use crate::io::file_guard::FileGuard;
use crate::io::redb_backend::ForceClose;
use crate::kv::catch_panic::catch_redb_panic;
use crate::kv::table::PendingWrites;
use crate::metrics::LatencyHistogram;
use crate::options::{CommitMode, Durability};
use crate::tables::epochs::Epochs;
use crate::tables::index_build;
use crate::tables::state::CommittedState;
use crate::tables::{Tables, meta};
use crate::transaction::Transaction;
use crate::wal::WalPosition;
use crate::wal::writer::{AppendError, Wal};

/// Commits groups to the files of one recovery.
pub(crate) struct Committer {
    database: Arc<Database>,
    force_close: ForceClose,
    guard: Arc<FileGuard>,
    location: StoreLocation,
    fault_signal: Arc<FaultSignal>,
    tables: Tables,
    published: Arc<Published>,
    /// Counts the groups, but receives no record if durability is deferred.
    wal: Wal,
    mode: CommitMode,
    checkpoint: Option<Checkpoint>,
    scheduler: CheckpointScheduler,
    space: DiskSpaceGuard,
    /// The last group that was refused because of the disk, if none was accepted since.
    refusal: Option<Refusal>,
    index_steps: IndexSteps,
}

/// What the group that an epoch begins with needs the WAL for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WalUse {
    /// It is appended.
    Append,
    /// Nothing: it goes into the tables, so a disk without space for a WAL does not refuse it.
    None,
}

impl Committer {
    /// A committer over recovered files, whose state `published` shows to readers.
    ///
    /// # Errors
    /// With deferred durability, what the WAL contained is flushed first: a fault of that commit.
    pub(crate) fn new(
        recovered: Recovered,
        location: &StoreLocation,
        mode: CommitMode,
        fault_signal: Arc<FaultSignal>,
        publish: impl FnOnce(CommittedState) -> Arc<Published>,
    ) -> Result<Self> {
        let Recovered { file, wal, tables, state, replayed_bytes } = recovered;
        let StoreFile { database, force_close, guard } = file;
        let mut committer = Self {
            database: Arc::new(database),
            force_close,
            guard,
            location: location.clone(),
            fault_signal,
            tables,
            published: publish(state),
            wal,
            mode: CommitMode { durability: Durability::Immediate, ..mode },
            checkpoint: None,
            scheduler: CheckpointScheduler::new(mode.memtable_bytes, replayed_bytes),
            space: DiskSpaceGuard::default(),
            refusal: None,
            index_steps: IndexSteps::default(),
        };
        committer.space.renew(location);
        if mode.durability == Durability::Deferred {
            // What was acknowledged as durable stays durable; from now on there is no WAL.
            committer.flush_memtables()?;
            committer.end_wal()?;
            committer.mode = mode;
        }
        Ok(committer)
    }

    /// Continues the backoff of the committer before, after its fault.
    pub(crate) fn back_off(&mut self, now: Instant, history: FailureHistory) {
        self.scheduler.backoff = CheckpointBackoff::after(now, history, self.mode.memtable_bytes);
        self.scheduler.recovered(now);
        // On a full disk, groups are refused until the memtables are flushed.
        let group = PendingWrites { changes: 1, removals: 0, bytes: 1 };
        if self.scheduler.backoff.refuses(self.scheduler.not_in_tables(), group.bytes) {
            self.refusal = Some(Refusal::of(group, now));
            self.fault_signal.refuse_writes(true);
        }
    }

    /// What readers see, now and after each commit.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Runs `work`, any number of writes, on top of the committed state and of earlier writes of
    /// the group.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
        let state = self.published.load();
        work(&mut Transaction::new(&mut self.tables, state.fingerprinter(), self.mode.rules))
    }

    /// Commits the group: everything written since the last commit. Afterwards it is durable and
    /// visible to readers, or rolled back.
    ///
    /// # Errors
    /// [`Error::WriteAborted`]: the group is not and will not be stored. [`Error::CommitUnknown`]: that
    /// is unknown until the files are reopened.
    pub(crate) fn commit(&mut self, now: Instant) -> Result<()> {
        let pending = self.tables.pending();
        let committed = self.commit_group(now, pending);
        let metrics = self.tables.metrics();
        metrics.memtable_bytes.store(self.scheduler.unflushed(), Ordering::Relaxed);
        match committed {
            Ok(()) if pending.changes > 0 => metrics.committed(pending.changes, pending.bytes),
            Ok(()) => {}
            Err(_) => self.tables.rollback(),
        }
        committed
    }

    fn commit_group(&mut self, now: Instant, group: PendingWrites) -> Result<()> {
        self.check()?;
        if group.changes == 0 {
            return Ok(());
        }
        let path = self.route(now, group).inspect_err(|error| self.refuse(now, group, error))?;
        match path {
            WritePath::WriteThrough => self.flush_with_group()?,
            // An epoch has a WAL of its own, so what an earlier one contains goes into the tables.
            WritePath::Wal if self.has_earlier_wal() => self.flush_with_group()?,
            WritePath::Wal => {
                match self.append() {
                    Ok(()) => self.scheduler.wrote(now, group.bytes),
                    // The reserve in the store's file is not for the WAL.
                    Err(error) if group.removals > 0 && is_refused_by_a_full_disk(&error) => {
                        self.flush_with_group()?;
                    }
                    Err(error) => {
                        if matches!(error, Error::WriteAborted { .. }) {
                            self.refuse(now, group, &error);
                        }
                        return Err(error);
                    }
                }
            }
        }
        // Removals may use a reserve: their success says nothing about other groups.
        if self.refusal.as_ref().is_some_and(|last| group.removals == 0 || last.group.removals > 0)
        {
            self.accept();
        }
        Ok(())
    }

    fn route(&mut self, now: Instant, group: PendingWrites) -> Result<WritePath> {
        let unflushed = self.scheduler.not_in_tables();
        let (backoff, location) = (&self.scheduler.backoff, &self.location);
        route(now, backoff, &mut self.space, location, unflushed, group)
    }

    /// Whether the memtables contain groups of an earlier epoch.
    fn has_earlier_wal(&self) -> bool {
        self.scheduler.not_in_tables() > 0 && !self.published.load().epochs().is_open()
    }

    /// Records that a group was refused because of the disk.
    fn refuse(&mut self, now: Instant, group: PendingWrites, error: &Error) {
        if self.refusal.is_none() {
            tracing::warn!(%error, "writes are refused until the disk accepts them");
        }
        self.refusal = Some(Refusal::of(group, now));
        self.fault_signal.refuse_writes(true);
    }

    /// Records that a group was accepted.
    fn accept(&mut self) {
        self.refusal = None;
        self.fault_signal.refuse_writes(false);
        tracing::info!("writes are accepted again");
    }

    /// Tries whether a group like the refused one is accepted, with an empty group.
    fn probe(&mut self, now: Instant) {
        let Some(group) = self.refusal.as_ref().map(Refusal::probe) else { return };
        let accepted = match self.route(now, group) {
            Err(_) => false,
            Ok(WritePath::WriteThrough) => self.flush_with_group().is_ok(),
            Ok(WritePath::Wal) if self.has_earlier_wal() => self.flush_with_group().is_ok(),
            Ok(WritePath::Wal) => {
                let appended = self.append().is_ok();
                if appended {
                    self.scheduler.wrote(now, 0);
                }
                appended
            }
        };
        if accepted {
            self.accept();
        } else if let Some(refusal) = &mut self.refusal {
            refusal.postpone(now);
        }
    }

    /// Appends the group to the WAL and publishes it.
    fn append(&mut self) -> Result<()> {
        self.begin_epoch()?;
        if self.mode.durability == Durability::Deferred {
            self.wal.continue_after(self.wal.after_unlogged());
        } else {
            let _timer =
                LatencyHistogram::begin(self.tables.metrics(), |metrics| &metrics.wal_syncs);
            let tables = &mut self.tables;
            match self.wal.append(|out| tables.encode(out)) {
                Ok(()) => {}
                Err(AppendError::RolledBack(error)) => {
                    return Err(Error::WriteAborted { source: error.into_io() });
                }
                Err(AppendError::Unknown(error)) => return Err(self.fault(error)),
            }
        }
        let changed = self.changed_users();
        self.tables.commit(self.seqno());
        let state = self.published.load().with(self.tables.clone(), self.seqno());
        self.published.publish(state, &changed);
        Ok(())
    }

    /// The users whose conversations the group has changed, for listeners.
    fn changed_users(&self) -> ChangedUsers {
        let observed = self.published.has_listeners();
        // A removed token is only a hash: a caller that waits with a token must check it again.
        if self.tables.revokes_tokens() {
            return ChangedUsers::Any;
        }
        ChangedUsers::These(if observed { self.tables.changed_users() } else { Vec::new() })
    }

    /// The sequence number of the last group.
    const fn seqno(&self) -> u64 {
        self.wal.position().seqno
    }

    /// Begins an epoch and its WAL before the first write to tables that contain all groups.
    ///
    /// # Errors
    /// As [`Committer::prepare_epoch`], or a fault.
    fn begin_epoch(&mut self) -> Result<()> {
        let Some(epochs) = self.prepare_epoch(WalUse::Append)? else { return Ok(()) };
        let (state, position) = (self.published.load_full(), self.wal.position());
        let begun = commit_with(&self.database, self.durable_mode(), position, |write| {
            meta::put_epochs(write, &epochs)
        });
        let adopted = begun.and_then(|begun| begun).and_then(|()| {
            catch_redb_panic(|| {
                let read = self.database.begin_read().map_err(from_redb)?;
                CommittedState::open(&read, state.tables.clone(), state.seqno())
            })
        });
        match adopted {
            Ok(state) => self.published.replace(state),
            // The group that the epoch begins with is not stored.
            Err(error) => return Err(self.fault(error).before_start()),
        }
        Ok(())
    }

    /// Prepares the epoch of this process and its WAL, unless they have begun: a link that no other
    /// WAL has, and the epochs to commit together with the WAL's position.
    ///
    /// # Errors
    /// [`Error::WriteAborted`], and nothing has changed.
    fn prepare_epoch(&mut self, wal: WalUse) -> Result<Option<Epochs>> {
        let state = self.published.load_full();
        let has_epoch = state.epochs().is_open();
        let has_wal = has_epoch && self.wal.position().chain.is_some();
        let is_deferred = self.mode.durability == Durability::Deferred;
        if has_epoch && (has_wal || is_deferred) {
            return Ok(None);
        }
        let aborted = |error: Error| Error::WriteAborted { source: error.into_io() };
        let vfs = self.location.vfs.clone();
        let mut epochs = state.epochs().clone();
        if !has_epoch {
            epochs.begin(meta::fresh_number(&*vfs).map_err(aborted)?, state.seqno());
        }
        if !is_deferred {
            let link = meta::fresh_number(&*vfs).map_err(aborted)?;
            match self.wal.begin(link) {
                Err(error) if wal == WalUse::None && error.is_storage_full() => {
                    // The tables are about to contain everything. The next append tries again.
                    let closed = WalPosition { chain: None, ..self.wal.position() };
                    self.wal.continue_after(closed);
                }
                begun => begun.map_err(aborted)?,
            }
        }
        // Without a new epoch, a commit of the tables alone needs no other position either.
        let changed = !has_epoch || self.wal.position().chain.is_some();
        Ok(changed.then_some(epochs))
    }

    /// How commits are made durable that must be, even if writes are not.
    const fn durable_mode(&self) -> CommitMode {
        CommitMode { durability: Durability::Immediate, ..self.mode }
    }

    /// Starts a new segment of the WAL, so that the one before can be removed when the tables
    /// contain it. Without space the WAL continues in the same segment.
    fn rotate_wal(&mut self) -> Result<()> {
        if self.wal.position().chain.is_some()
            && let Err(error) = self.wal.rotate()
        {
            self.check()?;
            tracing::warn!(%error, "cannot start a new segment of the write-ahead log");
        }
        Ok(())
    }

    /// Records that the store needs no WAL, and removes it. The tables contain all groups.
    fn end_wal(&mut self) -> Result<()> {
        let WalPosition { seqno, chain } = self.wal.position();
        if chain.is_none() {
            return Ok(());
        }
        let closed = WalPosition { seqno, chain: None };
        commit_with(&self.database, self.durable_mode(), closed, |_| Ok(()))??;
        self.wal.remove_all()
    }

    /// Writes the memtables and the current group into the tables.
    fn flush_with_group(&mut self) -> Result<()> {
        self.finish_checkpoint();
        self.check()?;
        self.guard.check()?;
        let epochs = self.prepare_epoch(WalUse::None)?;
        self.rotate_wal()?;
        let position = self.wal.after_unlogged();
        let mode = if epochs.is_some() { self.durable_mode() } else { self.mode };
        let flushed = flush(&self.database, &self.tables, position, mode, |write| {
            epochs.map_or(Ok(()), |epochs| meta::put_epochs(write, &epochs))
        });
        if let Err(error) = flushed {
            self.scheduler.failed();
            return Err(self.fault(error));
        }
        let changed = self.changed_users();
        self.tables.commit(position.seqno);
        self.adopt_durable(position, &changed)
    }

    /// Writes the memtables into the tables, unless they are empty.
    fn flush_memtables(&mut self) -> Result<()> {
        let empty = self.checkpoint.is_none() && self.tables.is_flushed();
        if empty { self.check() } else { self.flush_with_group() }
    }

    /// Runs a write that bypasses the memtables: `work` changes the tables themselves.
    ///
    /// # Errors
    /// The error of `work`, after a rollback, or the errors of [`Committer::commit`].
    pub(crate) fn write_through<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T>,
    ) -> Result<T> {
        self.flush_memtables().map_err(Error::before_start)?;
        // It is a group too: if the tables lose it, later groups must not be replayed without it.
        self.guard.check()?;
        self.begin_epoch()?;
        self.rotate_wal()?;
        let position = self.wal.after_unlogged();
        let (state, mode) = (self.published.load_full(), self.mode);
        let done = commit_with(&self.database, mode, position, |write| work(write, &state))
            .map_err(|error| self.fault(error))?;
        let done = match done {
            Ok(done) => done,
            Err(error @ Error::Corrupted { .. }) => {
                // redb may have stopped anywhere over a damaged page: reopen the files.
                self.fault(error.clone());
                return Err(error);
            }
            // A reader may have reported the fault that invalidated the snapshot.
            Err(Error::SnapshotInvalidated) => {
                return self.check().and(Err(Error::SnapshotInvalidated));
            }
            Err(error) => return Err(error),
        };
        self.tables.change_all_users(position.seqno);
        self.adopt_durable(position, &ChangedUsers::Any)?;
        Ok(done)
    }

    /// Continues with tables that contain all groups up to `position`, the last one. The commit is
    /// durable, but a failure here means that its caller could not read its own write: a fault.
    fn adopt_durable(&mut self, position: WalPosition, changed: &ChangedUsers) -> Result<()> {
        self.wal.continue_after(position);
        let adopted = self.adopt(position.seqno, changed);
        adopted.map_err(|error| self.fault(error))
    }

    fn adopt(&mut self, seqno: u64, changed: &ChangedUsers) -> Result<()> {
        let state = catch_redb_panic(|| {
            let read = self.database.begin_read().map_err(from_redb)?;
            self.tables.end_checkpoint(&read)?;
            // A group in progress is not visible: its own commit publishes both.
            let idle = self.tables.group_changes() == 0;
            let (tables, before) = (&self.tables, self.published.load_full());
            idle.then(|| CommittedState::open_after(&read, tables.clone(), self.seqno(), &before))
                .transpose()
        })?;
        if let Some(state) = state {
            self.published.publish(state, changed);
        }
        self.scheduler.flushed(seqno == self.seqno());
        self.space.renew(&self.location);
        if let Err(error) = self.wal.remove_segments(seqno) {
            // A leftover segment does no harm; the next checkpoint removes it.
            tracing::warn!(%error, "cannot remove a segment of the write-ahead log");
        }
        Ok(())
    }

    /// When [`Committer::run_maintenance`] has something to do.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let checkpoint = match self.next_action(now) {
            NextAction::Wait(deadline) => deadline,
            NextAction::Start | NextAction::Finish => Some(now),
        };
        let probe = self.refusal.as_ref().map(|refusal| refusal.probe_at);
        let step = self.index_step_due(now);
        checkpoint.into_iter().chain(probe).chain(step).min()
    }

    /// When the next step of an unfinished index is due.
    fn index_step_due(&self, now: Instant) -> Option<Instant> {
        let runs = self.mode.background_checkpoints;
        let due = self.index_steps.due(now, &self.tables.families).filter(|_| runs)?;
        Some(self.scheduler.backoff.not_before(due))
    }

    fn next_action(&self, now: Instant) -> NextAction {
        let finished = self.checkpoint.as_ref().is_some_and(Checkpoint::is_finished);
        self.scheduler.next_action(now, finished)
    }

    /// Finishes and starts checkpoints when they are due.
    pub(crate) fn run_maintenance(&mut self, now: Instant) {
        if self.next_action(now) == NextAction::Finish {
            self.finish_checkpoint();
        }
        if self.fault_signal.is_reported() {
            return;
        }
        if self.refusal.as_ref().is_some_and(|refusal| refusal.probe_at <= now) {
            self.probe(now);
        }
        if self.fault_signal.is_reported() {
            return;
        }
        if self.index_step_due(now).is_some_and(|due| due <= now) {
            let stepped = self.write_through(|write, state| {
                index_build::step(write, &state.tables, state.fingerprinter())
            });
            return self.index_steps.took(now, stepped, &mut self.scheduler.backoff);
        }
        if self.next_action(now) != NextAction::Start {
            return;
        }
        let bytes = self.scheduler.unflushed();
        let backoff = &mut self.scheduler.backoff;
        let has_space = || self.space.has_space_for_checkpoint(&self.location, bytes);
        if backoff.needs_space_check() && !has_space() {
            backoff.postpone(now);
        } else {
            self.start_checkpoint();
        }
    }

    fn start_checkpoint(&mut self) {
        if self.guard.check().and_then(|()| self.rotate_wal()).is_err() {
            return;
        }
        let (database, mode, position) = (self.database.clone(), self.mode, self.wal.position());
        self.tables.begin_checkpoint();
        self.scheduler.started();
        self.tables.metrics().memtable_bytes.store(0, Ordering::Relaxed);
        let frozen = self.tables.clone();
        let work = move || flush(&database, &frozen, position, mode, |_| Ok(()));
        match Checkpoint::start(position.seqno, work) {
            Ok(checkpoint) => self.checkpoint = Some(checkpoint),
            Err(error) => {
                self.fault(error);
            }
        }
        if !self.mode.background_checkpoints {
            self.finish_checkpoint();
        }
    }

    /// Waits for the running checkpoint, if any, and adopts its result.
    fn finish_checkpoint(&mut self) {
        let Some(checkpoint) = self.checkpoint.take() else { return };
        if let Err(error) =
            checkpoint.join().and_then(|seqno| self.adopt(seqno, &ChangedUsers::These(Vec::new())))
        {
            tracing::error!(%error, "checkpoint failed");
            self.scheduler.failed();
            self.fault(error);
        }
    }

    /// Reports a fault and returns it as the error of the commit.
    fn fault(&self, error: Error) -> Error {
        let source = error.into_io();
        self.fault_signal.report(|| source.clone());
        Error::CommitUnknown { source }
    }

    fn check(&self) -> Result<()> {
        self.fault_signal.check()
    }

    /// Closes the files after a fault.
    pub(crate) fn shut_down_after_fault(mut self) -> FailureHistory {
        self.fault_signal.refuse_writes(false);
        // Recovery finds out what the tables contain, whatever becomes of the checkpoint.
        if self.checkpoint.take().is_some_and(|checkpoint| checkpoint.join().is_err()) {
            self.scheduler.failed();
        }
        let kind = self.fault_signal.fault().map(|fault| fault.kind());
        let history = self.scheduler.backoff.history(kind);
        let Self { database, force_close, tables, published, .. } = self;
        // A file that redb cannot close properly is repaired when it is opened.
        let _ = catch_redb_panic(|| {
            drop((database, tables, published));
            Ok(())
        });
        force_close.close();
        history
    }

    /// Flushes the memtables and closes the files.
    pub(crate) fn close(mut self) -> Result<()> {
        let flushed = self.flush_memtables().and_then(|()| self.end_wal());
        let Self { database, force_close, tables, published, .. } = self;
        // Dropping can make redb panic over damaged pages too.
        let closed = catch_redb_panic(|| {
            drop((tables, published));
            // Snapshots share tables, but only the writer owns the database.
            let database = Arc::into_inner(database);
            flushed?;
            database.map_or(Ok(()), |database| database.close().map_err(from_redb))
        });
        force_close.close();
        closed
    }
}

#[cfg(test)]
mod tests;
