//! A walk that goes on while its list changes: each turn of a page is held against what the list is
//! at that moment on that side of the walk's gap. What differs panics.

#![expect(clippy::unwrap_used, reason = "a proof fails by panicking")]

use convodb::{Conversation, ListRequest, Order, Page, PageSize, Timestamp, UserId};

use crate::harness::Harness;
use crate::oracle::ListQuery;
use crate::page_walk::{owned, request};

/// A boundary between rows: those of this time and place and above it, and those below.
type Gap = (Timestamp, u64);

/// A list that is being read page by page, by the tokens of cursors.
pub struct LiveWalk {
    user: UserId,
    asked: ListQuery,
    size: usize,
    /// The tokens of the last page's cursors, and the gaps that they stand for.
    next: Option<(String, Gap)>,
    prev: Option<(String, Gap)>,
}

/// What the list is at a moment on both sides of a gap, in its order.
struct Sides {
    before: Vec<(Gap, Conversation)>,
    after: Vec<(Gap, Conversation)>,
}

/// What a page must be: these rows, and whether rows lie on its sides.
struct Expected<'a> {
    rows: &'a [(Gap, Conversation)],
    before: bool,
    after: bool,
    /// The gap that it was asked at, whose place it keeps where it is empty.
    gap: Option<Gap>,
}

impl LiveWalk {
    /// Reads the first page.
    pub fn begin(harness: &Harness, user: UserId, asked: ListQuery, size: usize) -> Self {
        let mut walk = Self { user, asked, size, next: None, prev: None };
        let page = harness.store.snapshot().list(user, &request(&walk.asked, size)).unwrap();
        let list = harness.oracle.places(user, &walk.asked);
        let end = size.min(list.len());
        let after = end < list.len();
        walk.hold(
            harness,
            &page,
            &Expected { rows: &list[..end], before: false, after, gap: None },
        );
        walk
    }

    /// Reads the page after the last one, or before it, if there is one.
    pub fn turn(&mut self, harness: &Harness, back: bool, size: Option<usize>) {
        let taken = if back { self.prev.take() } else { self.next.take() };
        let Some((token, gap)) = taken else { return };
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
        self.hold(harness, &page, &expected);
    }

    fn sides(&self, harness: &Harness, gap: Gap) -> Sides {
        let list = harness.oracle.places(self.user, &self.asked);
        let ascending = self.asked.order == Order::Ascending;
        let (before, after) = list.into_iter().partition(|(place, _)| (*place < gap) == ascending);
        Sides { before, after }
    }

    /// The page is these rows, and has a cursor on a side if and only if rows lie there.
    fn hold(&mut self, harness: &Harness, page: &Page, expected: &Expected<'_>) {
        let Expected { rows, before, after, gap } = *expected;
        let conversations: Vec<Conversation> = rows.iter().map(|(_, row)| row.clone()).collect();
        assert_eq!(owned(page), conversations, "a page of {:?}", self.asked);
        assert_eq!((page.prev().is_some(), page.next().is_some()), (before, after), "its cursors");
        let ascending = self.asked.order == Order::Ascending;
        let above = |(at, place): Gap| (at, place + 1);
        let first = rows.first().map(|(place, _)| *place);
        let last = rows.last().map(|(place, _)| *place);
        let front = first.map(|first| if ascending { first } else { above(first) }).or(gap);
        let end = last.map(|last| if ascending { above(last) } else { last }).or(gap);
        let snapshot = harness.store.snapshot();
        let token = |cursor| snapshot.seal_cursor(cursor);
        self.next = page.next().map(token).zip(end);
        self.prev = page.prev().map(token).zip(front);
    }
}
