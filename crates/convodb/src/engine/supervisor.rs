//! Supervisor: keeps a committer running, and recovers the store after a fault.
//!
//! ```text
//!         a fault is reported              cannot write, can read
//!   open ---------------------> reopening ------------------------> read-only
//!    ^                              |  ^  cannot even read              |
//!    |                              |  '--------------------------------+
//!    '----------- succeeded --------'-----------------------------------'
//! ```
//!
//! What fails is tried again after a delay, which doubles.
//!
//! After a fault the files are closed with everything that is in doubt, opened again and the WAL is
//! replayed; a new committer then serves the same readers. The writer thread does all of this.
//! Meanwhile writes are refused at once, and readers keep the last published state, which answers
//! from memory. Nothing that a failed sync was about is built upon before it is synced again.
//!
//! If the files cannot be opened because they cannot be written, they are opened for reading only,
//! with the WAL replayed in memory, and readers get that state, until writing to the disk succeeds
//! again. An attempt to reopen that fails may have written something, so the
//! read-only files are opened anew after it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::WriteTransaction;

use crate::engine::checkpoint::FailureHistory;
use crate::engine::committer::Committer;
use crate::engine::published::{ChangedUsers, Published};
use crate::engine::read_only::{ReadOnlyFiles, check_writable, may_be_readable};
use crate::engine::recovery::Recovered;
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result};
use crate::io::fault::FaultState;
use crate::kv::catch_panic::catch_redb_panic;
use crate::options::CommitMode;
use crate::tables::state::CommittedState;
use crate::transaction::Transaction;

/// The delay after the first attempt to reopen that failed.
const FIRST_DELAY: Duration = Duration::from_millis(1);
/// The longest delay between attempts to reopen.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// A store's write side across faults.
pub(crate) struct Supervisor {
    state: State,
    location: StoreLocation,
    mode: CommitMode,
    fault_state: Arc<FaultState>,
    published: Arc<Published>,
}

enum State {
    Open(Box<Committer>),
    Reopening(Attempt),
    ReadOnly(ReadOnlyFiles, Attempt),
    /// Read-only by choice, for good.
    ReadOnlyByChoice(ReadOnlyFiles),
}

/// The next attempt to reopen the files.
#[derive(Clone, Copy)]
struct Attempt {
    history: FailureHistory,
    at: Instant,
    /// The delay if this attempt fails.
    delay: Duration,
}

impl Attempt {
    fn first(now: Instant, history: FailureHistory) -> Self {
        Self { history, at: now, delay: FIRST_DELAY }
    }

    /// The attempt after this one, which failed at `now`.
    fn next(self, now: Instant) -> Self {
        Self { at: now + self.delay, delay: (self.delay * 2).min(MAX_DELAY), ..self }
    }
}

impl Supervisor {
    /// Opens or creates the store at `location`, for reading only if it cannot be written.
    pub(crate) fn open(
        mut location: StoreLocation,
        mode: CommitMode,
        now: Instant,
    ) -> Result<Self> {
        let fault_state = FaultState::new();
        let signal = fault_state.signal();
        let opened = catch_redb_panic(|| {
            let recovered = Recovered::open_or_create(&location, &signal)?;
            let publish = |state| Arc::new(Published::new(state));
            Committer::new(recovered, &location, mode, signal.clone(), publish)
        });
        let (state, published) = match opened {
            Ok(mut committer) => {
                committer.back_off(now, FailureHistory::default());
                let published = committer.published().clone();
                (State::Open(Box::new(committer)), published)
            }
            Err(error) => {
                let (files, state) = open_for_reading(&location, mode, &fault_state, error)?;
                let attempt = Attempt::first(now, FailureHistory::default()).next(now);
                (State::ReadOnly(files, attempt), Arc::new(Published::new(state)))
            }
        };
        // It is given up once, not again after a fault.
        location.without_wal = false;
        Ok(Self { state, location, mode, fault_state, published })
    }

    /// Opens the store at `location` for reading only, for good. No file changes.
    pub(crate) fn open_read_only(location: StoreLocation, mode: CommitMode) -> Result<Self> {
        if !location.vfs.exists(&location.path)? {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let fault_state = FaultState::new();
        let signal = fault_state.signal();
        let (files, state) =
            catch_redb_panic(|| ReadOnlyFiles::open(&location, &signal, mode, None))?;
        fault_state.set_read_only(true);
        let published = Arc::new(Published::new(state));
        let state = State::ReadOnlyByChoice(files);
        Ok(Self { state, location, mode, fault_state, published })
    }

    /// What readers see, now and after each commit.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    pub(crate) fn fault_state(&self) -> &Arc<FaultState> {
        &self.fault_state
    }

