//! Async handle of a store: open, close, snapshots, streams.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use convodb::{ListRequest, PageSize, Result, Snapshot, Store, StoreOptions, UserId};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::commits::{CommitNotifier, Commits};
use crate::conversations::Conversations;
use crate::pages::{Pages, Source};
use crate::run_blocking::run_blocking;

/// A handle of a store whose writes are awaited. Cheap to clone; all clones are the same store.
///
/// Errors are the engine's. The [crate documentation](crate) describes cancellation and which reads
/// run on which thread.
#[derive(Clone)]
pub struct AsyncStore {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` only during the drop.
    store: Option<Store>,
    /// One permit for each slot of the engine's write queue.
    queue_permits: Arc<Semaphore>,
    /// Created by the first receiver: a listener costs the writer a call for each commit.
    commit_notifier: OnceLock<CommitNotifier>,
}

impl Inner {
    fn store(&self) -> &Store {
        match &self.store {
            Some(store) => store,
            None => unreachable!("the store is taken only by the drop"),
        }
    }

    fn commit_notifier(&self) -> &CommitNotifier {
        self.commit_notifier.get_or_init(|| CommitNotifier::new(self.store()))
    }
}

impl Drop for Inner {
    /// Drops the store on a blocking thread, because closing it waits for the disk.
    fn drop(&mut self) {
        let store = self.store.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(store));
        }
    }
}

impl From<Store> for AsyncStore {
    /// Wraps a store. The engine's own handle remains usable, but its writes take slots of the
    /// queue as well, so writes through both may fail with
    /// [`Error::QueueFull`](convodb::Error::QueueFull) under load.
    fn from(store: Store) -> Self {
        // One slot is left to the engine's own commands, such as bulk loads.
        let permits = store.queue_depth().saturating_sub(1).clamp(1, Semaphore::MAX_PERMITS);
        let queue_permits = Arc::new(Semaphore::new(permits));
        let store = Some(store);
        Self { inner: Arc::new(Inner { store, queue_permits, commit_notifier: OnceLock::new() }) }
    }
}

impl AsyncStore {
    /// Opens the store at `path` with default options, or creates it if the file does not exist.
    ///
    /// ```
    /// # use convodb_tokio::AsyncStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> convodb::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("conversations.convodb");
    /// let store = AsyncStore::open(&path).await?;
    /// assert!(store.is_open());
    /// store.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`].
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, StoreOptions::default()).await
    }

    /// Opens the store at `path`, or creates it if the file does not exist.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::StoreOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> convodb::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("conversations.convodb");
    /// let options = StoreOptions::new().cache_bytes(64 << 20);
    /// let store = AsyncStore::open_with(&path, options).await?;
    /// store.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`].
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn open_with(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let path = path.as_ref().to_owned();
        run_blocking(move || Store::open_with(path, &options)).await.map(Self::from)
    }

    /// Creates a store in memory, for tests: the same engine without a file. Does not block.
    ///
    /// # Errors
    /// As [`Store::in_memory`].
    pub fn in_memory() -> Result<Self> {
        Store::in_memory().map(Self::from)
    }

    /// The engine's own handle, for operations that this one does not offer.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.inner.store()
    }

    /// The permits for slots of the write queue.
    pub(crate) fn queue_permits(&self) -> Arc<Semaphore> {
        self.inner.queue_permits.clone()
    }

    /// Whether the store accepts writes; see [`Store::is_open`]. Does not block.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.store().is_open()
    }

    /// Finishes the queued writes and closes the store for all clones. Then
    /// [`Commits`](crate::Commits) and [`ChangeFeed`](crate::ChangeFeed)s end.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::Error};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> convodb::Result<()> {
    /// let store = AsyncStore::in_memory()?;
    /// let same = store.clone();
    /// store.close().await?;
    /// let refused = same.create_user("Acme", "2025-01-25".parse()?).await;
    /// assert!(matches!(refused, Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::close`].
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn close(self) -> Result<()> {
        let inner = self.inner.clone();
        let close = move || {
            let closed = inner.store().clone().close();
            inner.commit_notifier().close();
            closed
        };
        run_blocking(close).await
    }

    // ---- reads ---------------------------------------------------------------------------------

    /// A snapshot of the last commit, to be read on the current thread. A cached page takes
    /// microseconds; a page that is not cached takes a disk read. The call costs about 20 ns.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme", "2025-01-25".parse()?).await?.id;
    /// let filter = Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() };
    /// let request = ListRequest { filter, ..ListRequest::default() };
    /// assert!(store.snapshot().list(user, &request)?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.store().snapshot()
    }

    /// Runs any work of the engine on a blocking thread: long reads, bulk loads, backups. The
    /// handover there and back costs 10 to 20 us.
    ///
    /// Dropping the future does not stop work that has begun.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// let report = store.run_blocking(|store| store.snapshot().verify()).await?;
    /// assert!(report.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the work returns, or [`Error::Closed`](convodb::Error::Closed) if the runtime shuts
    /// down before the work begins.
    ///
    /// # Panics
    /// Panics when the work panics, and outside a tokio runtime.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store().clone();
        run_blocking(move || work(&store)).await
    }

    // ---- streams -------------------------------------------------------------------------------

    /// The pages of a list, beginning at the request's position, all from one snapshot of this
    /// moment.
    ///
    /// For exports and sums that must be consistent. The snapshot lives until the stream ends or is
    /// dropped; meanwhile the space of replaced rows cannot be reused. For an iteration that takes
    /// hours beside many writes, see [`AsyncStore::live_pages`].
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme", "2025-01-25".parse()?).await?.id;
    /// let mut pages = store.pages(user, ListRequest::default());
    /// while let Some(page) = pages.next().await {
    ///     println!("{} conversations", page?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn pages(&self, user: UserId, request: ListRequest) -> Pages {
        Pages::new(Source::Snapshot(self.snapshot()), user, request)
    }

    /// The pages of a list, beginning at the request's position, each from a new snapshot.
    ///
    /// For long iterations, and for consumers that want to see new conversations. A conversation
    /// that exists all the time is returned exactly once, because positions never change and a
    /// cursor is a position between two conversations. One that is created, deleted or changed
    /// meanwhile is returned in its current state if its position is still ahead. The stream keeps
    /// the store open, but holds no snapshot between two pages.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme", "2025-01-25".parse()?).await?.id;
    /// let mut pages = store.live_pages(user, ListRequest::default());
    /// while let Some(page) = pages.next().await {
    ///     // Stored after each page, this token resumes the iteration in another process.
    ///     let token = page?.next_cursor().map(|next| store.snapshot().seal_cursor(next));
    ///     assert_eq!(token, None, "the list has one page");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn live_pages(&self, user: UserId, request: ListRequest) -> Pages {
        Pages::new(Source::Live(self.store().clone()), user, request)
    }

    /// The conversations of a list, beginning at the request's position, all from one snapshot of
    /// this moment. Reads pages of the request's size, or of 100 if it has neither a size nor a
    /// cursor. See [`AsyncStore::pages`].
    #[must_use]
    pub fn conversations(&self, user: UserId, request: ListRequest) -> Conversations {
        Conversations::new(self.pages(user, in_large_pages(request)))
    }

    /// The conversations of a list, beginning at the request's position, each page from a new
    /// snapshot. See [`AsyncStore::live_pages`].
    #[must_use]
    pub fn live_conversations(&self, user: UserId, request: ListRequest) -> Conversations {
        Conversations::new(self.live_pages(user, in_large_pages(request)))
    }

    /// A receiver of notifications about the commits from now on, for a task that waits until
    /// something changed. [`Commits::changed`] shows it.
    ///
    /// The first receiver of a store adds a listener, which costs each commit two allocations and a
    /// call; further receivers cost a wakeup each if they wait. A task that waits for changes of one
    /// user is woken less often by [`AsyncStore::commits_of`].
    #[must_use]
    pub fn commits(&self) -> Commits {
        self.inner.commit_notifier().subscribe()
    }

    /// [`AsyncStore::commits`] of those commits alone that change conversations of a user, or that
    /// may: bulk loads, and the recovery from a fault. Commits of other users do not wake the task.
    #[must_use]
    pub fn commits_of(&self, user: UserId) -> Commits {
        self.inner.commit_notifier().subscribe_to(user)
    }
}

/// Chooses the largest pages for a stream of conversations, unless the request has a size.
fn in_large_pages(request: ListRequest) -> ListRequest {
    if request.page_size.is_some() || request.cursor.is_some() {
        return request;
    }
    ListRequest { page_size: Some(PageSize::MAX), ..request }
}

impl fmt::Debug for AsyncStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStore").finish_non_exhaustive()
    }
}
