//! Key-value layer: ordered tables, each a redb table with a memtable above it.
//!
//! Also the tools that read and fill tables: merge cursors, bulk insertion and external sorting.
//! This layer does not know what keys and values mean.

pub(crate) mod audit;
pub(crate) mod bulk_insert;
pub(crate) mod catch_panic;
pub(crate) mod cursor;
pub(crate) mod external_sort;
pub(crate) mod gap;
pub(crate) mod memtable;
pub(crate) mod parallel;
pub(crate) mod persistent_map;
pub(crate) mod redb_key;
pub(crate) mod table;
pub(crate) mod table_spec;
#[cfg(test)]
mod table_tests;
pub(crate) mod value;