    /// The committer, if the store accepts writes.
    ///
    /// # Errors
    /// [`Error::WriteAborted`], or [`Error::ReadOnly`] of a store that is read-only by choice.
    fn committer(&mut self) -> Result<&mut Committer> {
        if let State::ReadOnlyByChoice(_) = self.state {
            return Err(Error::ReadOnly);
        }
        self.fault_state.check()?;
        match &mut self.state {
            State::Open(committer) => Ok(committer),
            // The fault state fails before this.
            State::Reopening(_) | State::ReadOnly(..) | State::ReadOnlyByChoice(_) => {
                Err(Error::Closed)
            }
        }
    }

    /// [`Committer::run`].
    ///
    /// # Errors
    /// [`Error::WriteAborted`]: nothing was run.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&mut Transaction<'_>) -> T) -> Result<T> {
        Ok(self.committer()?.run(work))
    }

    /// [`Committer::commit`].
    pub(crate) fn commit(&mut self, now: Instant) -> Result<()> {
        match &mut self.state {
            // Not through `committer`: after a fault the committer has to roll the group back.
            State::Open(committer) => committer.commit(now),
            State::Reopening(_) | State::ReadOnly(..) => self.fault_state.check(),
            // No write of the group was run.
            State::ReadOnlyByChoice(_) => Ok(()),
        }
    }

    /// [`Committer::write_through`].
    pub(crate) fn write_through<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T>,
    ) -> Result<T> {
        self.committer()?.write_through(work)
    }

    /// Reports a panic of the writer thread as a fault: its state in memory cannot be trusted.
    pub(crate) fn report_panic(&self, what: &'static str) {
        self.fault_state.signal().report(|| Arc::new(io::Error::other(what)));
    }

    /// When [`Supervisor::run_maintenance`] has something to do; never without an event, if there
    /// is none.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Open(_) if self.fault_state.signal().is_reported() => Some(now),
            State::Open(committer) => committer.next_deadline(now),
            State::Reopening(attempt) | State::ReadOnly(_, attempt) => Some(attempt.at),
            State::ReadOnlyByChoice(_) => None,
        }
    }

    /// Runs checkpoints, and closes and reopens the files after a fault.
    pub(crate) fn run_maintenance(&mut self, now: Instant) {
        if let State::Open(committer) = &mut self.state {
            committer.run_maintenance(now);
        }
        if self.fault_state.signal().is_reported() {
            self.shut_down(now);
        }
        match &self.state {
            State::Reopening(attempt) | State::ReadOnly(_, attempt) if now >= attempt.at => {
                self.attempt(now);
            }
            _ => {}
        }
    }

    /// Closes the files of a committer that met a fault.
    fn shut_down(&mut self, now: Instant) {
        let attempt = Attempt::first(now, FailureHistory::default());
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        let State::Open(committer) = std::mem::replace(&mut self.state, State::Reopening(attempt))
        else {
            return;
        };
        let history = committer.shut_down_after_fault();
        self.state = State::Reopening(Attempt { history, ..attempt });
    }

    /// Tries to open the files, for reading only if they cannot be written.
    fn attempt(&mut self, now: Instant) {
        let meanwhile = State::Reopening(Attempt::first(now, FailureHistory::default()));
        self.state = match std::mem::replace(&mut self.state, meanwhile) {
            State::Reopening(attempt) => self.reopen(now, attempt, None),
            State::ReadOnly(files, attempt) => match check_writable(&self.location) {
                Ok(()) => self.reopen(now, attempt, Some(files)),
                Err(error) => {
                    tracing::debug!(%error, "the files of the store cannot be written");
                    State::ReadOnly(files, attempt.next(now))
                }
            },
            open => open,
        };
    }

    fn reopen(
        &self,
        now: Instant,
        attempt: Attempt,
        mut read_only: Option<ReadOnlyFiles>,
    ) -> State {
        if let Some(files) = &mut read_only {
            files.unlock();
        }
        let signal = self.fault_state.next_signal();
        let open = || {
            let (location, mode) = (&self.location, self.mode);
            let published = self.published.load_full();
            let recovered = Recovered::reopen(location, &signal, mode, &published)?;
            let publish = |state| {
                self.published.publish(state, &ChangedUsers::Any);
                self.published.clone()
            };
            let committer = Committer::new(recovered, location, mode, signal.clone(), publish)?;
            signal.check().map(|()| committer)
        };
        let opened = catch_redb_panic(open);
        // Their snapshots must not see what is written from now on.
        if let Some(files) = read_only {
            files.close();
        }
        match opened {
            Ok(mut committer) => {
                committer.back_off(now, attempt.history);
                self.fault_state.set_read_only(false);
                self.fault_state.recover(signal);
                tracing::info!("store recovered: writes are accepted again");
                State::Open(Box::new(committer))
            }
            Err(error) => {
                tracing::warn!(
                    %error, retry_in = ?attempt.delay, "cannot reopen the store after a fault"
                );
                self.reopen_for_reading(attempt.next(now))
            }
        }
    }

    /// Opens the files for reading only, if that is possible.
    fn reopen_for_reading(&self, attempt: Attempt) -> State {
        let seen = self.published.load_full();
        let (location, mode) = (&self.location, self.mode);
        let signal = self.fault_state.next_signal();
        let opened = catch_redb_panic(|| ReadOnlyFiles::open(location, &signal, mode, Some(&seen)));
        drop(seen);
        match opened {
            Ok((files, state)) => {
                // A caller that sees a read-only store must see what its files contain.
                self.published.publish(state, &ChangedUsers::Any);
                self.fault_state.set_read_only(true);
                tracing::warn!("store is read-only until its files can be written");
                State::ReadOnly(files, attempt)
            }
            Err(error) => {
                self.fault_state.set_read_only(false);
                tracing::warn!(%error, "cannot open the store for reading after a fault");
                State::Reopening(attempt)
            }
        }
    }

    /// [`Committer::close`]. The WAL contains what was acknowledged if the tables cannot be
    /// written.
    pub(crate) fn close(self) -> Result<()> {
        match self.state {
            State::Open(committer) => committer.close(),
            State::Reopening(_) => self.fault_state.check(),
            State::ReadOnly(files, _) => {
                files.close();
                self.fault_state.check()
            }
            State::ReadOnlyByChoice(files) => {
                files.close();
                Ok(())
            }
        }
    }
}

