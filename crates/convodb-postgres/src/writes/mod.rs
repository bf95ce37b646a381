//! Writing: the lanes of users, and the groups of writes that they commit.

mod changes;
mod commit;
mod connection;
mod group;
mod group_import;
pub(crate) mod lane;
pub(crate) mod lookups;
pub(crate) mod metrics;
pub(crate) mod request;
mod statements;
