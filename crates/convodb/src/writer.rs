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

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Once it is on disk.
    #[default]
    Immediate,
    /// Once it can be read; it reaches the disk with the next immediate commit or when the store
    /// is closed. A crash loses what was not on disk, whole commits at a time. For tests and for
    /// loads that can be repeated.
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

    /// Queues a write and gives the ticket to wait with.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Ticket<T>> {
        if thread::current().id() == self.thread_id {
            return Err(Error::NestedWrite);
        }
        let (reply, answer) = sync_channel(1);
        let pending = Box::new(Pending { write: Some(write), outcome: None, reply });
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = queue.as_ref().ok_or(Error::Closed)?;
        match sender.try_send(Command::Write(pending)) {
            Ok(()) => Ok(Ticket { answer }),
            Err(TrySendError::Full(_)) => Err(Error::QueueFull),
            Err(TrySendError::Disconnected(_)) => Err(Error::Closed),
        }
    }

    /// Finishes what is queued, closes the database, and tells how that went.
    pub(crate) fn close(&self) -> Result<()> {
        let sender = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(sender) = sender else {
            return Err(Error::Closed);
        };
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
        Some(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Who wants to know calls `close`.
        let _ = self.join();
    }
}

/// The answer to a write, once its group is committed.
pub(crate) struct Ticket<T> {
    answer: Receiver<Outcome<T>>,
}

impl<T> Ticket<T> {
    /// Waits until the write is durable, or refused.
    pub(crate) fn wait(self) -> Result<T> {
        match self.answer.recv() {
            Ok(Outcome::Done(result)) => result,
            Ok(Outcome::Panicked(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::Closed),
        }
    }
}

enum Outcome<T> {
    Done(Result<T>),
    Panicked(Box<dyn Any + Send>),
}

/// A queued write, whatever it gives back.
trait Write: Send {
    /// Runs the write. `false` when its group must be given up.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> bool;
    /// Answers, with what became of the commit.
    fn answer(self: Box<Self>, commit: Result<(), &Error>);
}

struct Pending<F, T> {
    write: Option<F>,
    outcome: Option<Outcome<T>>,
    reply: SyncSender<Outcome<T>>,
}

impl<F, T> Write for Pending<F, T>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T> + Send,
    T: Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> bool {
        let Some(write) = self.write.take() else {
            return true;
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| write(transaction))) {
            Ok(result) => Outcome::Done(result),
            Err(panic) => Outcome::Panicked(panic),
        };
        let sound = match &outcome {
            Outcome::Done(Ok(_)) => {
                transaction.keep();
                true
            }
            Outcome::Done(Err(error)) => !error.is_fault() && transaction.rollback().is_ok(),
            Outcome::Panicked(_) => false,
        };
        self.outcome = Some(outcome);
        sound
    }

    fn answer(self: Box<Self>, commit: Result<(), &Error>) {
        let outcome = match (self.outcome, commit) {
            (Some(Outcome::Done(Ok(_))) | None, Err(fault)) => {
                Outcome::Done(Err(commit_failed(fault)))
            }
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Outcome::Done(Err(Error::Closed)),
        };
        // A caller that no longer waits needs no answer.
        let _ = self.reply.send(outcome);
    }
}

/// What a write is told whose group met `fault`.
fn commit_failed(fault: &Error) -> Error {
    let kind = match fault {
        Error::Io(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    Error::CommitFailed { kind, why: fault.to_string() }
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
        let committed = run_group(&database, &mut group, queue, current, mode, &mut open);
        for write in group {
            write.answer(committed.as_ref().copied());
        }
    }
    if mode.durability == Durability::Deferred {
        // An empty immediate commit carries all deferred ones to disk.
        database.begin_write()?.commit()?;
    }
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
    let mut transaction = Transaction::open(&write, &view.fingerprinter)?;
    let mut next = 0;
    while next < group.len() {
        if !group[next].run(&mut transaction) {
            return Err(Error::Storage("a write of the same group met a fault".to_owned()));
        }
        next += 1;
        if group.len() < MAX_GROUP && *open {
            match queue.try_recv() {
                Ok(Command::Write(write)) => group.push(write),
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => *open = false,
                Err(TryRecvError::Empty) => {}
            }
        }
    }
    transaction.flush()?;
    write.commit()?;
    current.store(Arc::new(View::open(database)?));
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
