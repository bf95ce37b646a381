//! Ordered tables: redb tables with a memtable above each, and what iterates, fills and caches them.

pub(crate) mod bulk_insert;
pub(crate) mod catch_panic;
pub(crate) mod cursor;
pub(crate) mod external_sort;
pub(crate) mod memtable;
pub(crate) mod redb_key;
pub(crate) mod row_cache;
pub(crate) mod table;
#[cfg(test)]
mod table_tests;
pub(crate) mod value;
