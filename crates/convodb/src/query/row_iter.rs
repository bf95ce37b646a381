//! Row iterator: all conversations of a list, from both ends, in one snapshot.

use std::collections::VecDeque;

use crate::encoding::index_term::Fingerprinter;
use crate::error::Result;
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::model::position::SortKey;
use crate::query::filter::Filter;
use crate::query::list_spec::{Direction, ListSpec};
use crate::query::page;
use crate::query::page_size::PageSize;
use crate::query::request::ResolvedRequest;
use crate::tables::Tables;

/// The state of a double-ended iteration over a list.
///
/// Each end reads pages of 100 conversations ahead, until both ends meet.
#[derive(Debug)]
pub(crate) struct RowIter {
    user: UserId,
    filter: Filter,
    list: ListSpec,
    /// The gap after the conversations read from the front, and the gap before those read from the
    /// back.
    gaps: (SortKey, SortKey),
    /// Whether the list may have conversations between the two gaps.
    unread: bool,
    front: VecDeque<Conversation>,
    back: VecDeque<Conversation>,
}

impl RowIter {
    pub(crate) fn new(user: UserId, filter: Filter, list: ListSpec) -> Self {
        let gaps = (list.front(), list.back());
        let (front, back) = (VecDeque::new(), VecDeque::new());
        Self { user, filter, list, gaps, unread: true, front, back }
    }

    /// Returns the next conversation from the front of the list (`Next`) or from its back (`Prev`).
    /// After an error the iteration ends.
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
        // When everything is read, the rest is what the other end has read ahead.
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
        // The rows behind the gap have been read: `at_front` skips the look behind it.
        let resolved = ResolvedRequest {
            list: self.list,
            page_size,
            direction,
            gap,
            at_front: true,
            behind: 0,
            walk: None,
            previews: false,
        };
        let page = page::read(tables, fingerprinter, self.user, &self.filter, &resolved)?;
        // The gaps in ascending order of sort keys, for both orders of the list.
        let (low, high) = (self.gaps.0.min(self.gaps.1), self.gaps.0.max(self.gaps.1));
        let fresh: VecDeque<Conversation> = page
            .sort_keys()
            .zip(page.conversations())
            .filter(|(key, _)| (low..high).contains(key))
            .map(|(_, row)| row.owned())
            .collect();
        let met = fresh.len() < page.len();
        match direction {
            Direction::Next => {
                self.unread = page.next_cursor().is_some() && !met;
                self.gaps.0 = page.sort_keys().last().map_or(gap, |last| self.list.gap_after(last));
                self.front = fresh;
            }
            Direction::Prev => {
                self.unread = page.prev_cursor().is_some() && !met;
                self.gaps.1 = page.sort_keys().next().map_or(gap, |key| self.list.gap_before(key));
                self.back = fresh;
            }
        }
        Ok(())
    }
}
