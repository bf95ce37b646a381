//! How a store is opened.

/// When a write is acknowledged.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("import.convodb");
/// use convodb::{Durability, Store, StoreOptions};
/// let options = StoreOptions { durability: Durability::Deferred, ..StoreOptions::default() };
/// let store = Store::open_with(&path, &options)?;
/// // A load that can be repeated; what makes it durable is closing.
/// store.close()?;
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Once it is on disk.
    #[default]
    Immediate,
    /// Once it can be read. There is no log; it reaches the disk when the store is closed. A crash
    /// loses what was not on disk, whole commits at a time. For tests and for loads that can be
    /// repeated.
    Deferred,
}

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
    pub memtable_bytes: usize,
    /// Whether what is carried into the tables is followed by what makes opening after a crash
    /// quick; on by default. Without it, opening after a crash reads the whole file once: a second
    /// for a million rows, and in proportion for more.
    pub fast_recovery: bool,
    /// Whether opening reads the whole file and checks every page of it; off by default. It tells
    /// of damage, also by a disk that said that something was on it and lost it, with an error,
    /// before anything is read or built upon it.
    pub check_on_open: bool,
}

impl StoreOptions {
    pub(crate) fn mode(&self) -> CommitMode {
        CommitMode {
            durability: self.durability,
            memtable_bytes: self.memtable_bytes,
            row_cache_bytes: self.row_cache_bytes,
            fast_recovery: self.fast_recovery,
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 30,
            row_cache_bytes: 128 << 20,
            queue_depth: 1024,
            durability: Durability::default(),
            memtable_bytes: 16 << 20,
            fast_recovery: true,
            check_on_open: false,
        }
    }
}

/// How groups are committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitMode {
    pub(crate) durability: Durability,
    pub(crate) memtable_bytes: usize,
    pub(crate) row_cache_bytes: usize,
    pub(crate) fast_recovery: bool,
}
