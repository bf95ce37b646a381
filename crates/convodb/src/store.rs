//! The store: one file, one writer, any number of readers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use data_encoding::BASE64URL_NOPAD;
use redb::WriteTransaction;

use crate::engine::store_file::StoreLocation;
use crate::engine::supervisor::Supervisor;
use crate::engine::write_queue::WriteQueue;
use crate::error::{Error, Result};
use crate::io::fault::StoreState;
use crate::io::system::SystemVfs;
use crate::io::vfs::Vfs;
use crate::metrics::{Histogram, Metrics, MetricsRegistry};
use crate::model::account::{Assistant, User};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::message::Message;
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::options::StoreOptions;
use crate::snapshot::Snapshot;
use crate::tables::meta;
use crate::tables::state::{CommittedState, Listener, Published};
use crate::transaction::Transaction;

/// A store of conversations. Cheap to clone and to send; all clones are the same store, which is
/// closed when the last one is dropped.
///
/// Reads go through a [`Snapshot`] and never wait; writes go through one writer, which commits
/// those that come together as one group, and return once they are durable.
///
/// ```
/// let store = convodb::Store::in_memory()?;
/// let same = store.clone();
/// let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?)?;
/// assert_eq!(same.snapshot().user(user.id)?, Some(user), "who writes reads it at once");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    current: Arc<Published>,
    writer: WriteQueue,
    /// None for a store in memory.
    location: Option<StoreLocation>,
}

