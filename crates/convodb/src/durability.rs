//! When a write is acknowledged.

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

/// How groups are committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitMode {
    pub(crate) durability: Durability,
    pub(crate) tail_bytes: usize,
    pub(crate) row_cache_bytes: usize,
    pub(crate) fast_recovery: bool,
}
