//! Store options: caches, write queue, durability, memtable size, recovery and retention.

use std::fmt;
use std::sync::Arc;

use crate::io::system::SystemVfs;
use crate::io::vfs::Vfs;
use crate::model::index_family::IndexFamilies;
use crate::model::quota::Quota;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// When it is on disk.
    #[default]
    Immediate,
    /// When it is visible to readers. There is no WAL; the store reaches the disk when it is
    /// closed. A crash loses the most recent commits, each of them as a whole. For tests and for
    /// loads that can be repeated.
    Deferred,
}

/// How a store is opened.
///
/// ```
/// use convodb::{Durability, Store, StoreOptions};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("import.convodb");
/// let options = StoreOptions::new().cache_bytes(64 << 20).durability(Durability::Deferred);
/// let store = Store::open_with(&path, &options)?;
/// // A load that can be repeated; closing makes it durable.
/// store.close()?;
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone)]
pub struct StoreOptions {
    cache_bytes: usize,
    queue_depth: usize,
    durability: Durability,
    memtable_bytes: usize,
    fast_recovery: bool,
    check_on_open: bool,
    without_wal: bool,
    read_only: bool,
    background_checkpoints: bool,
    retained_changes: u64,
    quota: Quota,
    indexes: IndexFamilies,
    vfs: Arc<dyn Vfs>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 30,
            queue_depth: 1024,
            durability: Durability::default(),
            memtable_bytes: 16 << 20,
            fast_recovery: true,
            check_on_open: false,
            without_wal: false,
            read_only: false,
            background_checkpoints: true,
            retained_changes: 1 << 20,
            quota: Quota::default(),
            indexes: IndexFamilies::NONE,
            vfs: Arc::new(SystemVfs),
        }
    }
}

