//! The verbs of the command, one file each; `serve` has its own folder.

pub(crate) mod assistant;
pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod token;
pub(crate) mod usage;
pub(crate) mod user;
pub(crate) mod verify;
