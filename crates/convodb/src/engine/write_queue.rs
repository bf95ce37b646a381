//! The one writer: a thread that takes writes from a bounded queue and commits those that wait
//! together as one group. While one group is being made durable the next one gathers in the queue,
//! so concurrent writers share the price of a commit.
//!
//! A write that fails, or panics, is taken back alone. When the commit fails, nothing of its group
//! is acknowledged. While the store has a fault, writes are refused before they are queued.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use redb::WriteTransaction;

use crate::engine::supervisor::Supervisor;
use crate::error::{Error, Result};
use crate::io::fault::{FaultState, StoreState};
use crate::tables::state::CommittedState;
use crate::transaction::Transaction;

/// The most writes of one group.
const MAX_GROUP: usize = 1024;
/// What is told when the writer's thread panics outside a caller's closure.
const PANICKED: &str = "the writer panicked";

/// The way to the writer's thread. Dropping it waits until all queued writes are done and the
/// database is closed.
pub(crate) struct WriteQueue {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
    thread_id: ThreadId,
    queue_depth: usize,
    fault_state: Arc<FaultState>,
}

/// The way into the queue, until the store is closed.
type Queue = Mutex<Option<SyncSender<Command>>>;

/// A write that goes straight into the tables.
type WriteThrough = Box<dyn FnOnce(&mut Supervisor) + Send>;

enum Command {
    Write(Box<dyn Write>),
    WriteThrough(WriteThrough),
    /// Something happened that the supervisor has to look at.
    Wake,
    Close,
}

impl WriteQueue {
    /// Starts the writer.
    pub(crate) fn start(supervisor: Supervisor, queue_depth: usize) -> Result<Self> {
        let queue_depth = queue_depth.max(1);
        let (sender, receiver) = sync_channel(queue_depth);
        let queue = Arc::new(Queue::new(Some(sender)));
        let fault_state = supervisor.fault_state().clone();
        // The files, which the thread has, ring the bell; so it must not keep the queue alive.
        let called = Arc::downgrade(&queue);
        fault_state.set_waker(move || {
            let Some(queue) = called.upgrade() else { return };
            if let Some(sender) = &*queue.lock().unwrap_or_else(PoisonError::into_inner) {
                // With a full queue the thread is awake, and looks after each group.
                let _ = sender.try_send(Command::Wake);
            }
        });
        let work = move || run(supervisor, &receiver);
        let thread = thread::Builder::new().name("convodb-writer".to_owned()).spawn(work)?;
        let thread_id = thread.thread().id();
        Ok(Self { queue, thread: Mutex::new(Some(thread)), thread_id, queue_depth, fault_state })
    }

    /// Runs a write and waits until it is durable, or refused. A full queue refuses it.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.enqueue(write, move |outcome| {
            // A caller that no longer waits needs no answer.
            let _ = reply.send(outcome);
        })?;
        wait(&answer)
    }

    /// Queues a write, of which `answered` is told on the writer's thread. A full queue refuses it.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
        answered: impl FnOnce(thread::Result<Result<T>>) + Send + 'static,
    ) -> Result<()> {
        self.enqueue(write, move |outcome| {
            let outcome = match outcome {
                Outcome::Done(result) => Ok(result),
                Outcome::Panicked(panic) => Err(panic),
            };
            // The writer goes on, whatever becomes of those that it tells.
            let _ = catch_unwind(AssertUnwindSafe(|| answered(outcome)));
        })
    }

    /// How many writes may wait.
    pub(crate) const fn queue_depth(&self) -> usize {
        self.queue_depth
    }

    fn enqueue<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
        reply: impl FnOnce(Outcome<T>) + Send + 'static,
    ) -> Result<()> {
        self.fault_state.check()?;
        let pending = Box::new(Pending { write: Some(write), outcome: None, reply });
        match self.sender()?.try_send(Command::Write(pending)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Error::QueueFull),
            Err(TrySendError::Disconnected(_)) => Err(Error::Closed),
        }
    }

    /// Runs a write that goes straight into the tables. It is too dear to be refused, and waits for
    /// its place in the queue too.
    pub(crate) fn write_through<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.fault_state.check()?;
        let direct: WriteThrough = Box::new(move |supervisor| {
            let run = AssertUnwindSafe(|| supervisor.write_through(write));
            let outcome = catch_unwind(run).map_or_else(Outcome::Panicked, Outcome::Done);
            // A caller that no longer waits needs no answer.
            let _ = reply.send(outcome);
        });
        self.sender()?.send(Command::WriteThrough(direct)).map_err(|_| Error::Closed)?;
        wait(&answer)
    }

    /// The way into the queue, for any thread but the one that empties it.
    fn sender(&self) -> Result<SyncSender<Command>> {
        if thread::current().id() == self.thread_id {
            return Err(Error::NestedWrite);
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.clone().ok_or(Error::Closed)
    }

    /// Whether the store takes writes.
    pub(crate) fn state(&self) -> StoreState {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = thread.as_ref().is_some_and(|thread| !thread.is_finished());
        match queue.is_some() && runs {
            false => StoreState::Closed,
            true if self.fault_state.check().is_err() => StoreState::Reopening,
            true => StoreState::Open,
        }
    }

    /// Finishes what is queued, closes the database, and tells how that went.
    pub(crate) fn close(&self) -> Result<()> {
        let sender = self.sender()?;
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A queue that nobody reads any more is as good as closed.
        let _ = sender.send(Command::Close);
        drop(sender);
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
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Who wants to know calls `close`.
        let _ = self.join();
    }
}

