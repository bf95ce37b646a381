//! Write queue: one writer thread takes writes from a bounded queue and commits them in groups.
//!
//! While one group is made durable, the next one gathers in the queue, so concurrent writers share
//! the cost of a commit. Users are taken in turn, and a group ends after a bounded number of
//! changes, so nobody's backlog delays the writes of others. A write that fails or panics is rolled back alone. If the commit fails, no
//! write of the group is acknowledged. While the store has a fault, writes are refused before they
//! are queued.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use redb::WriteTransaction;

use crate::engine::fair_queue::{FairQueue, Popped, PushError, Reader};
use crate::engine::supervisor::Supervisor;
use crate::error::{Error, Result};
use crate::io::fault::{FaultState, StoreState};
use crate::metrics::MetricsRegistry;
use crate::model::id::UserId;
use crate::tables::state::CommittedState;
use crate::transaction::Transaction;

/// The maximum number of writes in a group.
const MAX_GROUP: usize = 1024;
/// A group with at least this many changes of entries takes no further write: about as many as
/// `MAX_GROUP` inserts have.
const MAX_GROUP_CHANGES: usize = 16 * 1024;
/// The fault after a panic of the writer thread outside a caller's closure.
const PANICKED: &str = "the writer thread panicked";

/// A handle to the writer thread. Dropping it waits until all queued writes are done and the files
/// are closed.
pub(crate) struct WriteQueue {
    queue: Arc<FairQueue<Command>>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
    thread_id: ThreadId,
    fault_state: Arc<FaultState>,
    metrics: Arc<MetricsRegistry>,
}

/// A write that bypasses the memtables.
type WriteThrough = Box<dyn FnOnce(&mut Supervisor) + Send>;

enum Command {
    Write(Box<dyn Write>),
    WriteThrough(WriteThrough),
}

impl WriteQueue {
    /// Starts the writer thread with a queue of `depth` writes.
    pub(crate) fn start(supervisor: Supervisor, depth: usize) -> Result<Self> {
        let (queue, reader) = FairQueue::new(depth);
        let fault_state = supervisor.fault_state().clone();
        let metrics = supervisor.published().load().tables.metrics().clone();
        let waker = queue.clone();
        fault_state.set_waker(move || waker.wake());
        let work = move || run(supervisor, &reader);
        let thread = thread::Builder::new().name("convodb-writer".to_owned()).spawn(work)?;
        let thread_id = thread.thread().id();
        Ok(Self { queue, thread: Mutex::new(Some(thread)), thread_id, fault_state, metrics })
    }

    /// Runs a write and waits until it is durable or has failed. Fails if the queue is full.
    pub(crate) fn write<T, E>(
        &self,
        user: Option<UserId>,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = sync_channel(1);
        self.enqueue(user, write, move |outcome| {
            // The caller may be gone.
            let _ = reply.send(outcome);
        })?;
        wait(&answer)
    }

