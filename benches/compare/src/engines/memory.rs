//! In-memory engine ("no engine"): sorted positions in vectors, rows found by index.
//!
//! It is the lower bound of a page's cost: no tree, no file, no transaction.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::dataset::record;
use crate::engines::Engine;
use crate::list::{List, Page, PageQuery, PageStart};
use crate::reference::Reference;

/// All rows and the lists over them.
pub(crate) struct Memory {
    reference: Arc<Reference>,
    lists: Vec<Sequence>,
}

/// One list: its positions, oldest first, and the indexes of their rows.
struct Sequence {
    positions: Vec<u64>,
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
            let indexes = self.reference.indexes(list.user, &list.filter)?;
            let positions = list.positions.iter().rev().copied().collect();
            self.lists.push(Sequence { positions, indexes });
        }
        Ok(())
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let Sequence { positions, indexes } =
            self.lists.get(query.list.number).context("list not prepared")?;
        let reference = self.reference.rows_of(query.list.user)?;
        let (user, page_size) = (query.list.user, query.page_size);
        let read =
            |at: usize| record::decode(user, positions[at], reference.record(indexes[at] as usize));
        let below = |position: u64| positions.partition_point(|other| *other < position);
        let end = match query.start {
            PageStart::First => positions.len(),
            PageStart::After(position) | PageStart::Offset { after: position, .. } => {
                below(position)
            }
            PageStart::Before(position) => {
                let start = below(position) + 1;
                let end = (start + page_size).min(positions.len());
                let rows = (start..end).rev().map(read).collect::<Result<_>>()?;
                return Ok(Page { rows, more: end < positions.len() });
            }
        };
        let start = end.saturating_sub(page_size);
        let rows = (start..end).rev().map(read).collect::<Result<_>>()?;
        Ok(Page { rows, more: start > 0 })
    }
}
