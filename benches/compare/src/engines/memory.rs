//! In-memory engine ("no engine"): sorted keys in vectors, rows found by index.
//!
//! It is the lower bound of a page's cost: no tree, no file, no transaction.

use std::sync::Arc;

use anyhow::{Context, Result};
use convodb_bench::sql::Key;

use crate::dataset::record;
use crate::engines::{Engine, positions};
use crate::list::{List, Page, PageQuery, PageStart};
use crate::reference::Reference;

/// All rows and the lists over them.
pub(crate) struct Memory {
    reference: Arc<Reference>,
    lists: Vec<Sequence>,
}

/// One list: its sort keys, oldest first, and the indexes of their rows.
struct Sequence {
    keys: Vec<Key>,
    indexes: Vec<u32>,
}

impl Memory {
    pub(crate) const fn new(reference: Arc<Reference>) -> Self {
        Self { reference, lists: Vec::new() }
    }
}

impl Engine for Memory {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists.clear();
        for list in lists {
            let found = self.reference.list(list.user, &list.filter, list.sort)?;
            let (keys, indexes) = found.into_iter().rev().unzip();
            self.lists.push(Sequence { keys, indexes });
        }
        Ok(())
    }

    fn count(&mut self, list: &List, created: Option<(u64, u64)>) -> Result<u64> {
        let keys = &self.lists.get(list.number).context("list not prepared")?.keys;
        let range = positions(created);
        let below = |end: u64| keys.partition_point(|key| key.position < end);
        Ok((below(range.end) - below(range.start)) as u64)
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let Sequence { keys, indexes } =
            self.lists.get(query.list.number).context("list not prepared")?;
        let reference = self.reference.rows_of(query.list.user)?;
        let (user, page_size) = (query.list.user, query.page_size);
        let read = |at: usize| {
            record::decode(user, keys[at].position, reference.record(indexes[at] as usize))
        };
        let below = |key: Key| keys.partition_point(|other| *other < key);
        let end = match query.start {
            PageStart::First => keys.len(),
            PageStart::After(key) | PageStart::Offset { after: key, .. } => below(key),
            PageStart::Before(key) => {
                let start = below(key) + 1;
                let end = (start + page_size).min(keys.len());
                let rows = (start..end).rev().map(read).collect::<Result<_>>()?;
                return Ok(Page { rows, more: end < keys.len() });
            }
        };
        let start = end.saturating_sub(page_size);
        let rows = (start..end).rev().map(read).collect::<Result<_>>()?;
        Ok(Page { rows, more: start > 0 })
    }
}
