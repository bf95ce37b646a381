//! What a rival must do to be measured: give pages.

pub(crate) mod convodb;
pub(crate) mod lmdb;
pub(crate) mod memory;
pub(crate) mod postgres;
pub(crate) mod postgres_server;
pub(crate) mod sql;
pub(crate) mod sqlite;

use std::hint::black_box;

use anyhow::Result;

use crate::list::{List, Page, PageQuery};

/// An engine with a loaded store.
pub(crate) trait Engine {
    /// Makes ready what a caller has at hand before it queries: statements, cursors.
    fn prepare(&mut self, lists: &[List]) -> Result<()>;

    /// One page in a read transaction of its own, every row decoded into an owned one. It reads
    /// one entry beyond the page to know whether the list goes on.
    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page>;

    /// What is timed: a page as its caller uses it. Gives how many rows it had.
    fn visit(&mut self, query: &PageQuery<'_>) -> Result<usize> {
        Ok(black_box(self.page(query)?).rows.len())
    }
}
