//! Page cost: the number of reads of a page (lines 27 and 28 of the pagination contract).
//!
//! The counts are the same on every machine.

use convodb::{
    BulkOptions, Channel, ChannelKind, Contact, Conversation, Filter, IndexFamilies, ListRequest,
    Order, PageCost, PageSize, Store, UserId,
};
use convodb_testkit::dataset::{self, Dataset};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::{Harness, plain_conversation, plain_id, snapshot_at_commit};
use convodb_testkit::oracle::ListQuery;
use convodb_testkit::page_walk::{check_page, check_walk, first_page_request};

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
                ..Filter::default()
            });
        }
    }
    for kind in [None, Some(ChannelKind::Whatsapp)] {
        for assistant in [None, Some(Dataset::assistant(0, 0))] {
            all.push(Filter { kind, assistant, ai_off: true, ..Filter::default() });
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
    store.add_indexes(IndexFamilies::ALL).unwrap();
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

/// A conversation whose type, assistant, phones and identifier many others have.
fn of_common_lists(number: u64) -> Conversation {
    let contact = |phone: &str| Contact { name: None, phone: Some(phone.parse().unwrap()) };
    let channel = match number % 4 {
        0 => Channel::Widget,
        1 => Channel::Api { external_identifier: Some("ticket".parse().unwrap()) },
        _ => Channel::Whatsapp { sender: contact("+1"), customer: contact("+2") },
    };
    let assistant = assistants()[usize::from(number.is_multiple_of(3))];
    Conversation { channel, assistant, ..plain_conversation(number) }
}

/// A filter for each index table, and none for the table of rows; and one that combines fields.
fn one_filter_per_table() -> [Filter; 7] {
    let none = Filter::new;
    [
        none(),
        none().kind(ChannelKind::Whatsapp),
        none().assistant(assistants()[0]),
        none().sender_phone("+1").unwrap(),
        none().customer_phone("+2").unwrap(),
        none().external_identifier("ticket").unwrap(),
        none().customer_phone("+2").unwrap().assistant(assistants()[1]),
    ]
}

/// A harness whose conversations 0 to `count` are stored in the tables: no memtable has any.
pub(crate) fn stored(count: u64) -> Harness {
    let mut harness = Harness::in_memory();
    let mut loader = harness.store.bulk_load(BulkOptions::default());
    for number in 0..count {
        let conversation = of_common_lists(number);
        loader.push(harness.users[0], &conversation, &[]).unwrap();
        harness.oracle.insert(harness.users[0], conversation, Vec::new());
    }
    loader.finish().unwrap();
    harness
}

/// Whatever is removed and not yet flushed, each list is exact, both ways, and each page keeps its
/// bound. A page reads at most one removed entry for each entry.
#[test]
fn line_27_the_bound_holds_among_any_removals() {
    const ROWS: u64 = 240;
    type Pattern = (&'static str, fn(u64) -> bool);
    let removed: [Pattern; 6] = [
        ("every second", |number| number % 2 == 0),
        ("two of three", |number| number % 3 > 0),
        ("all but every twentieth", |number| number % 20 > 0),
        ("a block", |number| (20..200).contains(&number)),
        ("the ends", |number| !(40..200).contains(&number)),
        ("all", |_| true),
    ];
    for (pattern, is_removed) in removed {
        for restored in [0, 5] {
            let mut harness = stored(ROWS);
            let user = harness.users[0];
            // Some are inserted again, on and between the removed keys.
            let is_restored = move |number: &u64| restored > 0 && number.is_multiple_of(restored);
            let deleted: Vec<u64> = (0..ROWS).filter(|number| is_removed(*number)).collect();
            let again: Vec<u64> = deleted.iter().copied().filter(is_restored).collect();
            for number in &deleted {
                assert!(harness.oracle.delete(user, plain_id(*number)));
            }
            for number in &again {
                harness.oracle.insert(user, of_common_lists(*number), Vec::new());
            }
            let snapshot = snapshot_at_commit(&harness.store, move |write| {
                deleted.iter().try_for_each(|number| write.delete(user, plain_id(*number)))?;
                again
                    .iter()
                    .try_for_each(|number| write.insert(user, of_common_lists(*number), Vec::new()))
            });
            let mut met = false;
            for filter in one_filter_per_table() {
                for order in [Order::Descending, Order::Ascending] {
                    let query = ListQuery { filter: filter.clone(), order, ..ListQuery::default() };
                    let list = harness.oracle.list(user, &query);
                    for size in [1, 15, 100] {
                        check_walk(&snapshot, user, &query, size, &list);
                        let page = snapshot.list(user, &first_page_request(&query, size)).unwrap();
                        let entries = page.cost().entries;
                        assert!(entries <= 2 * (size + 2), "{pattern}: {:?}", page.cost());
                        met |= entries > page.len() + usize::from(page.next_cursor().is_some());
                    }
                }
            }
            assert!(met, "{pattern}: no page has met a removed entry");
        }
    }
}

/// 10,000 removed rows in a row cost a page one entry and one lookup.
#[test]
fn line_27_a_long_run_of_removals_costs_one_entry() {
    const ROWS: u64 = 10_040;
    let harness = stored(ROWS);
    let user = harness.users[0];
    let snapshot = snapshot_at_commit(&harness.store, move |write| {
        (20..ROWS - 20).try_for_each(|number| write.delete(user, plain_id(number)))
    });
    for order in [Order::Ascending, Order::Descending] {
        let query = ListQuery { order, ..ListQuery::default() };
        let mut list: Vec<Conversation> =
            (0..20).chain(ROWS - 20..ROWS).map(of_common_lists).collect();
        if order == Order::Descending {
            list.reverse();
        }
        let first = snapshot.list(user, &first_page_request(&query, 15)).unwrap();
        check_page(&first, &list, 0, 15);
        let across = ListRequest::at(*first.next_cursor().unwrap());
        let across = snapshot.list(user, &across).unwrap();
        check_page(&across, &list, 15, 30);
        // The 15 rows, one on each side, and one for the run.
        assert_eq!(across.cost().entries, 18);
    }
}

/// Two large lists that alternate and have no common row. A join of the two lists takes unbounded
/// time; the combined index needs one lookup.
#[test]
fn line_28_an_empty_combination_of_two_large_lists_reads_at_most_one_entry() {
    let harness = Harness::in_memory();
    let user = harness.users[0];
    let assistants = assistants();
    let mut loader = harness.store.bulk_load(BulkOptions::default());
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

/// Filters with 2 to 60 combinations of types and assistants, alone and beside another field.
fn unions() -> Vec<(Filter, usize)> {
    use ChannelKind::{Api, Test, Whatsapp, Widget};
    let ids = |count| (0..count).map(|number| Dataset::assistant(0, number));
    let of = |kinds: &[ChannelKind], count: usize| {
        let kinds = Filter::new().kinds(kinds.iter().copied()).unwrap();
        kinds.assistants(ids(count)).unwrap()
    };
    let sender_phone = || Dataset::sender_phone(0, 0).parse().ok();
    let external_identifier = Dataset::external_identifier(1).parse().ok();
    vec![
        (Filter::new().kinds([Whatsapp, Api]).unwrap(), 2),
        (Filter::new().kinds([Test, Widget, Api]).unwrap(), 3),
        (Filter::new().assistants(ids(20)).unwrap(), 20),
        (of(&[Whatsapp], 20), 20),
        (of(&[Whatsapp, Api], 2), 4),
        (of(&[Test, Whatsapp, Api], 20), 60),
        (of(&ChannelKind::ALL, 20), 20),
        (Filter { sender_phone: sender_phone(), ..of(&[Whatsapp, Api], 20) }, 20),
        (Filter { sender_phone: sender_phone(), ..of(&[Whatsapp, Api], 1) }, 1),
        (Filter { external_identifier, ..of(&[Test, Api], 5) }, 5),
        (Filter { sender_phone: sender_phone(), ..of(&[Test, Api], 5) }, 0),
    ]
}

#[test]
fn a_page_of_a_union_reads_one_entry_more_for_each_range() {
    let store = Store::in_memory().unwrap();
    let (users, _) = dataset::load(&store, 1, 20_000, |_| {}).unwrap();
    for size in [1, 15, 100].map(|size| PageSize::new(size).unwrap()) {
        for (filter, expected) in unions() {
            for user in [users[0], users[3]] {
                let cost = worst(&store, user, &filter, size);
                let PageCost { ranges, entries, rows, .. } = cost;
                let at_most = if ranges == 0 { 0 } else { size.get() + ranges + 1 };
                assert_eq!(ranges, expected, "{filter:?}");
                assert!(entries <= at_most, "{entries} entries for {filter:?}");
                let bound = PageCost::bound_of_ranges(size, ranges);
                assert!(entries + rows <= bound, "{cost:?} for {filter:?}");
            }
        }
    }
}

/// The worst page of a union: every row behind the cursor was removed, so each range must be looked
/// at, and each range has an entry of another list on both sides of the gap.
#[test]
fn the_look_behind_the_gap_costs_one_entry_for_each_range() {
    use convodb::{AssistantId, Channel, Conversation};
    let mut harness = Harness::in_memory();
    let user = harness.users[0];
    let ids: Vec<AssistantId> = (0..20_u128)
        .map(|number| AssistantId::new(uuid::Uuid::from_u128(1_000 + number)))
        .collect();
    for id in &ids {
        harness.store.create_assistant(user, *id, "Bot").unwrap();
    }
    let size = PageSize::new(3).unwrap();
    for number in 0..40_u64 {
        let assistant = ids[usize::try_from(number).unwrap() % 20];
        let row =
            Conversation { assistant, channel: Channel::Widget, ..plain_conversation(number) };
        harness.insert(user, row);
    }
    let filter = Filter::new().assistants(ids).unwrap().kind(ChannelKind::Widget);
    let request = ListRequest { filter, page_size: Some(size), ..ListRequest::default() };
    let first = harness.store.snapshot().list(user, &request).unwrap();
    let cursor = *first.next_cursor().unwrap();
    let second = harness.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
    assert!(second.cost().entries <= 3 + 20 + 1, "{:?}", second.cost());

    for row in first.conversations() {
        harness.store.delete(user, row.id).unwrap();
    }
    let page = harness.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
    assert!(page.conversations().eq(second.conversations()) && page.prev_cursor().is_none());
    let PageCost { entries, rows, .. } = page.cost();
    assert!(entries > 3 + 20 + 1, "every range is looked at: {entries}");
    // Each may lie behind a run of removed entries.
    assert!(entries <= 2 * (3 + 2 * 20) && entries + rows <= PageCost::bound_of_ranges(size, 20));
}
