//! The store: one file, one writer, any number of readers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use redb::{Database, WriteTransaction};

use crate::committer::Committer;
use crate::durability::{CommitMode, Durability};
use crate::error::{Error, Result};
use crate::file;
use crate::meter::Meter;
use crate::model::account::{Assistant, User};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::message::Message;
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::snapshot::Snapshot;
use crate::storage::meta;
use crate::transaction::Transaction;
use crate::view::View;
use crate::writer::Writer;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Memory for pages of the file, in bytes; 1 GiB by default.
    pub cache_bytes: usize,
    /// Memory for rows that pages read again and again, in bytes; 128 MiB by default, for some
    /// 400,000 of them. It is taken as rows come. 0 keeps none.
    pub row_cache_bytes: usize,
    /// How many writes may wait, at least 1; 1024 by default. One more is refused with
    /// [`Error::QueueFull`](crate::Error::QueueFull).
    pub queue_depth: usize,
    /// When a write is acknowledged: once it is on disk, by default.
    pub durability: Durability,
    /// How many bytes of writes the log may take before they are carried into the tables, by
    /// default 16 MiB; they also are when a second has passed. More makes writes cheaper, and opening
    /// after a crash longer, which reads the log. They are held in memory until then, and what is
    /// written while they are carried over, which may be as much again.
    pub tail_bytes: usize,
    /// Whether what is carried into the tables is followed by what makes opening after a crash
    /// quick; on by default. Without it, opening after a crash reads the whole file once: a second
    /// for a million rows, and in proportion for more.
    pub fast_recovery: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 30,
            row_cache_bytes: 128 << 20,
            queue_depth: 1024,
            durability: Durability::default(),
            tail_bytes: 16 << 20,
            fast_recovery: true,
        }
    }
}

/// A store of conversations. Cheap to clone and to send; all clones are the same store, which is
/// closed when the last one is dropped.
///
/// Reads go through a [`Snapshot`] and never wait; writes go through one writer, which commits
/// those that come together as one group, and return once they are durable.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    current: Arc<ArcSwap<View>>,
    writer: Writer,
    path: Option<PathBuf>,
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
        let path = path.as_ref();
        Self::start(file::open(path, options.cache_bytes)?, Some(path), options)
    }

    /// A store in memory, for tests: the same engine, without a file.
    ///
    /// # Errors
    /// A fault of the system: no randomness, no thread.
    pub fn in_memory() -> Result<Self> {
        let options = StoreOptions::default();
        Self::start(file::in_memory(options.cache_bytes)?, None, &options)
    }

    fn start(database: Database, path: Option<&Path>, options: &StoreOptions) -> Result<Self> {
        let mode = CommitMode {
            durability: options.durability,
            tail_bytes: options.tail_bytes,
            row_cache_bytes: options.row_cache_bytes,
            fast_recovery: options.fast_recovery,
        };
        let (committer, current) = Committer::open(database, path, mode)?;
        let writer = Writer::start(committer, options.queue_depth)?;
        let path = path.map(Path::to_owned);
        Ok(Self { inner: Arc::new(Inner { current, writer, path }) })
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

    /// Whether the store takes writes: it was not closed, its writer runs, and no fault made it give
    /// up. Reads no disk.
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
        self.inner.writer.takes_writes()
    }

    /// The state of the last commit. About 20 ns.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.inner.current.load_full())
    }

    /// Where the store's file is; none for a store in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// What the store counts.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        self.inner.current.load().tables.meter().clone()
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
    /// assert!(store.snapshot().get(user, two)?.is_some());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returned, after all that it changed was taken back;
    /// [`Error::QueueFull`](crate::Error::QueueFull), [`Error::Closed`](crate::Error::Closed),
    /// [`Error::NestedWrite`](crate::Error::NestedWrite);
    /// [`Error::GivenUp`](crate::Error::GivenUp) when the store met a fault before it; or
    /// [`Error::CommitFailed`](crate::Error::CommitFailed), after which it is unknown whether the
    /// write will be there when the store was opened again.
    ///
    /// # Panics
    /// When the closure panics, after all that it changed was taken back.
    pub fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let meter = self.meter();
        let _waiting = meter.wait();
        let written = self.inner.writer.write(write);
        if matches!(written, Err(Error::QueueFull)) {
            meter.refused.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    /// A write that goes straight into the tables, and waits for its place in the queue.
    pub(crate) fn write_direct<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTransaction, &View) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.writer.write_direct(write)
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

    // ---- accounts ------------------------------------------------------------------------------

    /// [`Transaction::create_user`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn create_user(&self, name: Name, created_at: Timestamp) -> Result<User> {
        self.write(move |transaction| transaction.create_user(name, created_at))
    }

    /// [`Transaction::create_assistant`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn create_assistant(&self, user: UserId, id: AssistantId, name: Name) -> Result<Assistant> {
        self.write(move |transaction| transaction.create_assistant(user, id, name))
    }

    /// [`Transaction::rename_assistant`] as a write of its own.
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
        let token = format!("cvdb_{}", BASE64URL_NOPAD.encode(&meta::fresh_secret()?));
        self.write(move |transaction| {
            transaction.put_token(user, &token, created_at)?;
            Ok(token)
        })
    }

    /// [`Transaction::revoke_token`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`Store::write`].
    pub fn revoke_token(&self, token: String) -> Result<()> {
        self.write(move |transaction| transaction.revoke_token(&token))
    }

    /// Seals the cursors given out from now on with a new key. Those given out before stay valid.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) after 254 times, or as [`Store::write`].
    pub fn rotate_cursor_key(&self) -> Result<()> {
        self.write_direct(|write, _| meta::add_cursor_key(write))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
