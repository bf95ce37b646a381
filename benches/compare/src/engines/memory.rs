//! "No engine": sorted positions in memory, rows found by their number. What reading a page would
//! cost if there were no tree, no file, no transaction and no other list.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::dataset::record;
use crate::engines::Engine;
use crate::list::{List, Page, PageQuery, PageStart};
use crate::reference::Reference;

/// Lists and rows in memory.
pub(crate) struct Memory {
    reference: Arc<Reference>,
    lists: Vec<Sequence>,
}

/// One list: positions, oldest first, and the numbers of the rows there.
struct Sequence {
    positions: Vec<u64>,
    numbers: Vec<u32>,
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
            let numbers = self.reference.numbers(list.user, &list.filter)?;
            let positions = list.positions.iter().rev().copied().collect();
            self.lists.push(Sequence { positions, numbers });
        }
        Ok(())
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let Sequence { positions, numbers } =
            self.lists.get(query.list.number).context("a list that was not prepared")?;
        let reference = self.reference.of(query.list.user)?;
        let (user, page_size) = (query.list.user, query.page_size);
        let read =
            |at: usize| record::decode(user, positions[at], reference.record(numbers[at] as usize));
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
