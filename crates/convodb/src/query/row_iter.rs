//! All rows of a list, from either end, in one consistent view.

use std::collections::VecDeque;

use crate::encoding::index_term::Fingerprinter;
use crate::error::Result;
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::query::filter::Filter;
use crate::query::list_spec::{Direction, ListSpec};
use crate::query::page;
use crate::query::page_size::PageSize;
use crate::query::request::ResolvedRequest;
use crate::tables::Tables;

/// The part of a walk over a list that neither end has read yet, and what each end has read ahead.
///
/// Each end reads pages of 100 and closes in on the other.
#[derive(Debug)]
pub(crate) struct RowIter {
    owner: UserId,
    filter: Filter,
    list: ListSpec,
    /// The gap after what the front has read, and before what the back has read.
    gaps: (Position, Position),
    unread: bool,
    front: VecDeque<Conversation>,
    back: VecDeque<Conversation>,
}

impl RowIter {
    pub(crate) fn new(owner: UserId, filter: Filter, list: ListSpec) -> Self {
        let gaps = (list.front(), list.back());
        let (front, back) = (VecDeque::new(), VecDeque::new());
        Self { owner, filter, list, gaps, unread: true, front, back }
    }

    /// The next row from the front of the list (`Next`) or from its back (`Prev`).
    pub(crate) fn next(
        &mut self,
        tables: &Tables,
        fingerprinter: &Fingerprinter,
        direction: Direction,
    ) -> Option<Result<Conversation>> {
        let ahead = match direction {
            Direction::Next => &self.front,
            Direction::Prev => &self.back,
        };
        if ahead.is_empty()
            && self.unread
            && let Err(error) = self.read_ahead(tables, fingerprinter, direction)
        {
            self.unread = false;
            self.front.clear();
            self.back.clear();
            return Some(Err(error));
        }
        // What the other end has read ahead is what is left when nothing is unread.
        let row = match direction {
            Direction::Next => self.front.pop_front().or_else(|| self.back.pop_front()),
            Direction::Prev => self.back.pop_back().or_else(|| self.front.pop_back()),
        };
        row.map(Ok)
    }

    fn read_ahead(
        &mut self,
        tables: &Tables,
        fingerprinter: &Fingerprinter,
        direction: Direction,
    ) -> Result<()> {
        let gap = match direction {
            Direction::Next => self.gaps.0,
            Direction::Prev => self.gaps.1,
        };
        let page_size = PageSize::MAX;
        // What lies behind the gap was read, so nobody needs to look there.
        let resolved =
            ResolvedRequest { list: self.list, page_size, direction, gap, at_front: true };
        let page = page::read(tables, fingerprinter, self.owner, &self.filter, &resolved)?;
        // Positions between the two gaps, in whichever order the list has.
        let (low, high) = (self.gaps.0.min(self.gaps.1), self.gaps.0.max(self.gaps.1));
        let fresh: VecDeque<Conversation> = page
            .positions()
            .zip(page.conversations())
            .filter(|(position, _)| (low..high).contains(position))
            .map(|(_, row)| row.owned())
            .collect();
        let met = fresh.len() < page.len();
        match direction {
            Direction::Next => {
                self.unread = page.next_cursor().is_some() && !met;
                self.gaps.0 = page.positions().last().map_or(gap, |last| self.list.gap_after(last));
                self.front = fresh;
            }
            Direction::Prev => {
                self.unread = page.prev_cursor().is_some() && !met;
                self.gaps.1 = page.positions().next().map_or(gap, |p| self.list.gap_before(p));
                self.back = fresh;
            }
        }
        Ok(())
    }
}
