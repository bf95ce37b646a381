//! SQLite engine: the shared table of `convodb_bench`, loaded with this dataset.

use std::path::Path;

use anyhow::{Context, Result};
use convodb_bench::sql::ListStatements;
use convodb_bench::sqlite::{self, Indexes, SqlPage};
use rusqlite::Connection;

use crate::dataset::SortedRows;
use crate::dataset::record::decode;
use crate::engines::{Engine, positions};
use crate::list::{List, Page, PageQuery};

/// A connection and its prepared lists.
pub(crate) struct Sqlite {
    connection: Connection,
    indexes: Indexes,
    lists: Vec<ListStatements>,
}

/// Loads the dataset in table order.
pub(crate) fn load(path: &Path, sorted: &SortedRows, indexes: Indexes) -> Result<()> {
    let rows = sorted
        .records()
        .map(|(user, position, record)| Ok((user, position, decode(user, position, record)?)));
    sqlite::load(path, indexes, rows)
}

impl Sqlite {
    pub(crate) const fn new(connection: Connection, indexes: Indexes) -> Self {
        Self { connection, indexes, lists: Vec::new() }
    }
}

impl Engine for Sqlite {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        let filter = |list: &List| match self.indexes {
            Indexes::Composite => list.filter.without_implied_kind(),
            Indexes::Single => list.filter.clone(),
        };
        self.lists = lists
            .iter()
            .map(|list| ListStatements::new(&filter(list), list.sort).for_sqlite())
            .collect();
        Ok(())
    }

    fn count(&mut self, list: &List, created: Option<(u64, u64)>) -> Result<u64> {
        let prepared = self.lists.get(list.number).context("list not prepared")?;
        sqlite::count(&self.connection, list.user, prepared, &positions(created))
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let list = self.lists.get(query.list.number).context("list not prepared")?;
        let (user, start) = (query.list.user, query.start.in_sql());
        sqlite::page(&self.connection, SqlPage { user, list, start, page_size: query.page_size })
    }
}
