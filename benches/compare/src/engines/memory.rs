//! "No engine": sorted positions in memory, rows found by their number. What reading a page would
//! cost if there were no tree, no file, no transaction and no other list.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::dataset::record;
use crate::engines::Engine;
use crate::list::{Ask, List, Page, Way};
use crate::reference::Held;

/// Lists and rows in memory.
pub(crate) struct Memory {
    held: Arc<Held>,
    lists: Vec<Sequence>,
}

/// One list: positions, oldest first, and the numbers of the rows there.
struct Sequence {
    positions: Vec<u64>,
    numbers: Vec<u32>,
}

impl Memory {
    pub(crate) const fn new(held: Arc<Held>) -> Self {
        Self { held, lists: Vec::new() }
    }
}

impl Engine for Memory {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists.clear();
        for list in lists {
            let numbers = self.held.numbers(list.owner, &list.wanted)?;
            let positions = list.positions.iter().rev().copied().collect();
            self.lists.push(Sequence { positions, numbers });
        }
        Ok(())
    }

    fn page(&mut self, ask: &Ask<'_>) -> Result<Page> {
        let Sequence { positions, numbers } =
            self.lists.get(ask.list.number).context("a list that was not prepared")?;
        let held = self.held.of(ask.list.owner)?;
        let (owner, page_size) = (ask.list.owner, ask.page_size);
        let read =
            |at: usize| record::decode(owner, positions[at], held.record(numbers[at] as usize));
        let below = |position: u64| positions.partition_point(|other| *other < position);
        let end = match ask.way {
            Way::First => positions.len(),
            Way::After(position) | Way::Offset { after: position, .. } => below(position),
            Way::Before(position) => {
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
