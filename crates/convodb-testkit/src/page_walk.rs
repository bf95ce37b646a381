//! Page walk: reads a whole list forward and back, and compares every page with the oracle.
//!
//! A difference panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::oracle::{ListQuery, Oracle};
use convodb::{
    Conversation, Count, IndexFamily, IndexState, ListRequest, Page, PageSize, Snapshot, Sort,
    UserId,
};

/// The request for the first page of a query's list.
pub fn first_page_request(query: &ListQuery, page_size: usize) -> ListRequest {
    ListRequest {
        filter: query.filter.clone(),
        sort: Some(query.sort),
        order: Some(query.order),
        page_size: Some(PageSize::new(page_size as u64).unwrap()),
        ..bounds(query)
    }
}

/// A request with the bounds of a query.
fn bounds(query: &ListQuery) -> ListRequest {
    let none = ListRequest::default();
    match query.sort {
        Sort::CreatedAt => ListRequest { created_from: query.from, created_to: query.to, ..none },
        Sort::LastActivity => ListRequest { active_from: query.from, active_to: query.to, ..none },
    }
}

/// Copies the conversations of a page.
pub fn page_conversations(page: &Page) -> Vec<Conversation> {
    page.conversations().map(|row| row.owned()).collect()
}

/// Checks that the page contains `list[start..end]`, has a cursor on a side exactly if the list
/// continues there, and read no more than the bound of its size.
///
/// # Panics
/// One of these does not hold.
#[track_caller]
pub fn check_page(page: &Page, list: &[Conversation], start: usize, end: usize) {
    assert_eq!(page_conversations(page), list[start..end], "{start}..{end} of {}", list.len());
    assert_eq!(
        page.next_cursor().is_some(),
        end < list.len(),
        "next after {end} of {}",
        list.len()
    );
    assert_eq!(page.prev_cursor().is_some(), start > 0, "prev before {start} of {}", list.len());
    let work = page.cost();
    let by_activity = page.changes_cursor().is_some();
    assert!(!by_activity || work.rows <= work.entries, "a lookup for each entry: {work:?}");
    let bound = convodb::PageCost::bound_of_ranges(page.page_size(), work.ranges);
    assert!(work.entries + work.rows <= bound, "{work:?} exceeds the bound of {bound}");
}

/// Checks the previews of all conversations of a user, and that rows with previews spare the messages.
///
/// # Panics
/// One of these does not hold.
#[track_caller]
pub fn check_previews(snapshot: &Snapshot, oracle: &Oracle, user: UserId) {
    let are_kept = snapshot.index_state(IndexFamily::Previews) == IndexState::Ready;
    for page in snapshot.pages(user, ListRequest::new().previews()) {
        let page = page.unwrap();
        assert_eq!(page.previews().len(), page.len());
        for (row, preview) in page.conversations().zip(page.previews()) {
            let preview = preview.map(|preview| preview.owned());
            assert_eq!(preview, oracle.preview(user, row.id), "{}", row.id);
        }
        let messages = page.cost().messages;
        assert!(messages <= if are_kept { 0 } else { 2 * page.len() }, "{messages} messages read");
    }
}

#[track_caller]
fn check_count(snapshot: &Snapshot, user: UserId, request: &ListRequest, expected: usize) {
    let count = snapshot.count(user, request).unwrap();
    assert!(count.is_exact || expected as u64 > Count::MAX_SCANNED, "{count:?} of {expected}");
    let wanted = if count.is_exact { expected as u64 } else { count.conversations };
    assert_eq!(count.conversations, wanted, "the count of a list of {expected}");
}

/// Follows the cursors from the first page to the last and back, and checks every page against
/// `list`, and the count of the list.
///
/// # Panics
/// A page differs from its part of `list`, or the way back shows other pages.
#[track_caller]
pub fn check_walk(
    snapshot: &Snapshot,
    user: UserId,
    query: &ListQuery,
    size: usize,
    list: &[Conversation],
) {
    let first = first_page_request(query, size);
    let mut page = snapshot.list(user, &first).unwrap();
    check_count(snapshot, user, &first, list.len());
    if let Some(next) = page.next_cursor() {
        check_count(snapshot, user, &ListRequest::at(*next), list.len());
    }
    let mut start = 0;
    let mut forward = Vec::new();
    loop {
        let end = (start + size).min(list.len());
        check_page(&page, list, start, end);
        forward.push(page_conversations(&page));
        let Some(next) = page.next_cursor().copied() else { break };
        page = snapshot.list(user, &ListRequest::at(next)).unwrap();
        start = end;
    }
    let mut backward = vec![page_conversations(&page)];
    while let Some(prev) = page.prev_cursor().copied() {
        page = snapshot.list(user, &ListRequest::at(prev)).unwrap();
        start -= size;
        check_page(&page, list, start, start + size);
        backward.push(page_conversations(&page));
    }
    backward.reverse();
    assert!(forward == backward, "the way back shows other pages");
}
