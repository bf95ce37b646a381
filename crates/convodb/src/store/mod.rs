//! The store handle: open, close, write, accounts and metrics.

mod accounts;
mod indexes;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use redb::WriteTransaction;

use crate::engine::open_files::OpenFile;
use crate::engine::published::{ChangedUsers, CommitListener, Published};
use crate::engine::read_only::check_nothing_lost;
use crate::engine::store_file::StoreLocation;
use crate::engine::supervisor::Supervisor;
use crate::engine::write_queue::WriteQueue;
use crate::error::{Error, Result};
use crate::io::atomic_file::remove_leftovers;
use crate::io::fault::StoreState;
use crate::io::memory::MemoryVfs;
use crate::metrics::{Metrics, MetricsRegistry};
use crate::model::conversation::Conversation;
use crate::model::id::{ConversationId, UserId};
use crate::model::message::Message;
use crate::model::quota::Quota;
use crate::model::timestamp::Timestamp;
use crate::options::{CommitMode, StoreOptions};
use crate::snapshot::Snapshot;
use crate::tables::epochs::Epochs;
use crate::tables::erasure_marks;
use crate::tables::families::FamilyState;
use crate::tables::meta;
use crate::tables::state::CommittedState;
use crate::transaction::Transaction;
use crate::transaction::inserts::InsertProgress;

/// The most messages that one write of [`Store::delete`] or [`Store::delete_all`] removes.
pub const MAX_DELETED_MESSAGES: usize = 4096;

/// The most bytes of messages that one write of [`Store::insert`] stores, if it stores several.
pub const MAX_INSERTED_BYTES: usize = 256 << 10;

/// A store of conversations. Cheap to clone and to send; all clones are the same store, which is
/// closed when the last one is dropped.
///
/// Reads go through a [`Snapshot`] and never wait. Writes go through one writer thread, which
/// commits concurrent writes as a group; they return when they are durable.
///
/// ```
/// let store = convodb::Store::in_memory()?;
/// let same = store.clone();
/// let user = store.create_user("Acme", "2025-01-25".parse()?)?;
/// assert_eq!(same.snapshot().user(user.id)?, Some(user), "a write is visible when it returns");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    published: Arc<Published>,
    queue: WriteQueue,
    location: StoreLocation,
    mode: CommitMode,
    _open: OpenFile,
}