/// Waits for the answer to a write.
fn wait<T>(answer: &Receiver<Outcome<T>>) -> Result<T> {
    match answer.recv() {
        Ok(Outcome::Done(result)) => result,
        Ok(Outcome::Panicked(panic)) => resume_unwind(panic),
        // The thread ended with the write in hand.
        Err(_) => Err(Error::CommitUnknown {
            kind: io::ErrorKind::Other,
            why: "the writer stopped".to_owned(),
        }),
    }
}

enum Outcome<T> {
    Done(Result<T>),
    Panicked(Box<dyn Any + Send>),
}

/// A queued write, whatever it gives back.
trait Write: Send {
    /// Runs the write; one that fails leaves nothing behind.
    fn run(&mut self, transaction: &mut Transaction<'_>);
    /// Answers, with what became of the group.
    fn answer(self: Box<Self>, group: Result<(), &Error>);
}

struct Pending<F, T, R> {
    write: Option<F>,
    outcome: Option<Outcome<T>>,
    /// Called once, with what became of the write.
    reply: R,
}

impl<F, T, R> Write for Pending<F, T, R>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T> + Send,
    T: Send,
    R: FnOnce(Outcome<T>) + Send,
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
            // What it was told may be of writes before it that are gone with the group.
            (Some(Outcome::Done(_)) | None, Err(fault)) => Outcome::Done(Err(again(fault))),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Outcome::Done(Err(Error::Closed)),
        };
        (self.reply)(outcome);
    }
}

/// The error of a group, for one more of its writes.
fn again(fault: &Error) -> Error {
    let (kind, why) = (fault.io_kind(), fault.to_string());
    match fault {
        Error::WriteAborted { why, .. } => Error::WriteAborted { kind, why: why.clone() },
        Error::CommitUnknown { why, .. } => Error::CommitUnknown { kind, why: why.clone() },
        _ => Error::CommitUnknown { kind, why },
    }
}

/// The writer's thread.
fn run(mut supervisor: Supervisor, queue: &Receiver<Command>) -> Result<()> {
    let mut upcoming = None;
    loop {
        let command = match upcoming.take() {
            Some(command) => command,
            None => match next(queue, &mut supervisor) {
                Some(command) => command,
                None => break,
            },
        };
        match command {
            Command::Write(write) => upcoming = run_and_answer(&mut supervisor, write, queue),
            Command::WriteThrough(direct) => direct(&mut supervisor),
            Command::Wake => {}
            Command::Close => break,
        }
        run_maintenance(&mut supervisor);
    }
    supervisor.close()
}

/// As [`Supervisor::run_maintenance`]; a panic in it is a fault as any other.
fn run_maintenance(supervisor: &mut Supervisor) {
    if catch_unwind(AssertUnwindSafe(|| supervisor.run_maintenance())).is_err() {
        supervisor.panicked(PANICKED);
    }
}

/// The next command; none when the store is no longer used. Tends to the tail meanwhile.
fn next(queue: &Receiver<Command>, supervisor: &mut Supervisor) -> Option<Command> {
    loop {
        let Some(rest) = supervisor.next_deadline() else { return queue.recv().ok() };
        match queue.recv_timeout(rest) {
            Ok(command) => return Some(command),
            Err(RecvTimeoutError::Timeout) => run_maintenance(supervisor),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Runs a group that begins with `first`, and answers it. Gives the command that ended it.
fn run_and_answer(
    supervisor: &mut Supervisor,
    first: Box<dyn Write>,
    queue: &Receiver<Command>,
) -> Option<Command> {
    let mut group = vec![first];
    let work = || run_group(supervisor, &mut group, queue);
    let (committed, upcoming) = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        // What the panic left behind is not to be trusted; opening the files again is.
        supervisor.panicked(PANICKED);
        let why = PANICKED.to_owned();
        (Err(Error::CommitUnknown { kind: io::ErrorKind::Other, why }), None)
    });
    for write in group {
        // The writer goes on, whatever becomes of what a caller gave it and of its answer.
        let _ = catch_unwind(AssertUnwindSafe(|| write.answer(committed.as_ref().copied())));
    }
    upcoming
}

/// Runs the first write and those that wait behind it, and commits them together. Gives what came
/// of it, and the command that ended the group where it is no write.
fn run_group(
    supervisor: &mut Supervisor,
    group: &mut Vec<Box<dyn Write>>,
    queue: &Receiver<Command>,
) -> (Result<()>, Option<Command>) {
    let upcoming = supervisor.run(|transaction| {
        let mut next = 0;
        while let Some(write) = group.get_mut(next) {
            write.run(transaction);
            next += 1;
            if group.len() < MAX_GROUP {
                match queue.try_recv() {
                    Ok(Command::Write(write)) => group.push(write),
                    Ok(other) => return Some(other),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
                }
            }
        }
        None
    });
    match upcoming {
        Ok(upcoming) => (supervisor.commit(), upcoming),
        Err(refused) => (Err(refused), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its own error may come from what writes before it in the group did, which is gone.
    #[test]
    fn all_writes_of_a_group_that_failed_are_told_so() {
        let fault = Error::WriteAborted { kind: io::ErrorKind::Other, why: "a fault".to_owned() };
        for result in [Ok(()), Err(Error::ConversationNotFound)] {
            let (reply, answer) = sync_channel(1);
            let reply = move |outcome| reply.send(outcome).unwrap();
            let write = None::<fn(&mut Transaction<'_>) -> Result<()>>;
            let pending = Pending { write, outcome: Some(Outcome::Done(result)), reply };
            Box::new(pending).answer(Err(&fault));
            assert!(matches!(wait(&answer), Err(Error::WriteAborted { .. })));
        }
    }
}
