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

use crate::engine::admission::{Room, Setback, Way};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::recovery::{Opened, Tail};
use crate::engine::redb_commit::{carry, store};
use crate::engine::store_file::Place;
use crate::error::{Error, Result};
use crate::io::fault::Alarm;
use crate::io::redb_backend::Shutter;
use crate::kv::catch_panic::unharmed;
use crate::kv::table::Weight;
use crate::metrics::Times;
use crate::options::{CommitMode, Durability};
use crate::tables::Tables;
use crate::tables::state::{Current, View};
use crate::transaction::Transaction;
use crate::wal::{Log, NotAppended};

/// A tail that is so old is carried into the tables.
const TAIL_AGE: Duration = Duration::from_secs(1);
/// How often a checkpoint is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// See the head of this file.
pub(crate) struct Committer {
    database: Arc<Database>,
    /// None for a store in memory.
    shutter: Option<Shutter>,
    /// Where the store is; none for one in memory.
    place: Option<Place>,
    alarm: Arc<Alarm>,
    tables: Tables,
    current: Arc<Current>,
    /// None for a store in memory, or whose commits are deferred.
    log: Option<Log>,
    mode: CommitMode,
    /// The last group.
    group: u64,
    /// What was put since the last checkpoint began.
    tail: Tail,
    checkpoint: Option<Checkpoint>,
    room: Room,
}

impl Committer {
    /// A committer of a store in memory.
    pub(crate) fn in_memory(
        cache_bytes: usize,
        mode: CommitMode,
        alarm: Arc<Alarm>,
    ) -> Result<Self> {
        let opened = Opened::in_memory(cache_bytes, mode.row_cache_bytes)?;
        Ok(Self::over(opened, None, mode, alarm, |view| Arc::new(Current::new(view))))
    }

    /// Goes on from what the tables and the log at `place` hold: what the tables do not is the tail.
    pub(crate) fn open(place: &Place, mode: CommitMode, alarm: Arc<Alarm>) -> Result<Self> {
        let opened = Opened::first(place, &alarm, mode.row_cache_bytes)?;
        let shown = |view| Arc::new(Current::new(view));
        let mut committer = Self::over(opened, Some(place), mode, alarm, shown);
        if mode.durability == Durability::Deferred {
            // What was acknowledged as durable stays so; from here on there is no log.
            committer.settle_tail()?;
            (committer.log, committer.mode) = (None, mode);
        }
        Ok(committer)
    }

    /// Goes on for the same readers from what is on disk, after a setback.
    pub(crate) fn reopen(
        place: &Place,
        mode: CommitMode,
        alarm: Arc<Alarm>,
        current: Arc<Current>,
        setback: Setback,
    ) -> Result<Self> {
        let opened = Opened::again(place, &alarm, mode.row_cache_bytes, &current.load())?;
        let shown = |view| {
            current.show(view);
            current
        };
        let mut committer = Self::over(opened, Some(place), mode, alarm, shown);
        committer.room = Room::after(setback, mode.tail_bytes);
        if mode.durability == Durability::Deferred {
            (committer.log, committer.mode) = (None, mode);
        }
        Ok(committer)
    }

    /// Goes on from what was opened, of which readers are `shown` the last commit.
    fn over(
        opened: Opened,
        place: Option<&Place>,
        mode: CommitMode,
        alarm: Arc<Alarm>,
        shown: impl FnOnce(View) -> Arc<Current>,
    ) -> Self {
        let Opened { database, shutter, log, tables, view, group, tail } = opened;
        Self {
            database: Arc::new(database),
            shutter,
            place: place.cloned(),
            alarm,
            tables,
            current: shown(view),
            log,
            mode: CommitMode { durability: Durability::Immediate, ..mode },
            group,
            tail,
            checkpoint: None,
            room: Room::default(),
        }
    }

    /// What readers see, now and after each commit.
    pub(crate) fn current(&self) -> &Arc<Current> {
        &self.current
    }

