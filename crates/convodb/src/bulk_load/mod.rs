//! Bulk load: sorts any number of conversations, and writes every table once, in key order.

mod list_counting;
pub(crate) mod loader;
pub(crate) mod staging;
pub(crate) mod writer;