    /// Queues a write; `answered` receives its outcome on the writer thread. Fails if the queue is
    /// full.
    pub(crate) fn submit<T, E>(
        &self,
        user: Option<UserId>,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        answered: impl FnOnce(thread::Result<Result<T, E>>) + Send + 'static,
    ) -> Result<()>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.enqueue(user, write, move |outcome| {
            let outcome = match outcome {
                Outcome::Done(result) => Ok(result),
                Outcome::Panicked(panic) => Err(panic),
            };
            // A panicking callback must not stop the writer.
            let _ = catch_unwind(AssertUnwindSafe(|| answered(outcome)));
        })
    }

    /// The capacity of the queue.
    pub(crate) fn depth(&self) -> usize {
        self.queue.depth()
    }

    fn enqueue<T, E>(
        &self,
        user: Option<UserId>,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        reply: impl FnOnce(Outcome<T, E>) + Send + 'static,
    ) -> Result<()>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.check_thread()?;
        self.fault_state.check()?;
        let waiting = self.metrics.wait();
        let reply = move |outcome| {
            drop(waiting);
            reply(outcome);
        };
        let pending = Box::new(Pending { write: Some(write), outcome: None, reply });
        match self.queue.try_push(user, Command::Write(pending)) {
            Ok(()) => Ok(()),
            Err(PushError::Full) => {
                self.metrics.refused.fetch_add(1, Ordering::Relaxed);
                Err(Error::QueueFull)
            }
            Err(PushError::Closed) => Err(Error::Closed),
        }
    }

    /// Runs a write that bypasses the memtables. It is too expensive to be refused and waits for a
    /// place in the queue.
    pub(crate) fn write_through<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.check_thread()?;
        self.fault_state.check()?;
        let write: WriteThrough = Box::new(move |supervisor| {
            let run = AssertUnwindSafe(|| supervisor.write_through(write));
            let outcome = catch_unwind(run).map_or_else(Outcome::Panicked, Outcome::Done);
            // The caller may be gone.
            let _ = reply.send(outcome);
        });
        let pushed = self.queue.push_when_free(None, Command::WriteThrough(write));
        pushed.map_err(|_| Error::Closed)?;
        wait(&answer)
    }

    /// Fails on the thread that empties the queue, which must not wait for itself.
    fn check_thread(&self) -> Result<()> {
        if thread::current().id() == self.thread_id {
            return Err(Error::NestedWrite);
        }
        Ok(())
    }

    /// Whether the store accepts writes.
    pub(crate) fn state(&self) -> StoreState {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = thread.as_ref().is_some_and(|thread| !thread.is_finished());
        match runs && !self.queue.is_closed() {
            false => StoreState::Closed,
            true => self.fault_state.state(),
        }
    }

    /// The fault state of the store.
    pub(crate) fn fault_state(&self) -> &FaultState {
        &self.fault_state
    }

    /// Finishes queued writes and closes the files.
    ///
    /// # Errors
    /// [`Error::Closed`] if the store was closed before, or the error of closing the files.
    pub(crate) fn close(&self) -> Result<()> {
        self.check_thread()?;
        if !self.queue.close() {
            return Err(Error::Closed);
        }
        self.join().unwrap_or(Err(Error::Closed))
    }

    fn join(&self) -> Option<Result<()>> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // The last owner of the store may be a write, which must not wait for itself.
        if thread::current().id() == self.thread_id {
            return None;
        }
        Some(thread.join().unwrap_or_else(|_| Err(Error::Storage(PANICKED.to_owned()))))
    }
}

impl Drop for WriteQueue {
    fn drop(&mut self) {
        self.queue.close();
        // A caller that needs the error calls `close`.
        let _ = self.join();
    }
}

/// Waits for the outcome of a write.
fn wait<T, E: From<Error>>(answer: &Receiver<Outcome<T, E>>) -> Result<T, E> {
    match answer.recv() {
        Ok(Outcome::Done(result)) => result,
        Ok(Outcome::Panicked(panic)) => resume_unwind(panic),
        // The thread ended during the write.
        Err(_) => Err(Error::commit_unknown("the writer thread stopped").into()),
    }
}

enum Outcome<T, E> {
    Done(Result<T, E>),
    Panicked(Box<dyn Any + Send>),
}

/// A queued write, whatever its type of result.
trait Write: Send {
    /// Runs the write, and rolls it back if it fails.
    fn run(&mut self, transaction: &mut Transaction<'_>);
    /// Answers the caller, with the result of the group's commit.
    fn answer(self: Box<Self>, group: Result<(), &Error>);
}

struct Pending<F, T, E, R> {
    write: Option<F>,
    outcome: Option<Outcome<T, E>>,
    /// Called once, with the outcome.
    reply: R,
}

impl<F, T, E, R> Write for Pending<F, T, E, R>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
    R: FnOnce(Outcome<T, E>) + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) {
        let Some(write) = self.write.take() else { return };
        let outcome = match catch_unwind(AssertUnwindSafe(|| write(transaction))) {
            Ok(result) => Outcome::Done(result),
            Err(panic) => Outcome::Panicked(panic),
        };
        match outcome {
            Outcome::Done(Ok(_)) => transaction.savepoint(),
            _ => transaction.rollback_to_savepoint(),
        }
        self.outcome = Some(outcome);
    }

    fn answer(self: Box<Self>, group: Result<(), &Error>) {
        let outcome = match (self.outcome, group) {
            // Even an error of the write may result from earlier writes of the failed group.
            (Some(Outcome::Done(_)) | None, Err(fault)) => {
                Outcome::Done(Err(E::from(of_group(fault))))
            }
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Outcome::Done(Err(E::from(Error::Closed))),
        };
        (self.reply)(outcome);
    }
}