    /// Runs `work`, which may run any number of writes, on what is committed and what the writes
    /// before it did.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
        let view = self.current.load();
        work(&mut Transaction::new(&mut self.tables, view.fingerprinter()))
    }

    /// Makes durable what the writes since the last commit did, and shows it to readers.
    ///
    /// # Errors
    /// After [`Error::GivenUp`] nothing of it will ever be there; after [`Error::CommitFailed`] that
    /// is unknown. Either way it is taken back here.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let weight = self.tables.weigh();
        let committed = self.commit_group(weight);
        let meter = self.tables.meter();
        meter.tail_bytes.store(self.tail.bytes, Ordering::Relaxed);
        match committed {
            Ok(()) if weight.changes > 0 => meter.committed(weight.changes, weight.bytes),
            Ok(()) => {}
            Err(_) => self.tables.undo(),
        }
        committed
    }

    fn commit_group(&mut self, weight: Weight) -> Result<()> {
        self.check()?;
        if weight.changes == 0 {
            return Ok(());
        }
        // What a checkpoint is writing needs its room too.
        let writing = self.checkpoint.as_ref().map_or(0, Checkpoint::bytes);
        let owed = self.tail.bytes + writing;
        let way = self.room.way(self.place.as_ref(), owed, weight)?;
        if way == Way::Tables {
            return self.store_tail();
        }
        self.append()?;
        self.tail.bytes += weight.bytes;
        self.tail.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Puts the group into the log.
    fn append(&mut self) -> Result<()> {
        let group = self.group + 1;
        if let Some(log) = &mut self.log {
            let _timing = Times::begin(self.tables.meter(), |meter| &meter.log_syncs);
            let tables = &mut self.tables;
            match log.append(group, |out| tables.encode(out)) {
                Ok(()) => {}
                Err(NotAppended::TakenBack(error)) => {
                    return Err(Error::GivenUp { kind: error.io_kind(), why: error.to_string() });
                }
                Err(NotAppended::InDoubt(error)) => return Err(self.fault(&error)),
            }
        }
        self.group = group;
        self.tables.settle();
        self.publish(self.current.load().with(self.tables.clone()));
        Ok(())
    }

    /// Carries the tail and the group in hand into the tables, and waits for it.
    fn store_tail(&mut self) -> Result<()> {
        self.finish_checkpoint();
        self.check()?;
        self.group += 1;
        if let Err(error) = store(&self.database, &mut self.tables, self.group, self.mode) {
            self.room.failed();
            return Err(self.fault(&error));
        }
        self.tables.settle();
        self.stored(self.group)
    }

    /// Carries the tail into the tables, if there is one.
    fn settle_tail(&mut self) -> Result<()> {
        let nothing = self.checkpoint.is_none() && self.tables.is_stored();
        if nothing { self.check() } else { self.store_tail() }
    }

    /// Runs a write that goes past the tail, straight into the tables.
    ///
    /// # Errors
    /// What `work` fails with, after which nothing of it is there, or as of [`Committer::commit`].
    pub(crate) fn run_direct<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &View) -> Result<T>,
    ) -> Result<T> {
        self.settle_tail().map_err(not_begun)?;
        // It is a group too: should the tables ever be without it, later ones do not follow.
        let group = self.group + 1;
        let (view, mode) = (self.current.load(), self.mode);
        let done = carry(&self.database, mode, group, |write| work(write, &view))
            .map_err(|error| self.fault(&error))?
            .inspect_err(|error| {
                // Over a damaged page redb may have stopped anywhere: the files are opened again.
                if matches!(error, Error::Corrupted { .. }) {
                    self.fault(error);
                }
            })
            .map_err(|error| match (error, self.check()) {
                // A reader met the fault.
                (Error::SnapshotLost, Err(given_up)) => given_up,
                (error, _) => error,
            })?;
        self.group = group;
        self.stored(group)?;
        Ok(done)
    }

    /// Goes on from tables that hold all groups up to `group`.
    fn stored(&mut self, group: u64) -> Result<()> {
        let adopted = self.adopt(group);
        // The commit is durable, but a caller that cannot read its write is told so.
        adopted.map_err(|error| self.fault(&error))
    }

    fn adopt(&mut self, group: u64) -> Result<()> {
        let view = unharmed(|| {
            let read = self.database.begin_read()?;
            self.tables.thaw(&read)?;
            // Nobody sees a group in hand: its own commit shows both.
            let shown = self.tables.weigh().changes == 0;
            shown.then(|| View::open(&read, self.tables.clone())).transpose()
        })?;
        if let Some(view) = view {
            self.publish(view);
        }
        if group == self.group {
            self.tail = Tail::default();
            self.cut_log();
        }
        self.room = Room::default();
        if let Some(log) = &self.log {
            // What cannot be removed now does no harm, and will be after the next checkpoint.
            let _ = log.forget(group);
        }
        Ok(())
    }

    fn publish(&self, view: View) {
        self.current.show(view);
    }

    /// How long the writer may sleep before [`Committer::tend`] has something to do.
    pub(crate) fn rest(&self) -> Option<Duration> {
        match (&self.checkpoint, self.tail.since) {
            (Some(_), _) => Some(ASK_EVERY),
            (None, Some(since)) => {
                let full = self.tail.bytes >= self.mode.tail_bytes;
                let due = self.room.due(if full { Instant::now() } else { since + TAIL_AGE });
                Some(due.saturating_duration_since(Instant::now()))
            }
            (None, None) => None,
        }
    }

    /// Begins a checkpoint when it is time, and ends it when it is done.
    pub(crate) fn tend(&mut self) {
        let full = self.tail.bytes >= self.mode.tail_bytes;
        if self.checkpoint.as_ref().is_some_and(|running| running.is_done() || full) {
            self.finish_checkpoint();
        }
        let now = Instant::now();
        let old = self.tail.since.is_some_and(|since| now >= since + TAIL_AGE);
        let due = self.checkpoint.is_none() && !self.alarm.is_raised() && (full || old);
        if due && self.room.admits(self.place.as_ref(), self.tail.bytes) {
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        let (database, mode, group) = (self.database.clone(), self.mode, self.group);
        self.tables.freeze();
        self.cut_log();
        let Tail { bytes, .. } = std::mem::take(&mut self.tail);
        self.tables.meter().tail_bytes.store(0, Ordering::Relaxed);
        let mut frozen = self.tables.clone();
        let work = move || store(&database, &mut frozen, group, mode);
        match Checkpoint::begin(group, bytes, work) {
            Ok(checkpoint) => self.checkpoint = Some(checkpoint),
            Err(error) => {
                self.fault(&error);
            }
        }
        if self.place.as_ref().is_some_and(|place| !place.disk.works_beside()) {
            self.finish_checkpoint();
        }
    }

    fn cut_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.cut();
        }
    }

    /// Waits for the checkpoint that is being written, if one is.
    fn finish_checkpoint(&mut self) {
        let Some(checkpoint) = self.checkpoint.take() else { return };
        if let Err(error) = checkpoint.finish().and_then(|group| self.adopt(group)) {
            self.room.failed();
            self.fault(&error);
        }
    }

    /// Raises the alarm, and tells of the fault.
    fn fault(&self, error: &Error) -> Error {
        self.alarm.raise(error.io_kind(), || error.to_string());
        failed(error)
    }

    fn check(&self) -> Result<()> {
        self.alarm.check()
    }

    /// Closes what is open after a fault, and tells of it.
    pub(crate) fn abandon(mut self) -> Setback {
        // Whatever it came to, the tables tell it when they are opened again.
        if self.checkpoint.take().is_some_and(|checkpoint| checkpoint.finish().is_err()) {
            self.room.failed();
        }
        let setback = self.room.setback(self.alarm.kind());
        let shutter = self.shutter.take();
        // What redb cannot close properly is repaired when it is opened.
        let _ = unharmed(|| {
            drop(self);
            Ok(())
        });
        shutter.inspect(Shutter::shut);
        setback
    }

    /// Carries the tail into the tables and closes the file.
    pub(crate) fn close(mut self) -> Result<()> {
        let settled = self.settle_tail();
        let shutter = self.shutter.take();
        // Also where it is only let go of, redb may panic over what damage left behind.
        let closed = unharmed(|| {
            let whole = self;
            // Readers have snapshots of it, but only the writer has the database itself.
            let database = Arc::into_inner(whole.database);
            settled?;
            database.map_or(Ok(()), |database| Ok(database.close()?))
        });
        shutter.inspect(Shutter::shut);
        closed
    }
}

/// The fault of a commit before a write, of which nothing is there.
fn not_begun(error: Error) -> Error {
    match error {
        Error::CommitFailed { kind, why } => Error::GivenUp { kind, why },
        error => error,
    }
}

fn failed(error: &Error) -> Error {
    Error::CommitFailed { kind: error.io_kind(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::fault::Health;
    use crate::model::text::Name;
    use crate::model::timestamp::Timestamp;
    use crate::tables::accounts;

    fn opened() -> (Committer, Arc<Current>) {
        let mode = CommitMode {
            durability: Durability::Immediate,
            tail_bytes: 1 << 20,
            row_cache_bytes: 0,
            fast_recovery: false,
        };
        let committer = Committer::in_memory(1 << 20, mode, Health::new().alarm()).unwrap();
        let current = committer.current().clone();
        (committer, current)
    }

    /// A group that removes waits for the checkpoint that is being written, and is not seen before
    /// it is itself committed.
    #[test]
    fn the_end_of_a_checkpoint_shows_nothing_of_the_group_in_hand() {
        let (mut committer, current) = opened();
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
