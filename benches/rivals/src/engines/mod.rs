//! One file an engine.

pub(crate) mod convodb;
pub(crate) mod lmdb;
pub(crate) mod memory;
pub(crate) mod postgres;
pub(crate) mod postgres_server;
pub(crate) mod sql;
pub(crate) mod sqlite;
