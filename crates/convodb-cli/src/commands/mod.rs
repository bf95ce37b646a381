//! Verbs of the command line: one file each, with its arguments and its `run`.
//!
//! `serve` has a folder of its own.

pub(crate) mod assistant;
pub(crate) mod backup;
pub(crate) mod bench;
mod bench_table;
pub(crate) mod changes;
#[cfg(feature = "postgres")]
pub(crate) mod cluster;
pub(crate) mod compact;
pub(crate) mod delete;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod indexes;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod show;
pub(crate) mod token;
pub(crate) mod usage;
pub(crate) mod user;
pub(crate) mod verify;
