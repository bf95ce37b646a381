//! Keeps a committer at work. When its files meet a fault, they are closed with all that is unsure,
//! opened again, and the log is read again: then the next committer goes on, for the same readers.
//! The writer's thread does all of it; checkpoints end before the files are closed.
//!
//! ```text
//!          a fault raises the alarm                 closed
//!   open -----------------------------> reopening ----------> closed
//!    ^                                    |   |
//!    '------------- it went well ---------'   '-- it did not: again after a pause, which doubles
//! ```
//!
//! While files are reopened writes are refused at once, and readers have the last view, which
//! answers from what is in memory until there is the next. Nothing that a failed sync was about is
//! shown, or built upon, before it is synced again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::WriteTransaction;

use crate::engine::admission::FailureHistory;
use crate::engine::committer::Committer;
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result};
use crate::io::fault::FaultState;
use crate::kv::catch_panic::catch_redb_panic;
use crate::options::CommitMode;
use crate::tables::state::{CommittedState, Published};
use crate::transaction::Transaction;

/// The pause after the first opening that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// See the head of this file.
pub(crate) struct Supervisor {
    state: State,
    /// None for a store in memory, which has nothing to be opened again.
    location: Option<StoreLocation>,
    mode: CommitMode,
    fault_state: Arc<FaultState>,
    current: Arc<Published>,
}

enum State {
    Open(Box<Committer>),
    Reopening {
        failures: FailureHistory,
        next: Instant,
        pause: Duration,
    },
    /// A committer in memory that met a fault.
    Lost,
}

impl Supervisor {
    /// Opens the store at `place`.
    pub(crate) fn open(location: StoreLocation, mode: CommitMode) -> Result<Self> {
        let fault_state = FaultState::new();
        let committer =
            catch_redb_panic(|| Committer::open(&location, mode, fault_state.fault_signal()))?;
        Ok(Self::start(committer, Some(location), mode, fault_state))
    }

    /// Makes a store in memory.
    pub(crate) fn in_memory(cache_bytes: usize, mode: CommitMode) -> Result<Self> {
        let fault_state = FaultState::new();
        let committer = Committer::in_memory(cache_bytes, mode, fault_state.fault_signal())?;
        Ok(Self::start(committer, None, mode, fault_state))
    }

    fn start(
        committer: Committer,
        location: Option<StoreLocation>,
        mode: CommitMode,
        fault_state: Arc<FaultState>,
    ) -> Self {
        let current = committer.current().clone();
        Self { state: State::Open(Box::new(committer)), location, mode, fault_state, current }
    }

    /// What readers see, now and after each commit.
    pub(crate) fn current(&self) -> &Arc<Published> {
        &self.current
    }

    pub(crate) fn fault_state(&self) -> &Arc<FaultState> {
        &self.fault_state
    }

    /// The committer, if the store takes writes.
    ///
    /// # Errors
    /// [`Error::WriteAborted`].
    fn committer(&mut self) -> Result<&mut Committer> {
        self.fault_state.check()?;
        match &mut self.state {
            State::Open(committer) => Ok(committer),
            // Only after the alarm, which was told above.
            State::Reopening { .. } | State::Lost => Err(Error::Closed),
        }
    }

    /// As [`Committer::run`].
    ///
    /// # Errors
    /// [`Error::WriteAborted`], and nothing was run.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&mut Transaction<'_>) -> T) -> Result<T> {
        Ok(self.committer()?.run(work))
    }

    /// As [`Committer::commit`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn commit(&mut self) -> Result<()> {
        match &mut self.state {
            // It takes the group back where it cannot be committed.
            State::Open(committer) => committer.commit(),
            State::Reopening { .. } | State::Lost => self.fault_state.check(),
        }
    }

    /// As [`Committer::write_through`].
    ///
    /// # Errors
    /// As there, and [`Error::WriteAborted`].
    pub(crate) fn write_through<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T>,
    ) -> Result<T> {
        self.committer()?.write_through(work)
    }

    /// Gives up what a panic left behind.
    pub(crate) fn panicked(&self, why: &str) {
        self.fault_state.fault_signal().report(io::ErrorKind::Other, || why.to_owned());
    }

    /// How long the writer may sleep before [`Supervisor::run_maintenance`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Open(_) if self.fault_state.fault_signal().is_reported() => Some(Duration::ZERO),
            State::Open(committer) => committer.next_deadline(),
            State::Reopening { next, .. } => Some(next.saturating_duration_since(Instant::now())),
            State::Lost => None,
        }
    }

    /// Tends to checkpoints, and opens the files again when it is time.
    pub(crate) fn run_maintenance(&mut self) {
        if let State::Open(committer) = &mut self.state {
            committer.run_maintenance();
        }
        if self.fault_state.fault_signal().is_reported() {
            self.shut_down();
        }
        if let State::Reopening { failures, next, pause } = self.state
            && Instant::now() >= next
        {
            self.state = self.reopen(failures, pause);
        }
    }

    /// Closes the files of a committer that met a fault.
    fn shut_down(&mut self) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        if let State::Open(committer) = std::mem::replace(&mut self.state, State::Lost)
            && self.location.is_some()
        {
            let failures = committer.shut_down_after_fault();
            self.state = State::Reopening { failures, next: Instant::now(), pause: FIRST_PAUSE };
        }
    }

    fn reopen(&self, failures: FailureHistory, pause: Duration) -> State {
        let Some(location) = &self.location else { return State::Lost };
        let fault_signal = self.fault_state.next_signal();
        let open = || {
            let current = self.current.clone();
            let committer =
                Committer::reopen(location, self.mode, fault_signal.clone(), current, failures)?;
            fault_signal.check().map(|()| committer)
        };
        match catch_redb_panic(open) {
            Ok(committer) => {
                self.fault_state.recover(fault_signal);
                State::Open(Box::new(committer))
            }
            Err(_) => State::Reopening {
                failures,
                next: Instant::now() + pause,
                pause: (pause * 2).min(LAST_PAUSE),
            },
        }
    }

    /// As [`Committer::close`]. What was acknowledged is in the log where the tables cannot have it.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn close(self) -> Result<()> {
        match self.state {
            State::Open(committer) => committer.close(),
            State::Reopening { .. } | State::Lost => self.fault_state.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::write_queue::WriteQueue;
    use crate::options::Durability;

    #[test]
    fn after_a_fault_nothing_is_taken_and_everyone_can_see_it() {
        let mode = CommitMode {
            durability: Durability::Immediate,
            memtable_bytes: 1 << 20,
            row_cache_bytes: 0,
            fast_recovery: false,
        };
        for faulty in [false, true] {
            let supervisor = Supervisor::in_memory(1 << 20, mode).unwrap();
            if faulty {
                supervisor.panicked("a torn page");
            }
            let writer = WriteQueue::start(supervisor, 1).unwrap();
            assert_eq!(writer.state() == crate::io::fault::StoreState::Open, !faulty);
            let refused = matches!(writer.write(|_| Ok(())), Err(Error::WriteAborted { .. }));
            assert_eq!(refused, faulty);
        }
    }
}