impl Store {
    /// Opens the store at `path` with the default options, or makes one where there is no file.
    ///
    /// # Errors
    /// [`Error::InUse`](crate::Error::InUse) when another process holds the file,
    /// [`Error::NotAStore`](crate::Error::NotAStore) and
    /// [`Error::NewerFormat`](crate::Error::NewerFormat), which leave it untouched unless it was
    /// not closed cleanly and had to be repaired to be read, or a fault.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &StoreOptions::default())
    }

    /// Opens the store at `path`, or makes one where there is no file.
    ///
    /// ```
    /// use convodb::{Store, StoreOptions};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("store.convodb");
    /// let options = StoreOptions { cache_bytes: 64 << 20, ..StoreOptions::default() };
    /// let store = Store::open_with(&path, &options)?;
    /// assert!(store.snapshot().users()?.is_empty());
    /// store.close()?;
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        Self::open_on(Arc::new(SystemVfs), path, options)
    }

    /// Opens the store at `path` of `disk`, or makes one where there is no file.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[doc(hidden)]
    pub fn open_on(
        vfs: Arc<dyn Vfs>,
        path: impl AsRef<Path>,
        options: &StoreOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        // The log is beside the file itself, by whichever link it is opened.
        let path = if vfs.exists(path)? { vfs.canonicalize(path)? } else { path.to_owned() };
        let cache_bytes = options.cache_bytes;
        let location = StoreLocation { vfs, path, cache_bytes, check: options.check_on_open };
        Self::start(Supervisor::open(location.clone(), options.mode())?, Some(location), options)
    }

    /// A store in memory, for tests: the same engine, without a file.
    ///
    /// # Errors
    /// A fault of the system: no randomness, no thread.
    pub fn in_memory() -> Result<Self> {
        let options = StoreOptions::default();
        Self::start(Supervisor::in_memory(options.cache_bytes, options.mode())?, None, &options)
    }

    fn start(
        supervisor: Supervisor,
        location: Option<StoreLocation>,
        options: &StoreOptions,
    ) -> Result<Self> {
        let current = supervisor.current().clone();
        let writer = WriteQueue::start(supervisor, options.queue_depth)?;
        Ok(Self { inner: Arc::new(Inner { current, writer, location }) })
    }

    /// Finishes the writes that are queued and closes the file, and tells how that went. All
    /// clones are closed with it; a snapshot answers at most from what is in memory.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) when it was closed before, or a fault that dropping
    /// the store would have hidden.
    pub fn close(self) -> Result<()> {
        self.inner.writer.close()
    }

    /// Whether the store takes writes: it was not closed, and has no fault. Reads no disk.
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

    /// Whether the store takes writes, and if not, why. After a fault of the disk it opens its files
    /// again by itself, so it is enough to try again. Reads no disk.
    ///
    /// ```
    /// use convodb::{Store, StoreState};
    /// let store = Store::in_memory()?;
    /// assert_eq!(store.state(), StoreState::Open);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> StoreState {
        self.inner.writer.state()
    }

    /// Where the store's file is; none for a store in memory.
    pub(crate) fn location(&self) -> Option<&StoreLocation> {
        self.inner.location.as_ref()
    }

    /// 32 bytes that nobody can foresee.
    pub(crate) fn fresh_secret(&self) -> Result<meta::Secret> {
        match self.location() {
            Some(location) => meta::fresh_secret(&*location.vfs),
            None => meta::fresh_secret(&SystemVfs),
        }
    }

    /// Carries all that is in the log into the tables, and the log is gone.
    pub(crate) fn flush(&self) -> Result<()> {
        self.write_through(|_, _| Ok(()))
    }

    /// The state of the last commit. About 20 ns.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.inner.current.load_full())
    }

    /// Calls `listener` after each commit, on the writer's thread, until its last reference is
    /// dropped: to wake those who wait for a change. It must be quick, since the next commit waits
    /// for it, and must not write; it may bring other listeners, and a panic of it goes no further.
    /// Costs each commit a lock, an allocation for all listeners together, and the call.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// # use convodb::{Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// let commits = Arc::new(AtomicU64::new(0));
    /// let counter = commits.clone();
    /// let listener = Arc::new(move || _ = counter.fetch_add(1, Ordering::Relaxed));
    /// store.on_commit(&listener);
    /// store.create_user("Acme".parse()?, "2025-01-25".parse()?)?;
    /// assert_eq!(commits.load(Ordering::Relaxed), 1);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub fn on_commit(&self, listener: &Arc<impl Fn() + Send + Sync + 'static>) {
        let listener: Arc<Listener> = listener.clone();
        self.inner.current.listen(Arc::downgrade(&listener));
    }

    /// What the store counts.
    pub(crate) fn metrics_registry(&self) -> Arc<MetricsRegistry> {
        self.inner.current.load().tables.metrics().clone()
    }

    /// What the store counted. Some dozen atomic words; what it takes is told by [`Store::usage`].
    ///
    /// ```
    /// # use convodb::{Store, Timestamp};
    /// let store = Store::in_memory()?;
    /// store.create_user("Acme".parse()?, Timestamp::MIN)?;
    /// let counters = store.metrics();
    /// assert_eq!((counters.commits, counters.writes_waiting), (1, 0));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let metrics = self.metrics_registry();
        let (live_snapshots, oldest_snapshot) = metrics.live_snapshots();
        Metrics {
            commits: metrics.commits.load(Ordering::Relaxed),
            changes: metrics.changes.load(Ordering::Relaxed),
            committed_bytes: metrics.bytes.load(Ordering::Relaxed),
            writes_waiting: metrics.waiting.load(Ordering::Relaxed),
            writes_refused: metrics.refused.load(Ordering::Relaxed),
            wal_syncs: Histogram::of(&metrics.wal_syncs),
            checkpoints: Histogram::of(&metrics.checkpoints),
            memtable_bytes: metrics.memtable_bytes.load(Ordering::Relaxed),
            live_snapshots,
            oldest_snapshot,
        }
    }

    // ---- writes --------------------------------------------------------------------------------

    /// Runs a write of any number of operations, all or nothing, and returns what it returned once
    /// it is durable. It reads and changes the store alone, so what it read still holds when it
    /// changes it.
    ///
    /// ```
    /// # use convodb::{AssistantId, Channel, Conversation, ConversationId, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    /// let (one, two) = (ConversationId::generate(at), ConversationId::generate(at));
    /// store.write(move |transaction| {
    ///     for id in [one, two] {
    ///         let conversation = Conversation::new(id, bot, Channel::Widget, at);
    ///         transaction.insert(user, &conversation, &[])?;
    ///     }
    ///     Ok(())
    /// })?;
    /// assert!(store.snapshot().conversation(user, two)?.is_some());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returned, after all that it changed was taken back;
    /// [`Error::QueueFull`](crate::Error::QueueFull), [`Error::Closed`](crate::Error::Closed),
    /// [`Error::NestedWrite`](crate::Error::NestedWrite);
    /// [`Error::WriteAborted`](crate::Error::WriteAborted) when a fault of the disk kept it from being
    /// written, and nothing of it is there; or
    /// [`Error::CommitUnknown`](crate::Error::CommitUnknown), after which it is unknown whether the
    /// write will be there. After either the store opens its files again by itself where it has to.
    ///
    /// # Panics
    /// When the closure panics, after all that it changed was taken back.
    pub fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let metrics = self.metrics_registry();
        let _waiting = metrics.wait();
        let written = self.inner.writer.write(write);
        note_refusal(&metrics, &written);
        written
    }

    /// Queues a write as of [`Store::write`] and returns at once; `answered` is told what became of
    /// it once it is durable, or refused. For callers that must not wait, such as tasks of an
    /// asynchronous runtime: `convodb-tokio` is made of it.
    ///
    /// `answered` runs on the writer's thread, which all other writes wait for meanwhile: hand the
    /// answer over and return. The outer error is the panic of a closure that panicked. Where the
    /// writer stops with the write in hand, `answered` is dropped without a call; what became of the
    /// write is then unknown, as of [`Error::CommitUnknown`](crate::Error::CommitUnknown).
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// let (reply, answer) = std::sync::mpsc::channel();
    /// let at = "2025-01-25".parse()?;
    /// let name = "Acme".parse()?;
    /// store.submit(
    ///     move |transaction| transaction.create_user(name, at),
    ///     move |outcome| drop(reply.send(outcome)),
    /// )?;
    /// // Do something else, then:
    /// let user = answer.recv().expect("it is answered").expect("it does not panic")?;
    /// assert_eq!(user.id.get(), 1);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull), [`Error::Closed`](crate::Error::Closed) and
    /// [`Error::NestedWrite`](crate::Error::NestedWrite); then nothing is queued and `answered` is not
    /// called. All else is told to `answered`.
    pub fn submit<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
        answered: impl FnOnce(thread::Result<Result<T>>) + Send + 'static,
    ) -> Result<()> {
        let metrics = self.metrics_registry();
        let waiting = metrics.wait();
        let submitted = self.inner.writer.submit(write, move |outcome| {
            drop(waiting);
            answered(outcome);
        });
        note_refusal(&metrics, &submitted);
        submitted
    }

    /// How many writes may wait: [`StoreOptions::queue_depth`].
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.inner.writer.queue_depth()
    }

    /// A write that goes straight into the tables, and waits for its place in the queue.
    pub(crate) fn write_through<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTransaction, &CommittedState) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.writer.write_through(write)
    }

    /// [`Transaction::insert`] as a write of its own, without messages.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn insert(&self, user: UserId, conversation: Conversation) -> Result<()> {
        self.write(move |transaction| transaction.insert(user, &conversation, &[]))
    }

    /// [`Transaction::update`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn update(
        &self,
        user: UserId,
        id: ConversationId,
        change: impl FnOnce(&mut Conversation) + Send + 'static,
    ) -> Result<Conversation> {
        self.write(move |transaction| transaction.update(user, id, change))
    }

    /// [`Transaction::delete`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn delete(&self, user: UserId, id: ConversationId) -> Result<()> {
        self.write(move |transaction| transaction.delete(user, id))
    }

    /// [`Transaction::append_message`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn append_message(
        &self,
        user: UserId,
        id: ConversationId,
        message: Message,
    ) -> Result<u32> {
        self.write(move |transaction| transaction.append_message(user, id, &message))
    }

    /// Seals the cursors given out from now on with a new key. Those given out before stay valid.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) after 254 times, or as [`Store::write`].
    pub fn rotate_cursor_key(&self) -> Result<()> {
        let key = self.fresh_secret()?;
        self.write_through(move |write, _| meta::put_cursor_key(write, key))
    }

    // ---- accounts ------------------------------------------------------------------------------

    /// [`Transaction::create_user`](crate::Transaction::create_user) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn create_user(&self, name: Name, created_at: Timestamp) -> Result<User> {
        self.write(move |transaction| transaction.create_user(name, created_at))
    }

    /// [`Transaction::create_assistant`](crate::Transaction::create_assistant) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn create_assistant(&self, user: UserId, id: AssistantId, name: Name) -> Result<Assistant> {
        self.write(move |transaction| transaction.create_assistant(user, id, name))
    }

    /// [`Transaction::rename_assistant`](crate::Transaction::rename_assistant) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn rename_assistant(&self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        self.write(move |transaction| transaction.rename_assistant(user, id, name))
    }

    /// A new access token of the user's: 256 random bits as text. It cannot be shown again: only
    /// its SHA-256 is stored.
    ///
    /// # Errors
    /// [`Error::UserNotFound`](crate::Error::UserNotFound), or as [`Store::write`].
    pub fn create_token(&self, user: UserId, created_at: Timestamp) -> Result<String> {
        let token = format!("cvdb_{}", BASE64URL_NOPAD.encode(&self.fresh_secret()?));
        self.write(move |transaction| {
            transaction.put_token(user, &token, created_at)?;
            Ok(token)
        })
    }

    /// [`Transaction::revoke_token`](crate::Transaction::revoke_token) as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn revoke_token(&self, token: String) -> Result<()> {
        self.write(move |transaction| transaction.revoke_token(&token))
    }
}

fn note_refusal<T>(metrics: &MetricsRegistry, outcome: &Result<T>) {
    if matches!(outcome, Err(Error::QueueFull)) {
        metrics.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
