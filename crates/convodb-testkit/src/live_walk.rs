//! Live walk: reads a list page by page while the list changes.
//!
//! A cursor names a gap between two rows. Each page is compared with the rows that the oracle has
//! on that side of the gap at the moment of the request. A difference panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use convodb::{
    ChangeCursor, Conversation, ListRequest, Order, Page, PageSize, Sort, Timestamp, UserId,
};

use crate::harness::Harness;
use crate::oracle::{ListPlace, ListQuery};
use crate::page_walk::{first_page_request, page_conversations};

/// A boundary between rows: rows at or above this place, and rows below.
type Gap = ListPlace;

/// A list that is read page by page through the tokens of its cursors.
pub struct LiveWalk {
    user: UserId,
    query: ListQuery,
    size: usize,
    /// What all pages have in common, if the list is by last activity.
    changes: Option<ChangeCursor>,
    /// Of an ascending list by last activity, the newest activity when the walk began: it goes no
    /// further.
    ceiling: Option<Timestamp>,
    /// Token of the last page's next cursor, and the gap that it names.
    next: Option<(String, Gap)>,
    /// Token of the last page's previous cursor, and the gap that it names.
    prev: Option<(String, Gap)>,
}

/// The current list on both sides of a gap, in list order.
struct Sides {
    before: Vec<(Gap, Conversation)>,
    after: Vec<(Gap, Conversation)>,
}

/// The expected page: its rows, and whether the list continues on each side.
struct Expected<'a> {
    rows: &'a [(Gap, Conversation)],
    before: bool,
    after: bool,
    /// The gap of the request. The cursors of an empty page name it again.
    gap: Option<Gap>,
}

impl LiveWalk {
    /// Reads the first page.
    pub fn begin(harness: &Harness, user: UserId, query: ListQuery, size: usize) -> Self {
        let request = first_page_request(&query, size);
        let page = harness.store.snapshot().list(user, &request).unwrap();
        let list = harness.oracle.places(user, &query);
        let is_limited = (query.sort, query.order) == (Sort::LastActivity, Order::Ascending);
        let newest = list.last().map(|(place, _)| place.activity);
        let ceiling = newest.filter(|_| is_limited);
        let changes = page.changes_cursor().copied();
        assert_eq!(changes.is_some(), query.sort == Sort::LastActivity);
        let mut walk = Self { user, query, size, changes, ceiling, next: None, prev: None };
        let end = size.min(list.len());
        let after = end < list.len();
        let expected = Expected { rows: &list[..end], before: false, after, gap: None };
        walk.check(harness, &page, &expected);
        walk
    }

    /// Reads the page after the last one, or before it if `back`. Does nothing if the last page
    /// has no cursor on that side.
    pub fn turn_page(&mut self, harness: &Harness, back: bool, size: Option<usize>) {
        let cursor = if back { self.prev.take() } else { self.next.take() };
        let Some((token, gap)) = cursor else { return };
        self.size = size.unwrap_or(self.size);
        let snapshot = harness.store.snapshot();
        let cursor = snapshot.open_cursor(self.user, &token).unwrap();
        let page_size = size.map(|size| PageSize::new(size as u64).unwrap());
        let request = ListRequest { page_size, ..ListRequest::at(cursor) };
        let page = snapshot.list(self.user, &request).unwrap();

        let Sides { before, after } = self.sides(harness, gap);
        let gap = Some(gap);
        let expected = if back {
            let start = before.len().saturating_sub(self.size);
            Expected { rows: &before[start..], before: start > 0, after: !after.is_empty(), gap }
        } else {
            let end = self.size.min(after.len());
            let more = end < after.len();
            Expected { rows: &after[..end], before: !before.is_empty(), after: more, gap }
        };
        self.check(harness, &page, &expected);
    }

    fn sides(&self, harness: &Harness, gap: Gap) -> Sides {
        let mut list = harness.oracle.places(self.user, &self.query);
        list.retain(|(place, _)| self.ceiling.is_none_or(|ceiling| place.activity <= ceiling));
        let ascending = self.query.order == Order::Ascending;
        let (before, after) =
            list.into_iter().partition(|(position, _)| (*position < gap) == ascending);
        Sides { before, after }
    }

    /// Checks the rows of a page, and that it has a cursor on a side exactly if rows lie there.
    fn check(&mut self, harness: &Harness, page: &Page, expected: &Expected<'_>) {
        let Expected { rows, before, after, gap } = *expected;
        let conversations: Vec<Conversation> = rows.iter().map(|(_, row)| row.clone()).collect();
        assert_eq!(page_conversations(page), conversations, "a page of {:?}", self.query);
        assert_eq!(page.changes_cursor(), self.changes.as_ref(), "of the walk's beginning");
        assert_eq!(
            (page.prev_cursor().is_some(), page.next_cursor().is_some()),
            (before, after),
            "its cursors"
        );
        let ascending = self.query.order == Order::Ascending;
        let above = |place: Gap| Gap { position: place.position + 1, ..place };
        let first = rows.first().map(|(position, _)| *position);
        let last = rows.last().map(|(position, _)| *position);
        let front = first.map(|first| if ascending { first } else { above(first) }).or(gap);
        let end = last.map(|last| if ascending { above(last) } else { last }).or(gap);
        let snapshot = harness.store.snapshot();
        let token = |cursor| snapshot.seal_cursor(cursor);
        self.next = page.next_cursor().map(token).zip(end);
        self.prev = page.prev_cursor().map(token).zip(front);
    }
}
