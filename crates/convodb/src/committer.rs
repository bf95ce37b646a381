//! What makes groups of writes durable. A group is put into the log, synced, and added to the
//! *tail*: what the tables do not hold yet, kept in memory and read above them. A checkpoint carries
//! the tail into the tables, in key order and in one commit, while new groups go on into the log.
//! So a commit costs one append, and entries that fall on one leaf cost one visit of it for many
//! groups.
//!
//! A group that removes something goes into the tables at once, with the tail before it: so what
//! readers see never has holes to step over, and a page keeps its bound.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use redb::{Database, ReadableDatabase, WriteTransaction};

use crate::durability::{CommitMode, Durability};
use crate::error::{Error, Result};
use crate::log::{self, Log};
use crate::meter::Times;
use crate::storage::meta;
use crate::storage::table::Weight;
use crate::storage::tables::Tables;
use crate::transaction::Transaction;
use crate::view::View;

/// A tail that is so old is carried into the tables.
const TAIL_AGE: Duration = Duration::from_secs(1);
/// How often a checkpoint is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// See the head of this file.
pub(crate) struct Committer {
    database: Arc<Database>,
    tables: Tables,
    current: Arc<ArcSwap<View>>,
    /// None for a store in memory, or whose commits are deferred.
    log: Option<Log>,
    mode: CommitMode,
    /// The last group.
    group: u64,
    /// What was put since the last checkpoint began.
    tail: Tail,
    checkpoint: Option<Checkpoint>,
    /// The end of the log is not to be trusted: the next group goes into the tables.
    log_in_doubt: bool,
    fault: Fault,
}

/// The fault after which nothing is written until the store is opened again, if there was one.
pub(crate) type Fault = Arc<OnceLock<(io::ErrorKind, String)>>;

#[derive(Clone, Copy, Default)]
struct Tail {
    bytes: usize,
    since: Option<Instant>,
}

/// A checkpoint that is being written.
struct Checkpoint {
    thread: JoinHandle<Result<()>>,
    /// The last group that it carries into the tables.
    group: u64,
}

impl Committer {
    /// Goes on from what the database and the log of the store at `path` hold: what the database
    /// does not is its tail. A store without a path is in memory.
    pub(crate) fn open(
        database: Database,
        path: Option<&Path>,
        mode: CommitMode,
    ) -> Result<(Self, Arc<ArcSwap<View>>)> {
        let read = database.begin_read()?;
        let mut tables = Tables::open(&read, mode.row_cache_bytes)?;
        let stored = meta::log_group(&read)?;
        let seed = meta::secrets(&read)?.log_seed();
        let group = match path {
            Some(path) => log::read(path, seed, stored, |bytes| tables.replay(bytes))?,
            None => stored,
        };
        let view = View::open(&read, tables.clone())?;
        let current = Arc::new(ArcSwap::from_pointee(view));
        let since = (group != stored).then(Instant::now);
        let mut committer = Self {
            database: Arc::new(database),
            tables,
            current: current.clone(),
            log: path.map(|path| Log::new(path.to_owned(), seed)),
            mode: CommitMode { durability: Durability::Immediate, ..mode },
            group,
            tail: Tail { bytes: 0, since },
            checkpoint: None,
            log_in_doubt: false,
            fault: Fault::default(),
        };
        if mode.durability == Durability::Deferred {
            // What was acknowledged as durable stays so; from here on there is no log.
            committer.settle_tail()?;
            (committer.log, committer.mode) = (None, mode);
        }
        Ok((committer, current))
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
        let committed = self.commit_group();
        self.meter_commit(weight, committed.is_ok());
        if committed.is_err() {
            self.tables.undo();
        }
        committed
    }

    fn meter_commit(&self, weight: Weight, is_done: bool) {
        if is_done && weight.changes > 0 {
            self.tables.meter().committed(weight.changes, weight.bytes);
        }
        self.tables.meter().tail_bytes.store(self.tail.bytes, Ordering::Relaxed);
    }

    fn commit_group(&mut self) -> Result<()> {
        self.check()?;
        let weight = self.tables.weigh();
        if weight.changes == 0 {
            return Ok(());
        }
        if weight.removals > 0 || self.log_in_doubt {
            self.store_tail()
        } else {
            self.append()?;
            self.tail.bytes += weight.bytes;
            self.tail.since.get_or_insert_with(Instant::now);
            Ok(())
        }
    }

    /// Puts the group into the log.
    fn append(&mut self) -> Result<()> {
        // Whatever comes of it, the number is not used again.
        self.group += 1;
        if let Some(log) = &mut self.log {
            let _timing = Times::begin(self.tables.meter(), |meter| &meter.log_syncs);
            let tables = &mut self.tables;
            if let Err(error) = log.append(self.group, |out| tables.encode(out)) {
                self.log_in_doubt = true;
                return Err(failed(&error));
            }
        }
        self.tables.settle();
        self.publish();
        Ok(())
    }

    /// Carries the tail and the group in hand into the tables, and waits for it.
    fn store_tail(&mut self) -> Result<()> {
        self.finish_checkpoint();
        self.check()?;
        self.group += 1;
        if let Err(error) = store(&self.database, &mut self.tables, self.group, self.mode) {
            return Err(self.fault(&error));
        }
        self.tables.settle();
        self.stored(self.group)
    }

    /// Carries the tail into the tables, if there is one.
    fn settle_tail(&mut self) -> Result<()> {
        let nothing = self.checkpoint.is_none() && self.tables.is_stored() && !self.log_in_doubt;
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
        self.settle_tail()?;
        let write = begin(&self.database, self.mode)?;
        let done = work(&write, &self.current.load())?;
        write.commit().map_err(|error| self.fault(&error.into()))?;
        self.stored(self.group)?;
        Ok(done)
    }

