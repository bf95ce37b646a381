//! Engines: the trait that a measured engine implements, and one module per engine.

pub(crate) mod convodb;
pub(crate) mod lmdb;
pub(crate) mod memory;
pub(crate) mod postgres;
pub(crate) mod postgres_server;
pub(crate) mod sqlite;

use std::hint::black_box;
use std::ops::Range;

use anyhow::Result;

use crate::list::{List, Page, PageQuery};

/// The positions of rows that were created between two times; all without times.
pub(crate) fn positions(created: Option<(u64, u64)>) -> Range<u64> {
    created.map_or(0..u64::MAX >> 1, |(from, to)| from << 22..to << 22)
}

/// An engine with a loaded store.
pub(crate) trait Engine {
    /// Prepares what a caller would have before its query: statements, cursors.
    fn prepare(&mut self, lists: &[List]) -> Result<()>;

    /// Reads one page in its own read transaction and decodes every row into an owned one. Reads
    /// one entry beyond the page to learn whether more rows follow.
    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page>;

    /// The number of rows of a list, or of those of its rows that were created between two times in
    /// milliseconds, the first included. Reads one read transaction.
    fn count(&mut self, list: &List, created: Option<(u64, u64)>) -> Result<u64>;

    /// Another reader of the same store, for another thread; `None` if the engine has none here.
    fn fork(&self) -> Option<Box<dyn Engine + Send>> {
        None
    }

    /// Reads a page the way its caller would use it; this is what is timed. Returns the row count.
    fn visit(&mut self, query: &PageQuery<'_>) -> Result<usize> {
        Ok(black_box(self.page(query)?).rows.len())
    }
}
