//! The one writer: a thread that owns the database, takes writes from a bounded queue, and commits
//! those that wait together as one group. While one group is being made durable the next one
//! gathers in the queue, so concurrent writers share the price of a commit.
//!
//! A write that fails is taken back alone. A fault of the store, or a panic inside a write, gives
//! up the whole group: nothing of it is acknowledged.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use arc_swap::ArcSwap;
use redb::{Database, WriteTransaction};

use crate::error::{Error, Result};
use crate::transaction::Transaction;
use crate::view::View;

/// The most writes of one group.
const MAX_GROUP: usize = 1024;
/// What is told when the writer's thread panics outside a caller's closure.
const PANICKED: &str = "the writer panicked";

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Once it is on disk.
    #[default]
    Immediate,
    /// Once it can be read; it reaches the disk when the store is closed. A crash loses what was
    /// not on disk, whole commits at a time. For tests and for loads that can be repeated.
    Deferred,
}

/// The way to the writer's thread. Dropping it waits until all queued writes are done and the
/// database is closed.
pub(crate) struct Writer {
    queue: Mutex<Option<SyncSender<Command>>>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
    thread_id: ThreadId,
}

enum Command {
    Write(Box<dyn Write>),
    Close,
}

impl Writer {
    /// Starts the writer on `database`; each commit puts its state into `current`.
    pub(crate) fn start(
        database: Database,
        current: Arc<ArcSwap<View>>,
        queue_depth: usize,
        commit: CommitMode,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(queue_depth.max(1));
        let work = move || run(database, &receiver, &current, commit);
        let thread = thread::Builder::new().name("convodb-writer".to_owned()).spawn(work)?;
        let thread_id = thread.thread().id();
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), thread_id })
    }

    /// Runs a write and waits until it is durable, or refused. A full queue refuses it.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (pending, answer) = Pending::new(write);
        match self.sender()?.try_send(Command::Write(pending)) {
            Ok(()) => wait(&answer),
            Err(TrySendError::Full(_)) => Err(Error::QueueFull),
            Err(TrySendError::Disconnected(_)) => Err(Error::Closed),
        }
    }

    /// Runs a write that is too dear to be refused: waits for its place in the queue too.
    pub(crate) fn write_patiently<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (pending, answer) = Pending::new(write);
        self.sender()?.send(Command::Write(pending)).map_err(|_| Error::Closed)?;
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

    /// Whether the writer's thread is there to take writes.
    pub(crate) fn is_alive(&self) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_some() && thread.as_ref().is_some_and(|thread| !thread.is_finished())
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

impl Drop for Writer {
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
        Err(_) => Err(Error::CommitFailed {
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
    /// Runs the write. An error when its group must be given up, for this reason.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Error>;
    /// Answers, with what became of the group.
    fn answer(self: Box<Self>, group: Result<(), &Error>);
}

struct Pending<F, T> {
    write: Option<F>,
    outcome: Option<Outcome<T>>,
    reply: SyncSender<Outcome<T>>,
}

impl<F, T> Pending<F, T> {
    fn new(write: F) -> (Box<Self>, Receiver<Outcome<T>>) {
        let (reply, answer) = sync_channel(1);
        (Box::new(Self { write: Some(write), outcome: None, reply }), answer)
    }
}

impl<F, T> Write for Pending<F, T>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T> + Send,
    T: Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Error> {
        let Some(write) = self.write.take() else { return Ok(()) };
        let outcome = match catch_unwind(AssertUnwindSafe(|| write(transaction))) {
            Ok(result) => Outcome::Done(result),
            Err(panic) => Outcome::Panicked(panic),
        };
        let sound = match &outcome {
            Outcome::Done(Ok(_)) => {
                transaction.keep();
                Ok(())
            }
            Outcome::Done(Err(error))
                if error.gives_up_group() || transaction.is_past_journal() =>
            {
                Err(given_up(error))
            }
            Outcome::Done(Err(_)) => transaction.rollback(),
            Outcome::Panicked(_) => {
                let why = "a write of the group panicked".to_owned();
                Err(Error::GivenUp { kind: io::ErrorKind::Other, why })
            }
        };
        self.outcome = Some(outcome);
        sound
    }

    fn answer(self: Box<Self>, group: Result<(), &Error>) {
        let outcome = match (self.outcome, group) {
            (Some(Outcome::Done(Ok(_))) | None, Err(fault)) => Outcome::Done(Err(again(fault))),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Outcome::Done(Err(Error::Closed)),
        };
        // A caller that no longer waits needs no answer.
        let _ = self.reply.send(outcome);
    }
}

/// What the other writes of a group are told when one of them met `fault`.
fn given_up(fault: &Error) -> Error {
    Error::GivenUp { kind: fault.io_kind(), why: fault.to_string() }
}

/// The error of a group, for one more of its writes.
fn again(fault: &Error) -> Error {
    match fault {
        Error::CommitFailed { kind, why } => Error::CommitFailed { kind: *kind, why: why.clone() },
        Error::GivenUp { kind, why } => Error::GivenUp { kind: *kind, why: why.clone() },
        other => given_up(other),
    }
}

/// How groups are committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitMode {
    pub(crate) durability: Durability,
    pub(crate) fast_recovery: bool,
}

/// The writer's thread.
fn run(
    database: Database,
    queue: &Receiver<Command>,
    current: &ArcSwap<View>,
    mode: CommitMode,
) -> Result<()> {
    let mut open = true;
    while open {
        let first = match queue.recv() {
            Ok(Command::Write(write)) => write,
            Ok(Command::Close) | Err(_) => break,
        };
        let mut group = vec![first];
        let work = || run_group(&database, &mut group, queue, current, mode, &mut open);
        let finished = catch_unwind(AssertUnwindSafe(work));
        let panicked;
        let committed = match &finished {
            Ok(committed) => committed.as_ref().copied(),
            Err(_) => {
                let why = PANICKED.to_owned();
                panicked = Error::CommitFailed { kind: io::ErrorKind::Other, why };
                Err(&panicked)
            }
        };
        for write in group {
            write.answer(committed);
        }
        if finished.is_err() {
            // What the panic left behind is not to be trusted; opening the file again is.
            return Err(Error::Storage(PANICKED.to_owned()));
        }
    }
    // Closing carries deferred commits to disk.
    Ok(database.close()?)
}

/// Runs the first write and those that wait behind it in one transaction, commits, and puts the
/// new state in the place of the old one.
fn run_group(
    database: &Database,
    group: &mut Vec<Box<dyn Write>>,
    queue: &Receiver<Command>,
    current: &ArcSwap<View>,
    mode: CommitMode,
    open: &mut bool,
) -> Result<()> {
    let write = begin(database, mode)?;
    let view = current.load();
    let mut transaction = Transaction::open(&write, view.fingerprinter())?;
    let mut next = 0;
    while next < group.len() {
        group[next].run(&mut transaction)?;
        next += 1;
        if group.len() < MAX_GROUP && *open {
            match queue.try_recv() {
                Ok(Command::Write(write)) => group.push(write),
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => *open = false,
                Err(TryRecvError::Empty) => {}
            }
        }
    }
    let keys_changed = transaction.keys_changed();
    transaction.flush()?;
    let failed =
        |error: Error| Error::CommitFailed { kind: error.io_kind(), why: error.to_string() };
    write.commit().map_err(|error| failed(error.into()))?;
    // The group is durable from here on, but a caller that cannot read its write is told so.
    let state = if keys_changed { View::open(database) } else { view.next(database) };
    current.store(Arc::new(state.map_err(failed)?));
    Ok(())
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
