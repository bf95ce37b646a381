//! When a write is acknowledged.

/// When a write is acknowledged.
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
    pub(crate) fast_recovery: bool,
}