/// The error of a write whose group failed with `fault`.
fn of_group(fault: &Error) -> Error {
    match fault {
        Error::WriteAborted { .. } | Error::CommitUnknown { .. } | Error::ReadOnly => fault.clone(),
        fault => Error::CommitUnknown { source: fault.clone().into_io() },
    }
}

/// The writer thread. It is the only place of the write engine that reads a clock.
fn run(mut supervisor: Supervisor, queue: &Reader<Command>) -> Result<()> {
    let mut upcoming = None;
    loop {
        let command = match upcoming.take() {
            Some(command) => Popped::Item(command),
            None => {
                let now = Instant::now();
                let deadline = supervisor.next_deadline(now);
                queue.pop(deadline.map(|deadline| deadline.saturating_duration_since(now)))
            }
        };
        match command {
            Popped::Item(Command::Write(write)) => {
                upcoming = run_and_answer(&mut supervisor, write, queue);
            }
            Popped::Item(Command::WriteThrough(write)) => write(&mut supervisor),
            Popped::Woken => {}
            Popped::Closed => break,
        }
        run_maintenance(&mut supervisor);
    }
    supervisor.close()
}

/// [`Supervisor::run_maintenance`]; a panic in it is a fault like any other.
fn run_maintenance(supervisor: &mut Supervisor) {
    let work = || supervisor.run_maintenance(Instant::now());
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        supervisor.report_panic(PANICKED);
    }
}

/// Runs a group that starts with `first` and answers its writes. Returns the command that ended it.
fn run_and_answer(
    supervisor: &mut Supervisor,
    first: Box<dyn Write>,
    queue: &Reader<Command>,
) -> Option<Command> {
    let mut group = vec![first];
    let work = || run_group(supervisor, &mut group, queue);
    let (committed, upcoming) = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        // The state in memory cannot be trusted after a panic; reopened files can.
        supervisor.report_panic(PANICKED);
        (Err(Error::commit_unknown(PANICKED)), None)
    });
    for write in group {
        // A panicking drop or callback of a caller must not stop the writer.
        let _ = catch_unwind(AssertUnwindSafe(|| write.answer(committed.as_ref().copied())));
    }
    upcoming
}

/// Runs the first write and those queued behind it, and commits them together. Returns the result
/// of the commit, and the command that ended the group if it is not a write.
fn run_group(
    supervisor: &mut Supervisor,
    group: &mut Vec<Box<dyn Write>>,
    queue: &Reader<Command>,
) -> (Result<()>, Option<Command>) {
    let upcoming = supervisor.run(|transaction| {
        let mut next = 0;
        while let Some(write) = group.get_mut(next) {
            write.run(transaction);
            next += 1;
            if group.len() < MAX_GROUP && transaction.group_changes() < MAX_GROUP_CHANGES {
                match queue.try_pop() {
                    Some(Command::Write(write)) => group.push(write),
                    Some(other) => return Some(other),
                    None => {}
                }
            }
        }
        None
    });
    match upcoming {
        Ok(upcoming) => (supervisor.commit(Instant::now()), upcoming),
        Err(refused) => (Err(refused), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of a write may result from earlier writes of its group, which are not stored.
    #[test]
    fn every_write_of_a_failed_group_gets_the_error_of_the_group() {
        let aborted = Error::WriteAborted { source: Error::Closed.into_io() };
        for result in [Ok(()), Err(Error::ConversationNotFound)] {
            let (reply, answer) = sync_channel(1);
            let reply = move |outcome| reply.send(outcome).unwrap();
            let write = None::<fn(&mut Transaction<'_>) -> Result<()>>;
            let pending = Pending { write, outcome: Some(Outcome::Done(result)), reply };
            Box::new(pending).answer(Err(&aborted));
            assert!(matches!(wait(&answer), Err(Error::WriteAborted { .. })));
        }
    }
}
