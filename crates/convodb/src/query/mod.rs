//! Reading: a filter becomes one range, a range becomes a page. Nothing here writes.

pub(crate) mod changes;
pub(crate) mod cursor;
pub(crate) mod fetch;
pub(crate) mod filter;
pub(crate) mod list_spec;
pub(crate) mod page;
pub(crate) mod page_size;
pub(crate) mod plan;
pub(crate) mod recheck;
pub(crate) mod request;
pub(crate) mod row_iter;
pub(crate) mod scan;
pub(crate) mod stats;

#[cfg(test)]
mod page_tests;
