//! Query layer, read-only: list pages, statistics and the change feed.
//!
//! A list request is resolved with its cursor (`request`, `list_spec`), planned as one key range
//! (`plan`), scanned (`scan`, `fetch`, `recheck`) and returned as a page with two cursors (`page`,
//! `cursor`).

pub(crate) mod changes;
pub(crate) mod count;
pub(crate) mod cursor;
pub(crate) mod fetch;
pub(crate) mod filter;
pub(crate) mod list_spec;
pub(crate) mod message_iter;
pub(crate) mod page;
pub(crate) mod page_buffer;
pub(crate) mod page_size;
pub(crate) mod plan;
pub(crate) mod recheck;
pub(crate) mod request;
pub(crate) mod row_iter;
pub(crate) mod scan;
pub(crate) mod stats;

#[cfg(test)]
mod page_tests;