    /// Goes on from tables that hold all groups up to `group`.
    fn stored(&mut self, group: u64) -> Result<()> {
        let adopted = self.adopt(group);
        // The commit is durable, but a caller that cannot read its write is told so.
        adopted.map_err(|error| self.fault(&error))
    }

    fn adopt(&mut self, group: u64) -> Result<()> {
        let read = self.database.begin_read()?;
        self.tables.thaw(&read)?;
        // Nobody sees a group in hand: its own commit shows both.
        if self.tables.weigh().changes == 0 {
            let view = View::open(&read, self.tables.clone())?;
            self.current.store(Arc::new(view));
        }
        if group == self.group {
            self.tail = Tail::default();
            self.log_in_doubt = false;
            self.cut_log();
        }
        self.log.as_ref().map_or(Ok(()), |log| log.forget(group))
    }

    fn publish(&self) {
        let view = self.current.load().with(self.tables.clone());
        self.current.store(Arc::new(view));
    }

    /// How long the writer may sleep before [`Committer::tend`] has something to do.
    pub(crate) fn rest(&self) -> Option<Duration> {
        match (&self.checkpoint, self.tail.since) {
            _ if self.fault.get().is_some() => None,
            (Some(_), _) => Some(ASK_EVERY),
            (None, Some(since)) => Some(TAIL_AGE.saturating_sub(since.elapsed())),
            (None, None) => None,
        }
    }

    /// Begins a checkpoint when it is time, and ends it when it is done.
    pub(crate) fn tend(&mut self) {
        let full = self.tail.bytes >= self.mode.tail_bytes;
        if self.checkpoint.as_ref().is_some_and(|running| running.thread.is_finished() || full) {
            self.finish_checkpoint();
        }
        let old = self.tail.since.is_some_and(|since| since.elapsed() >= TAIL_AGE);
        if self.checkpoint.is_none() && self.fault.get().is_none() && (full || old) {
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        let (database, mode, group) = (self.database.clone(), self.mode, self.group);
        self.tables.freeze();
        self.cut_log();
        self.tail = Tail::default();
        self.tables.meter().tail_bytes.store(0, Ordering::Relaxed);
        let mut frozen = self.tables.clone();
        let work = move || store(&database, &mut frozen, group, mode);
        match thread::Builder::new().name("convodb-checkpoint".to_owned()).spawn(work) {
            Ok(thread) => self.checkpoint = Some(Checkpoint { thread, group }),
            Err(error) => {
                self.fault(&error.into());
            }
        }
    }

    fn cut_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.cut();
        }
    }

    /// Waits for the checkpoint that is being written, if one is.
    fn finish_checkpoint(&mut self) {
        let Some(Checkpoint { thread, group }) = self.checkpoint.take() else { return };
        let panicked = || Err(Error::Storage("a checkpoint panicked".to_owned()));
        let done = thread.join().unwrap_or_else(|_| panicked());
        if let Err(error) = done.and_then(|()| self.adopt(group)) {
            self.fault(&error);
        }
    }

    /// Notes a fault of the tables, and tells it.
    fn fault(&mut self, error: &Error) -> Error {
        self.fault.get_or_init(|| (error.io_kind(), error.to_string()));
        failed(error)
    }

    fn check(&self) -> Result<()> {
        self.fault.get().cloned().map_or(Ok(()), |(kind, why)| Err(Error::GivenUp { kind, why }))
    }

    /// Where a fault will be found, for other threads.
    pub(crate) fn shared_fault(&self) -> Fault {
        self.fault.clone()
    }

    /// Carries the tail into the tables and closes the file.
    pub(crate) fn close(mut self) -> Result<()> {
        self.settle_tail()?;
        // Readers have snapshots of it, but only the writer has the database itself.
        Arc::into_inner(self.database).map_or(Ok(()), |database| Ok(database.close()?))
    }
}

fn failed(error: &Error) -> Error {
    Error::CommitFailed { kind: error.io_kind(), why: error.to_string() }
}

/// Writes the tail of `tables`, which ends with `group`, into the database.
fn store(database: &Database, tables: &mut Tables, group: u64, mode: CommitMode) -> Result<()> {
    let _timing = Times::begin(tables.meter(), |meter| &meter.checkpoints);
    let write = begin(database, mode)?;
    tables.store(&write)?;
    meta::put_log_group(&write, group)?;
    Ok(write.commit()?)
}

fn begin(database: &Database, mode: CommitMode) -> Result<WriteTransaction> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(mode.fast_recovery);
    let durability = match mode.durability {
        Durability::Immediate => redb::Durability::Immediate,
        Durability::Deferred => redb::Durability::None,
    };
    write.set_durability(durability).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::model::text::Name;
    use crate::model::timestamp::Timestamp;
    use crate::storage::accounts;
    use crate::writer::Writer;

    fn opened() -> (Committer, Arc<ArcSwap<View>>) {
        let mode = CommitMode {
            durability: Durability::Immediate,
            tail_bytes: 1 << 20,
            row_cache_bytes: 0,
            fast_recovery: false,
        };
        Committer::open(file::in_memory(1 << 20).unwrap(), None, mode).unwrap()
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

    #[test]
    fn after_a_fault_nothing_is_taken_and_everyone_can_see_it() {
        for faulty in [false, true] {
            let (mut committer, _) = opened();
            if faulty {
                committer.fault(&Error::Storage("a torn page".to_owned()));
            }
            let writer = Writer::start(committer, 1).unwrap();
            assert_eq!(writer.takes_writes(), !faulty);
            let refused = matches!(writer.write(|_| Ok(())), Err(Error::GivenUp { .. }));
            assert_eq!(refused, faulty);
        }
    }
}
