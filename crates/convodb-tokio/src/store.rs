//! The store, opened, read and closed without holding a thread of the runtime.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use convodb::{ListRequest, PageSize, Result, Snapshot, Store, StoreOptions, UserId};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::aside::aside;
use crate::conversations::Conversations;
use crate::pages::{Pages, View};

/// A store of conversations whose writes are awaited. Cheap to clone and to send; all clones are the
/// same store.
///
/// Errors are the engine's. What cancelling a write means, and what is read where, is told on the
/// [front page](crate).
#[derive(Clone)]
pub struct AsyncStore {
    inner: Arc<Inner>,
}

struct Inner {
    /// Taken only when this is dropped.
    store: Option<Store>,
    /// For the writes that may be in the engine's queue.
    places: Arc<Semaphore>,
}

impl Inner {
    fn store(&self) -> &Store {
        match &self.store {
            Some(store) => store,
            None => unreachable!("the store is taken only when its last handle is dropped"),
        }
    }
}

impl Drop for Inner {
    /// To close a store waits for the disk, which a thread of the runtime must not.
    fn drop(&mut self) {
        let store = self.store.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(store));
        }
    }
}

impl From<Store> for AsyncStore {
    /// The same store; the engine's own handle goes on working beside it. Writes through that one
    /// take places in the queue too, so a busy mixture of both may meet
    /// [`Error::QueueFull`](convodb::Error::QueueFull).
    fn from(store: Store) -> Self {
        // One is left to the engine's own commands, such as bulk loads. A semaphore has some billions
        // of places at most on any platform.
        let places = store.queue_depth().saturating_sub(1).clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        Self { inner: Arc::new(Inner { store: Some(store), places }) }
    }
}

impl AsyncStore {
    /// Opens the store at `path` with the default options, or makes one where there is no file.
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
    /// Outside a tokio runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, StoreOptions::default()).await
    }

    /// Opens the store at `path`, or makes one where there is no file.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::StoreOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> convodb::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("conversations.convodb");
    /// let options = StoreOptions { cache_bytes: 64 << 20, ..StoreOptions::default() };
    /// let store = AsyncStore::open_with(&path, options).await?;
    /// store.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open_with(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let path = path.as_ref().to_owned();
        aside(move || Store::open_with(path, &options)).await.map(Self::from)
    }

    /// A store in memory, for tests: the same engine, without a file. Reads no disk.
    ///
    /// # Errors
    /// As [`Store::in_memory`].
    pub fn in_memory() -> Result<Self> {
        Store::in_memory().map(Self::from)
    }

    /// The engine's own handle on the store, for what this one does not have.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.inner.store()
    }

    /// The places in the queue.
    pub(crate) fn places(&self) -> Arc<Semaphore> {
        self.inner.places.clone()
    }

    /// Whether the store takes writes, as of [`Store::is_open`]. Reads no disk.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.store().is_open()
    }

    /// Finishes the writes that are queued and closes the store for all clones, and tells how that
    /// went.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::Error};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> convodb::Result<()> {
    /// let store = AsyncStore::in_memory()?;
    /// let same = store.clone();
    /// store.close().await?;
    /// let refused = same.create_user("Acme".parse()?, "2025-01-25".parse()?).await;
    /// assert!(matches!(refused, Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::close`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn close(self) -> Result<()> {
        let store = self.store().clone();
        aside(move || store.close()).await
    }

    // ---- reads ---------------------------------------------------------------------------------

    /// The state of the last commit, to be read in line: a page in memory takes microseconds, one
    /// that is not as long as a read of the disk. About 20 ns.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?).await?.id;
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

    /// Does any work of the engine on a thread for what blocks: what reads much, loads or copies. The
    /// way there and back costs 10 to 20 us.
    ///
    /// Work that began goes on when the future is dropped.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// let audit = store.aside(|store| store.snapshot().verify(|_, _| {})).await?;
    /// assert!(audit.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the work returns, or [`Error::Closed`](convodb::Error::Closed) where the runtime ends
    /// before it began.
    ///
    /// # Panics
    /// When the work panics, or outside a tokio runtime.
    pub async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store().clone();
        aside(move || work(&store)).await
    }

    // ---- walks ---------------------------------------------------------------------------------

    /// The pages of a list from where the request begins, all of the state that the store has now.
    ///
    /// For exports and sums that must be of one moment. The snapshot is held until the stream is
    /// dropped or ends, and keeps the space of replaced rows from being used again: for a walk that
    /// takes hours beside many writes, see [`AsyncStore::live_pages`].
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?).await?.id;
    /// let mut pages = store.pages(user, ListRequest::default());
    /// while let Some(page) = pages.next().await {
    ///     println!("{} conversations", page?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn pages(&self, user: UserId, request: ListRequest) -> Pages {
        Pages::new(View::Frozen(self.snapshot()), user, request)
    }

    /// The pages of a list from where the request begins, each of the state of its moment.
    ///
    /// For walks that take long, and for consumers that want to meet what is new. A conversation that
    /// is there all the time is met exactly once: positions never change, and a cursor is a place
    /// between two. One that is created, deleted or changed meanwhile is met as it is then, if its
    /// place still lies ahead. No snapshot is held between two pages. It holds the store open.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?).await?.id;
    /// let mut pages = store.live_pages(user, ListRequest::default());
    /// while let Some(page) = pages.next().await {
    ///     // Kept after each page, this continues the walk in another process.
    ///     let place = page?.next_cursor().map(|next| store.snapshot().seal_cursor(next));
    ///     assert_eq!(place, None, "a list of one page");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn live_pages(&self, user: UserId, request: ListRequest) -> Pages {
        Pages::new(View::Live(self.store().clone()), user, request)
    }

    /// The conversations of a list from where the request begins, all of the state that the store has
    /// now; read in pages of the request's size, or of 100 where it has neither size nor cursor. See
    /// [`AsyncStore::pages`].
    #[must_use]
    pub fn conversations(&self, user: UserId, request: ListRequest) -> Conversations {
        Conversations::new(self.pages(user, in_large_pages(request)))
    }

    /// The conversations of a list from where the request begins, those of each page of the state of
    /// its moment. See [`AsyncStore::live_pages`].
    #[must_use]
    pub fn live_conversations(&self, user: UserId, request: ListRequest) -> Conversations {
        Conversations::new(self.live_pages(user, in_large_pages(request)))
    }
}

/// A walk over single rows has no use for small pages.
fn in_large_pages(request: ListRequest) -> ListRequest {
    let asked = request.page_size.is_some() || request.cursor.is_some();
    match asked {
        true => request,
        false => ListRequest { page_size: Some(PageSize::MAX), ..request },
    }
}

impl fmt::Debug for AsyncStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStore").finish_non_exhaustive()
    }
}
