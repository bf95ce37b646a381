//! Tables: what is on disk, and the one way each of them changes.

pub(crate) mod accounts;
pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod content;
pub(crate) mod feed;
pub(crate) mod index;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod names;
pub(crate) mod private;
pub(crate) mod recent;
pub(crate) mod row_cache;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod sequences;
pub(crate) mod sorted;
pub(crate) mod sorter;
pub(crate) mod table;
#[cfg(test)]
mod table_tests;
pub(crate) mod tables;
pub(crate) mod tally;
pub(crate) mod totals;
pub(crate) mod unharmed;
pub(crate) mod verify;
pub(crate) mod verify_accounts;
pub(crate) mod verify_feed;
#[cfg(test)]
mod verify_tests;
pub(crate) mod walk;
