//! Page cost: the number of reads of a page (lines 27 and 28 of the pagination contract).
//!
//! The counts are the same on every machine.

use convodb::{ChannelKind, Filter, ListRequest, PageCost, PageSize, Store, UserId};
use convodb_testkit::dataset::{self, Dataset};
use convodb_testkit::generators;
use convodb_testkit::harness::{Harness, plain_conversation};

/// All combinations of filters, with values that many rows of each type have.
fn combinations() -> Vec<Filter> {
    let mut all = Vec::new();
    for bits in 0..32_u32 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        for kind in ChannelKind::ALL.into_iter().take(if has(0) { 4 } else { 1 }) {
            all.push(Filter {
                kind: has(0).then_some(kind),
                assistant: has(1).then(|| Dataset::assistant(0, 0)),
                sender_phone: has(2).then(|| Dataset::sender_phone(0, 0).parse().unwrap()),
                customer_phone: has(3).then(|| Dataset::customer_phone(0, 0).parse().unwrap()),
                external_identifier: has(4)
                    .then(|| Dataset::external_identifier(1).parse().unwrap()),
            });
        }
    }
    all
}

/// The highest cost of a page of the list, on a walk forward and back.
fn worst(store: &Store, user: UserId, filter: &Filter, size: PageSize) -> PageCost {
    let snapshot = store.snapshot();
    let mut request =
        ListRequest { filter: filter.clone(), page_size: Some(size), ..ListRequest::default() };
    let mut worst = PageCost::default();
    let (mut forward, mut pages) = (true, 0);
    loop {
        let page = snapshot.list(user, &request).unwrap();
        let work = page.cost();
        worst = if work.entries + work.rows > worst.entries + worst.rows { work } else { worst };
        pages += 1;
        // Up to 60 pages forward, then back to the first.
        forward &= pages < 60;
        let cursor = if forward { page.next_cursor() } else { page.prev_cursor() };
        match cursor {
            Some(cursor) => request = ListRequest::at(*cursor),
            None if forward => forward = false,
            None => return worst,
        }
    }
}

#[test]
fn lines_27_28_no_page_reads_more_than_the_bound() {
    let store = Store::in_memory().unwrap();
    let (users, _) = dataset::load(&store, 1, 20_000, |_| {}).unwrap();
    for size in [1, 15, 100].map(|size| PageSize::new(size).unwrap()) {
        for filter in combinations() {
            for user in [users[0], users[3], users[999]] {
                let PageCost { entries, rows, .. } = worst(&store, user, &filter, size);
                assert!(entries <= size.get() + 2, "{entries} entries for {filter:?}");
                assert!(entries + rows <= PageCost::bound(size), "{rows} rows for {filter:?}");
            }
        }
    }
}

/// Two large lists that alternate and have no common row. A join of the two lists takes unbounded
/// time; the combined index needs one lookup.
#[test]
fn line_28_an_empty_combination_of_two_large_lists_reads_at_most_one_entry() {
    use convodb::{Channel, Conversation};
    let harness = Harness::in_memory();
    let user = harness.users[0];
    let assistants = generators::assistants();
    let mut loader = harness.store.bulk_load(convodb::BulkOptions::default());
    for number in 0..10_000 {
        let even = number % 2 == 0;
        let conversation = Conversation {
            channel: if even { Channel::Widget } else { Channel::Test },
            assistant: assistants[usize::from(even)],
            ..plain_conversation(number)
        };
        loader.push(user, &conversation, &[]).unwrap();
    }
    loader.finish().unwrap();
    let filter = Filter {
        kind: Some(ChannelKind::Widget),
        assistant: Some(assistants[0]),
        ..Filter::default()
    };
    let request = ListRequest { filter, ..ListRequest::default() };
    let page = harness.store.snapshot().list(user, &request).unwrap();
    assert!(page.is_empty());
    assert!(page.cost().entries <= 1 && page.cost().rows == 0, "{:?}", page.cost());
}