impl StoreOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory for pages of the file, in bytes. Default: 1 GiB.
    #[must_use]
    pub fn cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }

    /// Capacity of the write queue, at least 1. Default: 1024 writes. A write beyond it fails with
    /// [`Error::QueueFull`](crate::Error::QueueFull).
    #[must_use]
    pub fn queue_depth(self, queue_depth: usize) -> Self {
        Self { queue_depth, ..self }
    }

    /// When a write is acknowledged. Default: when it is on disk.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Bytes of writes that start a checkpoint; one also starts when the oldest of them is a second
    /// old. Default: 16 MiB. A larger value makes writes cheaper and recovery after a crash slower,
    /// which replays them from the WAL. They stay in memory until the checkpoint is done, and so do
    /// those written meanwhile, up to the same size.
    #[must_use]
    pub fn memtable_bytes(self, memtable_bytes: usize) -> Self {
        Self { memtable_bytes, ..self }
    }

    /// Whether checkpoints save what makes recovery after a crash fast. Default: on. Without it,
    /// recovery reads the whole file: about a second for a million rows.
    #[must_use]
    pub fn fast_recovery(self, fast_recovery: bool) -> Self {
        Self { fast_recovery, ..self }
    }

    /// Whether opening reads the whole file and verifies every page. Default: off. It detects
    /// damage, also that of a disk that acknowledged a sync and lost the data, before anything is
    /// read or built upon it.
    #[must_use]
    pub fn check_on_open(self, check_on_open: bool) -> Self {
        Self { check_on_open, ..self }
    }

    /// Whether the store gives up its WAL: it opens as of its last checkpoint, removes the log
    /// files beside it and begins a new history, in which every earlier [`ChangeCursor`] has
    /// expired. Default: off. For a store whose log is lost, which
    /// [`Error::WalMismatch`](crate::Error::WalMismatch) reports: **the writes of the last second
    /// or so, acknowledged or not, are lost with it.**
    ///
    /// [`ChangeCursor`]: crate::ChangeCursor
    #[must_use]
    pub fn without_wal(self, without_wal: bool) -> Self {
        Self { without_wal, ..self }
    }

    /// Whether the store is opened for reading only. Default: off. No byte of its files changes, and
    /// no file appears beside them: what only the WAL contains is replayed in memory. Writes fail
    /// with [`Error::ReadOnly`](crate::Error::ReadOnly). The file must exist and have the current
    /// format ([`Error::OlderFormat`](crate::Error::OlderFormat)).
    ///
    /// Any number of processes can have one file open for reading; none while one has it open for
    /// writing ([`Error::InUse`](crate::Error::InUse)). A store that is opened for writing meanwhile
    /// is [read-only](crate::StoreState::ReadOnly) until the readers have closed it.
    ///
    /// ```
    /// use convodb::{Error, Store, StoreOptions};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("store.convodb");
    /// Store::open(&path)?.close()?;
    /// let store = Store::open_with(&path, &StoreOptions::new().read_only(true))?;
    /// assert!(store.snapshot().users()?.is_empty());
    /// let refused = store.create_user("Acme", "2025-01-25".parse()?);
    /// assert!(matches!(refused, Err(Error::ReadOnly)));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Whether a checkpoint runs on a thread of its own, beside new writes. Default: on. Off, the
    /// writer thread does it between two groups, and unfinished builds of indexes go on only when
    /// [`Store::continue_indexes`](crate::Store::continue_indexes) is called, which makes the order
    /// of I/O deterministic, for tests on a simulated disk.
    #[must_use]
    pub fn background_checkpoints(self, background_checkpoints: bool) -> Self {
        Self { background_checkpoints, ..self }
    }

    /// The number of changes that the change feed of each user retains, at least 1. Default:
    /// 1,048,576. Older ones are trimmed as new ones are written, about a thousand at a time; so
    /// the feed of a program that never calls [`Store::expire`](crate::Store::expire) stays
    /// bounded. A change takes about 60 bytes. A reader that falls behind gets
    /// [`Error::ChangesExpired`](crate::Error::ChangesExpired).
    #[must_use]
    pub fn retained_changes(self, retained_changes: u64) -> Self {
        Self { retained_changes: retained_changes.max(1), ..self }
    }

    /// How much each user may store who has no limit of its own
    /// ([`Store::set_quota`](crate::Store::set_quota)). Default: no limit. A write beyond it fails
    /// with [`Error::QuotaExceeded`](crate::Error::QuotaExceeded).
    #[must_use]
    pub fn quota(self, quota: Quota) -> Self {
        Self { quota, ..self }
    }

    /// The optional indexes that the store has, in addition to those that it has already. Default:
    /// none. A new store has them at once. To a store with conversations they are added
    /// while it is open, on a thread of its own that leaves time for writes, as by
    /// [`Store::add_indexes`](crate::Store::add_indexes); a build that a crash or
    /// [`Store::close`](crate::Store::close) interrupted continues at the next opening. Until an index
    /// is ready, lists that need it fail with
    /// [`Error::IndexBuilding`](crate::Error::IndexBuilding). A store that is opened for reading
    /// only keeps what it has.
    ///
    /// ```
    /// use convodb::{IndexFamilies, IndexFamily, IndexState, Store, StoreOptions};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("store.convodb");
    /// let store = Store::open_with(&path, &StoreOptions::new().indexes(IndexFamilies::ALL))?;
    /// assert_eq!(store.snapshot().index_state(IndexFamily::AiOff), IndexState::Ready);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn indexes(self, indexes: IndexFamilies) -> Self {
        Self { indexes, ..self }
    }

    /// The file system that the store's files are on. Default: the operating system's. For tests on
    /// a simulated disk.
    #[must_use]
    pub fn vfs(self, vfs: Arc<dyn Vfs>) -> Self {
        Self { vfs, ..self }
    }

    pub(crate) fn commit_mode(&self) -> CommitMode {
        CommitMode {
            durability: self.durability,
            memtable_bytes: self.memtable_bytes,
            fast_recovery: self.fast_recovery,
            background_checkpoints: self.background_checkpoints,
            rules: WriteRules { retained_changes: self.retained_changes, quota: self.quota },
        }
    }

    pub(crate) const fn queue_capacity(&self) -> usize {
        self.queue_depth
    }

    pub(crate) const fn page_cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    pub(crate) const fn checks_on_open(&self) -> bool {
        self.check_on_open
    }

    pub(crate) const fn gives_up_wal(&self) -> bool {
        self.without_wal
    }

    pub(crate) const fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) const fn index_families(&self) -> IndexFamilies {
        self.indexes
    }

    pub(crate) const fn file_system(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("cache_bytes", &self.cache_bytes)
            .field("queue_depth", &self.queue_depth)
            .field("durability", &self.durability)
            .field("memtable_bytes", &self.memtable_bytes)
            .finish_non_exhaustive()
    }
}

/// How groups are committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitMode {
    pub(crate) durability: Durability,
    pub(crate) memtable_bytes: usize,
    pub(crate) fast_recovery: bool,
    pub(crate) background_checkpoints: bool,
    pub(crate) rules: WriteRules,
}

/// What every write observes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteRules {
    /// The number of changes that the feed of each user retains.
    pub(crate) retained_changes: u64,
    /// How much each user may store who has no limit of its own.
    pub(crate) quota: Quota,
}

#[cfg(test)]
impl WriteRules {
    /// No limit of anything.
    pub(crate) const NONE: Self =
        Self { retained_changes: u64::MAX, quota: Quota { conversations: None, bytes: None } };
}