impl Store {
    /// Opens the store at `path` with the default options, creating it if the file does not exist.
    ///
    /// # Errors
    /// [`Error::InUse`] if this or another process has the file open; [`Error::NotAStore`],
    /// [`Error::NewerFormat`], [`Error::UnknownIndex`] and [`Error::WalMismatch`], which leave the files
    /// untouched; [`Error::Corrupted`]; or an I/O error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &StoreOptions::default())
    }

    /// Opens the store at `path`, creating it if the file does not exist.
    ///
    /// ```
    /// use convodb::{Store, StoreOptions};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("store.convodb");
    /// let options = StoreOptions::new().cache_bytes(64 << 20);
    /// let store = Store::open_with(&path, &options)?;
    /// assert!(store.snapshot().users()?.is_empty());
    /// let second = Store::open(&path).err().map(|error| error.to_string());
    /// assert!(second.is_some_and(|error| error.contains("already open in this process")));
    /// store.close()?;
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        let (vfs, path) = (options.file_system(), path.as_ref());
        // The WAL is beside the file itself, whichever link leads to it.
        let path = if vfs.exists(path)? { vfs.canonicalize(path)? } else { path.to_owned() };
        let location = StoreLocation {
            vfs: vfs.clone(),
            path,
            cache_bytes: options.page_cache_bytes(),
            check: options.checks_on_open(),
            without_wal: options.gives_up_wal(),
            indexes: options.index_families(),
        };
        let (read_only, mode) = (options.is_read_only(), options.commit_mode());
        let supervisor = match read_only {
            true => Supervisor::open_read_only(location.clone(), mode),
            false => Supervisor::open(location.clone(), mode, Instant::now()),
        };
        let supervisor = supervisor.map_err(OpenFile::explain)?;
        // A file that cannot be removed keeps no store from opening.
        if !read_only && let Err(error) = remove_leftovers(&*location.vfs, &location.path) {
            tracing::warn!(cause = %error, "cannot remove files that a crash left");
        }
        let published = supervisor.published().clone();
        // Before the writer starts, whose first checkpoint may fail and invalidate what is read here.
        for mark in erasure_marks::all(published.load().meta())? {
            let (user, since, deleted) = (mark.user.get(), mark.since, mark.deleted);
            tracing::warn!(user, %since, deleted, "an erasure is unfinished; compact the store");
        }
        let queue = WriteQueue::start(supervisor, options.queue_capacity())?;
        let open = OpenFile::register(&location);
        let store =
            Self { inner: Arc::new(Inner { published, queue, location, mode, _open: open }) };
        // Without them, the store serves everything else.
        if !read_only
            && let Err(error) = store.change_families(options.index_families(), FamilyState::added)
        {
            tracing::warn!(%error, "cannot add the indexes that were asked for");
        }
        Ok(store)
    }

    /// Opens a new store in memory, for tests: the same engine, without a disk.
    ///
    /// # Errors
    /// The system provides no random numbers or no thread.
    pub fn in_memory() -> Result<Self> {
        let options = StoreOptions::default().vfs(Arc::new(MemoryVfs::default()));
        Self::open_with("memory.convodb", &options)
    }

    /// Finishes queued writes, flushes the memtables and closes the file, for all clones. Snapshots
    /// answer from memory at most.
    ///
    /// If the memtables cannot be flushed, as on a full disk, this succeeds all the same when the
    /// files show every acknowledged write: the next opening replays the WAL.
    ///
    /// # Errors
    /// [`Error::Closed`] if the store was closed before, or the error of closing, which dropping
    /// the store would hide.
    pub fn close(self) -> Result<()> {
        let Inner { queue, location, mode, published, .. } = &*self.inner;
        match queue.close() {
            Err(error @ (Error::Closed | Error::NestedWrite)) => Err(error),
            Err(error) => check_nothing_lost(location, *mode, &published.load_full(), error),
            Ok(()) => Ok(()),
        }
    }

    /// [`Store::close`], but the tables must contain everything, and no WAL may be left.
    pub(crate) fn close_completely(self) -> Result<()> {
        self.inner.queue.close()
    }

    /// Whether the store accepts writes: it is not closed and has no fault. Reads no disk.
    ///
    /// ```
    /// let store = convodb::Store::in_memory()?;
    /// assert!(store.is_open());
    /// let same = store.clone();
    /// store.close()?;
    /// assert!(!same.is_open());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() == StoreState::Open
    }

    /// Whether the store accepts writes, and if not, why. The store recovers by itself, so retrying
    /// is enough. Reads no disk.
    ///
    /// ```
    /// use convodb::{Store, StoreState};
    /// let store = Store::in_memory()?;
    /// assert_eq!(store.state(), StoreState::Open);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> StoreState {
        self.inner.queue.state()
    }

    /// The last fault since the store was opened, if any. It stays after recovery.
    ///
    /// ```
    /// let store = convodb::Store::in_memory()?;
    /// assert!(store.last_fault().is_none());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn last_fault(&self) -> Option<Arc<io::Error>> {
        self.inner.queue.fault_state().last_fault()
    }

    pub(crate) fn location(&self) -> &StoreLocation {
        &self.inner.location
    }

    /// 32 random bytes.
    pub(crate) fn fresh_secret(&self) -> Result<meta::Secret> {
        meta::fresh_secret(&*self.location().vfs)
    }

    /// Writes the memtables into the tables, which empties the WAL.
    pub(crate) fn flush(&self) -> Result<()> {
        self.write_through(|_, _| Ok(()))
    }

    /// The state of the last commit. About 20 ns.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.inner.published.load_full())
    }

    /// Calls `callback` after each commit, on the writer thread, until the returned listener is
    /// dropped. The callback must be fast, because the next commit waits for it, and must not
    /// write; it may register other callbacks, and a panic in it is caught. A commit pays a lock,
    /// an allocation for all listeners together, and the calls.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// # use convodb::{Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// let commits = Arc::new(AtomicU64::new(0));
    /// let counter = commits.clone();
    /// let listener = store.on_commit(move || _ = counter.fetch_add(1, Ordering::Relaxed));
    /// store.create_user("Acme", "2025-01-25".parse()?)?;
    /// drop(listener);
    /// store.create_user("Other", "2025-01-25".parse()?)?;
    /// assert_eq!(commits.load(Ordering::Relaxed), 1);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub fn on_commit(&self, callback: impl Fn() + Send + Sync + 'static) -> CommitListener {
        self.on_change(move |_| callback())
    }

    /// [`Store::on_commit`], whose callback learns which users' conversations a commit has changed.
    /// A commit pays for the list of its users, too.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let conversation = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
    /// let (changed, changes) = channel();
    /// let listener = store.on_change(move |users| drop(changed.send(users.clone())));
    /// store.insert(user, conversation, Vec::new())?;
    /// assert_eq!(changes.try_iter().next(), Some(ChangedUsers::These(vec![user])));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub fn on_change(
        &self,
        callback: impl Fn(&ChangedUsers) + Send + Sync + 'static,
    ) -> CommitListener {
        self.inner.published.listen(callback)
    }

    fn metrics_registry(&self) -> Arc<MetricsRegistry> {
        self.inner.published.load().tables.metrics().clone()
    }

    /// What the store counted since it was opened, and what it holds in memory now. Reads about
    /// twelve atomic words; [`Store::usage`] reports disk space.
    ///
    /// ```
    /// # use convodb::{Store, Timestamp};
    /// let store = Store::in_memory()?;
    /// store.create_user("Acme", Timestamp::MIN)?;
    /// let metrics = store.metrics();
    /// assert_eq!((metrics.commits, metrics.writes_waiting), (1, 0));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let read_faults = self.inner.queue.fault_state().read_faults();
        Metrics { read_faults, ..self.metrics_registry().read() }
    }

    // ---- writes --------------------------------------------------------------------------------

    /// Runs a write of any number of operations, atomically, and returns the result of the closure
    /// when it is durable. No other write runs in between, so what the closure reads still holds
    /// when it writes.
    ///
    /// The closure's error rolls the write back. It may be any type that an [`Error`] converts
    /// into, so a business rule can abort a write with an error of its own, `anyhow::Error` for
    /// example. Where the type does not follow from the closure, name it: `Ok::<_, Error>(())`.
    ///
    /// ```
    /// # use convodb::{AssistantId, Channel, Conversation, ConversationId, Error, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// let (one, two) = (ConversationId::generate(at), ConversationId::generate(at));
    /// store.write(move |transaction| {
    ///     for id in [one, two] {
    ///         let conversation = Conversation::new(id, bot, Channel::Widget, at);
    ///         transaction.insert(user, conversation, Vec::new())?;
    ///     }
    ///     Ok::<_, Error>(())
    /// })?;
    /// assert!(store.snapshot().conversation(user, two)?.is_some());
    ///
    /// #[derive(Debug)]
    /// enum Refused {
    ///     Store(Error),
    ///     TooManyMessages(u32),
    /// }
    /// impl From<Error> for Refused {
    ///     fn from(error: Error) -> Self {
    ///         Refused::Store(error)
    ///     }
    /// }
    /// let refused = store.write(move |transaction| {
    ///     transaction.delete(user, one)?;
    ///     Err::<(), _>(Refused::TooManyMessages(7))
    /// });
    /// assert!(matches!(refused, Err(Refused::TooManyMessages(7))));
    /// assert!(store.snapshot().conversation(user, one)?.is_some(), "rolled back");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// The closure's error, after a rollback; [`Error::QueueFull`], [`Error::Closed`],
    /// [`Error::NestedWrite`]; [`Error::WriteAborted`] if a fault prevented the write, and nothing
    /// of it is stored; or [`Error::CommitUnknown`], after which it is unknown whether the write is
    /// stored. After either the store reopens its files by itself where it has to.
    ///
    /// # Panics
    /// If the closure panics, after a rollback.
    pub fn write<T, E>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.inner.queue.write(None, write)
    }

    /// [`Store::write`] in the turn of a user. Waiting writes are taken from each user in turn, so
    /// nobody waits for the backlog of another; writes without a user take turns as one more user.
    /// The closure may still write for any user. Methods for one user's conversations and
    /// assistants do this.
    ///
    /// # Errors
    /// As [`Store::write`].
    ///
    /// # Panics
    /// As [`Store::write`].
    pub fn write_for<T, E>(
        &self,
        user: UserId,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.inner.queue.write(Some(user), write)
    }

    /// Queues a write as [`Store::write`] does and returns at once; `answered` receives the outcome
    /// when the write is durable or has failed. For callers that must not wait, such as tasks of an
    /// async runtime: `convodb-tokio` is built on it.
    ///
    /// `answered` runs on the writer thread while all other writes wait: pass the outcome on and
    /// return. The outer error is the panic of a closure that panicked. If the writer thread stops
    /// during the write, `answered` is dropped without a call; whether the write is stored is then
    /// unknown, as after [`Error::CommitUnknown`].
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// let (reply, answer) = std::sync::mpsc::channel();
    /// let at = "2025-01-25".parse()?;
    /// store.submit(
    ///     move |transaction| transaction.create_user("Acme", at),
    ///     move |outcome| drop(reply.send(outcome)),
    /// )?;
    /// // Do something else, then:
    /// let user = answer.recv().expect("the write is answered").expect("it does not panic")?;
    /// assert_eq!(user.id.get(), 1);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`], [`Error::NestedWrite`] and [`Error::WriteAborted`]:
    /// the write is not queued and `answered` is not called. Every other outcome goes to
    /// `answered`.
    pub fn submit<T, E>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        answered: impl FnOnce(thread::Result<Result<T, E>>) + Send + 'static,
    ) -> Result<()>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.inner.queue.submit(None, write, answered)
    }

    /// [`Store::submit`] in the turn of a user; see [`Store::write_for`].
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_for<T, E>(
        &self,
        user: UserId,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
        answered: impl FnOnce(thread::Result<Result<T, E>>) + Send + 'static,
    ) -> Result<()>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.inner.queue.submit(Some(user), write, answered)
    }

    /// The quota of users without one of their own: [`StoreOptions::quota`].
    #[must_use]
    pub fn default_quota(&self) -> Quota {
        self.inner.mode.rules.quota
    }

    /// Capacity of the write queue: [`StoreOptions::queue_depth`].
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.inner.queue.depth()
    }

    /// Runs a write that bypasses the memtables, and waits for a place in the queue.
    pub(crate) fn write_through<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.queue.write_through(write)
    }

    /// [`Transaction::insert`] as a write of its own; of a conversation with very many messages, as
    /// writes of [`MAX_INSERTED_BYTES`] each ([`Transaction::insert_part`]), so that other writes get
    /// their turn between them. It is visible as a whole or not at all.
    ///
    /// # Errors
    /// As [`Transaction::insert`] and [`Store::write`].
    pub fn insert(
        &self,
        user: UserId,
        conversation: Conversation,
        messages: Vec<Message>,
    ) -> Result<()> {
        let new = Arc::new((conversation, messages));
        let mut progress = Some(InsertProgress::default());
        while let Some(before) = progress {
            let new = new.clone();
            let part = self.write_for(user, move |transaction| {
                let (conversation, messages) = &*new;
                let budget = &mut { MAX_INSERTED_BYTES };
                transaction.insert_part(user, conversation, messages, before, budget)
            });
            progress = part?;
        }
        Ok(())
    }

    /// Removes what inserts in parts have stored that nobody continues: after a crash, or an error
    /// between two parts. Returns the number of such inserts. [`Store::expire`] and
    /// [`compact`](crate::compact) do this, too. Each write removes at most
    /// [`MAX_DELETED_MESSAGES`] messages.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn remove_abandoned_inserts(&self) -> Result<u64> {
        let snapshot = self.snapshot();
        let tables = &snapshot.state().tables;
        let mut removed = 0;
        for key in tables.staged.keys()? {
            if tables.running_inserts().contains(key) {
                continue;
            }
            let budget = u32::try_from(MAX_DELETED_MESSAGES).unwrap_or(u32::MAX);
            while !self
                .write_for(key.user, move |transaction| transaction.remove_abandoned(key, budget))?
            {
            }
            removed += 1;
        }
        if removed > 0 {
            tracing::info!(inserts = removed, "removed what unfinished inserts had stored");
        }
        Ok(removed)
    }

    /// [`Transaction::update`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::update`] and [`Store::write`].
    pub fn update(
        &self,
        user: UserId,
        id: ConversationId,
        now: Timestamp,
        change: impl FnOnce(&mut Conversation) -> Result<()> + Send + 'static,
    ) -> Result<Conversation> {
        self.write_for(user, move |transaction| transaction.update(user, id, now, change))
    }

    /// [`Transaction::delete`] as a write of its own. A conversation of more than
    /// [`MAX_DELETED_MESSAGES`] messages is deleted in several writes, the newest messages first, so
    /// that other writes get their turn between them. If this fails in between, the conversation
    /// has its oldest messages left, and deleting it again finishes.
    ///
    /// # Errors
    /// As [`Transaction::delete`] and [`Store::write`].
    pub fn delete(&self, user: UserId, id: ConversationId) -> Result<()> {
        let delete_part = move |transaction: &mut Transaction<'_>| {
            transaction.delete_within(user, id, &mut { MAX_DELETED_MESSAGES })
        };
        while !self.write_for(user, delete_part)? {}
        Ok(())
    }

    /// [`Transaction::append_message`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::append_message`] and [`Store::write`].
    pub fn append_message(
        &self,
        user: UserId,
        id: ConversationId,
        message: Message,
    ) -> Result<u32> {
        self.write_for(user, move |transaction| transaction.append_message(user, id, &message))
    }

    /// Begins a new history, in which no earlier version is contained.
    pub(crate) fn begin_history(&self) -> Result<()> {
        let epoch = meta::fresh_number(&*self.location().vfs)?;
        self.write_through(move |write, _| meta::put_epochs(write, &Epochs::new(epoch)))
    }

    /// Rotates the key that seals cursors. Cursors issued before stay valid.
    ///
    /// # Errors
    /// [`Error::Invalid`] after 254 rotations, or as [`Store::write`].
    pub fn rotate_cursor_key(&self) -> Result<()> {
        let key = self.fresh_secret()?;
        self.write_through(move |write, _| meta::put_cursor_key(write, key))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
