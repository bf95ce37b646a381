//! Engines: the trait that a measured engine implements, and one module per engine.

pub(crate) mod convodb;
pub(crate) mod lmdb;
pub(crate) mod memory;
pub(crate) mod postgres;
pub(crate) mod postgres_server;
pub(crate) mod sqlite;

use std::hint::black_box;

use anyhow::Result;

use crate::list::{List, Page, PageQuery};

/// An engine with a loaded store.
pub(crate) trait Engine {
    /// Prepares what a caller would have before its query: statements, cursors.
    fn prepare(&mut self, lists: &[List]) -> Result<()>;

    /// Reads one page in its own read transaction and decodes every row into an owned one. Reads
    /// one entry beyond the page to learn whether more rows follow.
    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page>;

    /// Reads a page the way its caller would use it; this is what is timed. Returns the row count.
    fn visit(&mut self, query: &PageQuery<'_>) -> Result<usize> {
        Ok(black_box(self.page(query)?).rows.len())
    }
}
