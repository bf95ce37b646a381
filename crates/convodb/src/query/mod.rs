//! Reading: a filter becomes one range, a range becomes a page. Nothing here writes.

pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod cursor;
pub(crate) mod fetch;
pub(crate) mod filter;
pub(crate) mod list;
pub(crate) mod page;
pub(crate) mod page_size;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod rows;
pub(crate) mod scan;

#[cfg(test)]
mod page_tests;