/// Opens the store for reading only, after opening it for writing failed with `error`.
///
/// # Errors
/// `error` if the store cannot be read either, [`Error::InUse`] if another process writes it.
fn open_for_reading(
    location: &StoreLocation,
    mode: CommitMode,
    fault_state: &FaultState,
    error: Error,
) -> Result<(ReadOnlyFiles, CommittedState)> {
    if location.without_wal || !may_be_readable(&error) || !location.vfs.exists(&location.path)? {
        return Err(error);
    }
    let signal = fault_state.next_signal();
    let opened = catch_redb_panic(|| ReadOnlyFiles::open(location, &signal, mode, None));
    let opened = match opened {
        Ok(opened) => opened,
        Err(in_use @ Error::InUse { .. }) => return Err(in_use),
        Err(_) => return Err(error),
    };
    tracing::warn!(%error, "store is read-only until its files can be written");
    let fault = error.into_io();
    fault_state.signal().report(|| fault);
    fault_state.set_read_only(true);
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryVfs;
    use crate::model::index_family::IndexFamilies;
    use crate::options::StoreOptions;

    fn open(now: Instant) -> Supervisor {
        let vfs = Arc::new(MemoryVfs::default());
        let location = StoreLocation {
            vfs,
            path: "store".into(),
            cache_bytes: 1 << 20,
            check: false,
            without_wal: false,
            indexes: IndexFamilies::NONE,
        };
        Supervisor::open(location, StoreOptions::default().commit_mode(), now).unwrap()
    }

    #[test]
    fn a_fault_refuses_writes_until_the_files_are_reopened() {
        let now = Instant::now();
        let mut supervisor = open(now);
        assert_eq!(supervisor.next_deadline(now), None);
        supervisor.report_panic("a test");
        assert!(matches!(supervisor.run(|_| ()), Err(Error::WriteAborted { .. })));
        assert_eq!(supervisor.next_deadline(now), Some(now));
        supervisor.run_maintenance(now);
        supervisor.run(|_| ()).unwrap();
        supervisor.commit(now).unwrap();
        let fault = supervisor.fault_state().last_fault().unwrap();
        assert_eq!(fault.to_string(), "a test");
        supervisor.close().unwrap();
    }

    #[test]
    fn attempts_to_reopen_back_off() {
        let now = Instant::now();
        let mut supervisor = open(now);
        let path = supervisor.location.path.clone();
        let hidden = path.with_extension("hidden");
        supervisor.location.vfs.rename(&path, &hidden).unwrap();
        supervisor.report_panic("a test");
        supervisor.run_maintenance(now);
        let mut at = now;
        for delay in [1, 2, 4, 8] {
            let next = supervisor.next_deadline(at).unwrap();
            assert_eq!(next, at + Duration::from_millis(delay));
            at = next;
            supervisor.run_maintenance(at);
        }
        supervisor.location.vfs.rename(&hidden, &path).unwrap();
        at = supervisor.next_deadline(at).unwrap();
        supervisor.run_maintenance(at);
        assert!(supervisor.run(|_| ()).is_ok());
    }
}
