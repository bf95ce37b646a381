//! Allocations of a page: a small number, which does not depend on the number of rows.
//!
//! The counts are the same on every machine. The allocator counts per thread, and this is a test
//! binary of its own, so the counts contain no other test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;

use allocation_counter::measure;
use convodb::{ChannelKind, Filter, ListRequest, PageSize, Snapshot, Store, UserId};
use convodb_testkit::dataset::{self, Dataset};

/// The buffer of the rows, their offsets, and the path of a B-tree cursor, twice: for the lookup
/// behind the gap and for the scan.
const SCAN: u64 = 4;
/// The path of the B-tree cursor that steps through the rows of an index.
const STEPS: u64 = 2;
/// A filter value whose fingerprint alone is in the cursor: it is read from the first matching row.
const LEARNT_VALUE: u64 = 1;

/// The number of allocations of a page whose rows are all read, and the number of rows.
fn allocations(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> (u64, usize) {
    let mut rows = 0;
    let counted = measure(|| {
        let page = snapshot.list(user, request).unwrap();
        for row in page.conversations() {
            black_box(row);
            rows += 1;
        }
    });
    (counted.count_total, rows)
}

/// The requests for the first page, the next page, and the page before that one, if they exist.
fn pages(snapshot: &Snapshot, user: UserId, first: ListRequest) -> Vec<ListRequest> {
    let next = snapshot.list(user, &first).unwrap().next_cursor().copied().map(ListRequest::at);
    let prev =
        next.as_ref().and_then(|next| snapshot.list(user, next).unwrap().prev_cursor().copied());
    [Some(first), next, prev.map(ListRequest::at)].into_iter().flatten().collect()
}

/// Checks that a first page of any size allocates `first` times, a page from a cursor
/// `from_cursor` times, and that the largest page has at least `rows` rows.
#[track_caller]
fn check(store: &Store, user: UserId, filter: &Filter, rows: usize, first: u64, from_cursor: u64) {
    let snapshot = store.snapshot();
    let mut most_rows = 0;
    for size in [1, 15, 100] {
        let page_size = Some(PageSize::new(size).unwrap());
        let request = ListRequest { filter: filter.clone(), page_size, ..ListRequest::default() };
        for request in pages(&snapshot, user, request) {
            let expected = if request.cursor.is_some() { from_cursor } else { first };
            let (count, rows) = allocations(&snapshot, user, &request);
            assert_eq!(count, expected, "a page of {size}, {rows} rows, {request:?}");
            most_rows = most_rows.max(rows);
        }
    }
    assert!(most_rows >= rows, "{most_rows} rows, at least {rows} expected");
}

#[test]
fn allocations_do_not_depend_on_the_page_size() {
    let store = Store::in_memory().unwrap();
    let (users, _) = dataset::load(&store, 1, 20_000, |_| {}).unwrap();
    let check = |filter, rows, first, from_cursor| {
        check(&store, users[0], &filter, rows, first, from_cursor);
    };
    let all = Filter::default;
    let kind = Some(ChannelKind::Whatsapp);
    let assistant = Some(Dataset::assistant(0, 0));
    let sender_phone = Dataset::sender_phone(0, 1).parse().ok();
    let customer_phone = || Dataset::customer_phone(0, 0).parse().ok();
    let external_identifier = Dataset::external_identifier(1).parse().ok();

    check(all(), 100, SCAN, SCAN);
    let steps = SCAN + STEPS;
    check(Filter { kind, ..all() }, 100, steps, steps);
    check(Filter { assistant, ..all() }, 100, steps, steps);
    check(Filter { kind, assistant, ..all() }, 100, steps, steps);
    check(Filter { sender_phone, ..all() }, 100, steps, steps + LEARNT_VALUE);
    let learnt = SCAN + LEARNT_VALUE;
    check(Filter { customer_phone: customer_phone(), ..all() }, 100, SCAN, learnt);
    check(Filter { external_identifier, ..all() }, 2, SCAN, learnt);

    let unused = Some(Dataset::assistant(1, 0));
    let never = Filter { customer_phone: customer_phone(), assistant: unused, ..all() };
    check(never, 0, SCAN, SCAN);
    let contradiction =
        Filter { customer_phone: customer_phone(), kind: Some(ChannelKind::Api), ..all() };
    check(contradiction, 0, 0, 0);
}
