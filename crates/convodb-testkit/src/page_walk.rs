//! Walks over whole lists, each page held against the oracle's list. What differs panics.

#![expect(clippy::unwrap_used, reason = "a proof fails by panicking")]

use crate::oracle::ListQuery;
use convodb::{Conversation, ListRequest, Page, PageSize, Snapshot, UserId};

/// The request of a list's first page.
pub fn request(asked: &ListQuery, page_size: usize) -> ListRequest {
    ListRequest {
        filter: asked.filter.clone(),
        created_from: asked.created_from,
        created_to: asked.created_to,
        order: Some(asked.order),
        page_size: Some(PageSize::new(page_size as u64).unwrap()),
        cursor: None,
    }
}

/// The page's rows.
pub fn owned(page: &Page) -> Vec<Conversation> {
    page.rows().map(|row| row.owned()).collect()
}

/// The page holds `list[start..]` up to its size, and has a cursor on a side if and only if the
/// list has rows there.
#[track_caller]
pub fn check_page(page: &Page, list: &[Conversation], start: usize, end: usize) {
    assert_eq!(owned(page), list[start..end], "rows {start}..{end} of {}", list.len());
    assert_eq!(page.next().is_some(), end < list.len(), "next after {end} of {}", list.len());
    assert_eq!(page.prev().is_some(), start > 0, "prev before {start} of {}", list.len());
    let work = page.work();
    let bound = convodb::Work::bound(page.page_size());
    assert!(work.entries + work.rows <= bound, "{work:?} above the bound of {bound}");
}

/// Walks the list from its first page to its last by cursors alone, then back to the first, and
/// holds every page against `list`.
#[track_caller]
pub fn check_walk(
    snapshot: &Snapshot,
    user: UserId,
    asked: &ListQuery,
    size: usize,
    list: &[Conversation],
) {
    let mut page = snapshot.list(user, &request(asked, size)).unwrap();
    let mut start = 0;
    let mut forward = Vec::new();
    loop {
        let end = (start + size).min(list.len());
        check_page(&page, list, start, end);
        forward.push(owned(&page));
        let Some(next) = page.next().copied() else { break };
        page = snapshot.list(user, &ListRequest::at(next)).unwrap();
        start = end;
    }
    let mut backward = vec![owned(&page)];
    while let Some(prev) = page.prev().copied() {
        page = snapshot.list(user, &ListRequest::at(prev)).unwrap();
        start -= size;
        check_page(&page, list, start, start + size);
        backward.push(owned(&page));
    }
    backward.reverse();
    assert!(forward == backward, "the way back shows the same pages");
}
