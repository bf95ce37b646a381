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

use crate::engine::admission::Setback;
use crate::engine::committer::Committer;
use crate::engine::store_file::Place;
use crate::error::{Error, Result};
use crate::io::fault::Health;
use crate::kv::catch_panic::unharmed;
use crate::options::CommitMode;
use crate::tables::state::{Current, View};
use crate::transaction::Transaction;

/// The pause after the first opening that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// See the head of this file.
pub(crate) struct Supervisor {
    state: State,
    /// None for a store in memory, which has nothing to be opened again.
    place: Option<Place>,
    mode: CommitMode,
    health: Arc<Health>,
    current: Arc<Current>,
}

enum State {
    Open(Box<Committer>),
    Reopening {
        setback: Setback,
        next: Instant,
        pause: Duration,
    },
    /// A committer in memory that met a fault.
    Lost,
}

impl Supervisor {
    /// Opens the store at `place`.
    pub(crate) fn open(place: Place, mode: CommitMode) -> Result<Self> {
        let health = Health::new();
        let committer = unharmed(|| Committer::open(&place, mode, health.alarm()))?;
        Ok(Self::start(committer, Some(place), mode, health))
    }

    /// Makes a store in memory.
    pub(crate) fn in_memory(cache_bytes: usize, mode: CommitMode) -> Result<Self> {
        let health = Health::new();
        let committer = Committer::in_memory(cache_bytes, mode, health.alarm())?;
        Ok(Self::start(committer, None, mode, health))
    }

    fn start(
        committer: Committer,
        place: Option<Place>,
        mode: CommitMode,
        health: Arc<Health>,
    ) -> Self {
        let current = committer.current().clone();
        Self { state: State::Open(Box::new(committer)), place, mode, health, current }
    }

    /// What readers see, now and after each commit.
    pub(crate) fn current(&self) -> &Arc<Current> {
        &self.current
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The committer, if the store takes writes.
    ///
    /// # Errors
    /// [`Error::GivenUp`].
    fn committer(&mut self) -> Result<&mut Committer> {
        self.health.check()?;
        match &mut self.state {
            State::Open(committer) => Ok(committer),
            // Only after the alarm, which was told above.
            State::Reopening { .. } | State::Lost => Err(Error::Closed),
        }
    }

    /// As [`Committer::run`].
    ///
    /// # Errors
    /// [`Error::GivenUp`], and nothing was run.
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
            State::Reopening { .. } | State::Lost => self.health.check(),
        }
    }

    /// As [`Committer::run_direct`].
    ///
    /// # Errors
    /// As there, and [`Error::GivenUp`].
    pub(crate) fn run_direct<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &View) -> Result<T>,
    ) -> Result<T> {
        self.committer()?.run_direct(work)
    }

    /// Gives up what a panic left behind.
    pub(crate) fn panicked(&self, why: &str) {
        self.health.alarm().raise(io::ErrorKind::Other, || why.to_owned());
    }

    /// How long the writer may sleep before [`Supervisor::tend`] has something to do.
    pub(crate) fn rest(&self) -> Option<Duration> {
        match &self.state {
            State::Open(_) if self.health.alarm().is_raised() => Some(Duration::ZERO),
            State::Open(committer) => committer.rest(),
            State::Reopening { next, .. } => Some(next.saturating_duration_since(Instant::now())),
            State::Lost => None,
        }
    }

    /// Tends to checkpoints, and opens the files again when it is time.
    pub(crate) fn tend(&mut self) {
        if let State::Open(committer) = &mut self.state {
            committer.tend();
        }
        if self.health.alarm().is_raised() {
            self.give_up();
        }
        if let State::Reopening { setback, next, pause } = self.state
            && Instant::now() >= next
        {
            self.state = self.reopen(setback, pause);
        }
    }

    /// Closes the files of a committer that met a fault.
    fn give_up(&mut self) {
        if !matches!(self.state, State::Open(_)) {
            return;
        }
        if let State::Open(committer) = std::mem::replace(&mut self.state, State::Lost)
            && self.place.is_some()
        {
            let setback = committer.abandon();
            self.state = State::Reopening { setback, next: Instant::now(), pause: FIRST_PAUSE };
        }
    }

    fn reopen(&self, setback: Setback, pause: Duration) -> State {
        let Some(place) = &self.place else { return State::Lost };
        let alarm = self.health.next_alarm();
        let open = || {
            let current = self.current.clone();
            let committer = Committer::reopen(place, self.mode, alarm.clone(), current, setback)?;
            alarm.check().map(|()| committer)
        };
        match unharmed(open) {
            Ok(committer) => {
                self.health.recover(alarm);
                State::Open(Box::new(committer))
            }
            Err(_) => State::Reopening {
                setback,
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
            State::Reopening { .. } | State::Lost => self.health.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::write_queue::Writer;
    use crate::options::Durability;

    #[test]
    fn after_a_fault_nothing_is_taken_and_everyone_can_see_it() {
        let mode = CommitMode {
            durability: Durability::Immediate,
            tail_bytes: 1 << 20,
            row_cache_bytes: 0,
            fast_recovery: false,
        };
        for faulty in [false, true] {
            let supervisor = Supervisor::in_memory(1 << 20, mode).unwrap();
            if faulty {
                supervisor.panicked("a torn page");
            }
            let writer = Writer::start(supervisor, 1).unwrap();
            assert_eq!(writer.state() == crate::io::fault::StoreState::Open, !faulty);
            let refused = matches!(writer.write(|_| Ok(())), Err(Error::GivenUp { .. }));
            assert_eq!(refused, faulty);
        }
    }
}
