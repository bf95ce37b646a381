//! Maintenance of a store: backup, restore, compaction, erasure, retention and disk usage.

pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod erase;
pub(crate) mod expire;
pub(crate) mod options;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod usage;
