//! Pagination contract of the engine, line by line.
//!
//! Other lines are tested elsewhere: tokens in `cursor_tokens`, concurrent changes in
//! `concurrent_changes`, costs in `page_cost`, and HTTP in `convodb-http`.

use convodb::{
    AssistantIds, Channel, ChannelKind, ChannelKinds, Contact, Conversation, Filter, ListRequest,
    Order, PageSize, Store, Timestamp,
};
use convodb_testkit::generators::{assistants, conversation, list_query};
use convodb_testkit::oracle::ListQuery;
use proptest::prelude::*;

use convodb_testkit::harness::{Harness, cases, plain_conversation, plain_id};
use convodb_testkit::page_walk::{check_page, check_walk, first_page_request, page_conversations};

fn any_list() -> ListQuery {
    ListQuery::default()
}

/// The numbers of the plain conversations of a page.
fn numbers(page: &convodb::Page) -> Vec<u128> {
    page.conversations().map(|row| row.id.uuid().as_u128()).collect()
}

/// All 32 combinations of filters, with values that some rows have.
fn combinations() -> Vec<Filter> {
    let has = |bits: u32, bit: u32| bits & (1 << bit) != 0;
    (0..32)
        .flat_map(|bits| ChannelKind::ALL.map(|kind| (bits, kind)))
        .map(|(bits, kind)| Filter {
            kind: has(bits, 0).then_some(kind),
            assistant: has(bits, 1).then(|| assistants()[0]),
            sender_phone: has(bits, 2).then(|| "1".parse().unwrap()),
            customer_phone: has(bits, 3).then(|| "1".parse().unwrap()),
            external_identifier: has(bits, 4).then(|| "crm-1".parse().unwrap()),
            ..Filter::default()
        })
        .collect()
}

/// Two hundred rows with few different values, so that every possible combination has matches.
fn mixed_rows() -> Harness {
    let mut harness = Harness::in_memory();
    let contact =
        |phone: u64| Contact { name: None, phone: Some(phone.to_string().parse().unwrap()) };
    for number in 0..200 {
        let channel = match number % 8 {
            0 => Channel::Test,
            1 | 2 => Channel::Widget,
            3 | 4 => Channel::Api {
                external_identifier: Some(format!("crm-{}", number / 8 % 2).parse().unwrap()),
            },
            _ => Channel::Whatsapp {
                sender: contact(number / 8 % 2),
                customer: contact(number / 16 % 2),
            },
        };
        let conversation = Conversation {
            channel,
            assistant: assistants()[usize::from(number % 3 == 0)],
            ..plain_conversation(number)
        };
        harness.insert(harness.users[usize::from(number % 5 == 0)], conversation);
    }
    harness
}

#[test]
fn lines_1_2_5_6_walks_equal_the_oracle_for_all_filters_and_page_sizes() {
    let harness = mixed_rows();
    let snapshot = harness.store.snapshot();
    let user = harness.users[0];
    let mut matched = 0;
    for filter in combinations() {
        for order in [Order::Descending, Order::Ascending] {
            let query = ListQuery { filter: filter.clone(), order, ..any_list() };
            let list = harness.oracle.list(user, &query);
            matched += usize::from(!list.is_empty());
            // All sizes above the length return one page, so a few of them suffice.
            for size in (1..=list.len() + 1).chain([50, 99, 100]) {
                check_walk(&snapshot, user, &query, size.min(100), &list);
            }
        }
    }
    // T (4 types), A, TA (4); with a phone number or an identifier C, S, CS, E, each alone, with A,
    // with the type that it implies, and with both; and no filter; in two orders.
    assert_eq!(
        matched,
        2 * (1 + 1) * 4 + 2 * 4 * (1 + 1) + 2 * 4 * (1 + 1) * 5,
        "combinations with rows"
    );
}

/// Unions: every set of types and of assistants, alone and beside each other field.
#[test]
fn walks_of_unions_equal_the_oracle() {
    let harness = mixed_rows();
    let snapshot = harness.store.snapshot();
    let user = harness.users[0];
    let sets = |count: usize| 0..1_usize << count;
    let chosen = |bits: usize, at: &usize| bits & (1 << at) != 0;
    let mut matched = 0;
    for (types, ids) in sets(4).flat_map(|types| sets(3).map(move |ids| (types, ids))) {
        let types: Vec<_> = (0..4).filter(|at| chosen(types, at)).collect();
        let ids: Vec<_> = (0..3).filter(|at| chosen(ids, at)).collect();
        let other = (types.len() + 3 * ids.len()) % 4;
        let filter = Filter {
            kinds: ChannelKinds::new(types.iter().map(|at| ChannelKind::ALL[*at])).ok(),
            assistants: AssistantIds::new(ids.iter().map(|at| assistants()[*at])).ok(),
            sender_phone: (other == 1).then(|| "1".parse().unwrap()),
            customer_phone: (other == 2).then(|| "1".parse().unwrap()),
            external_identifier: (other == 3).then(|| "crm-1".parse().unwrap()),
            ..Filter::default()
        };
        for order in Order::ALL {
            let query = ListQuery { filter: filter.clone(), order, ..any_list() };
            let list = harness.oracle.list(user, &query);
            matched += usize::from(!list.is_empty());
            for size in [1, 2, 3, 7, 50, 100] {
                check_walk(&snapshot, user, &query, size, &list);
            }
        }
    }
    assert!(matched > 100, "{matched} unions with rows");
}

#[test]
fn line_16_a_cursor_of_a_union_rejects_another_union() {
    use ChannelKind::{Api, Test, Whatsapp, Widget};
    let harness = mixed_rows();
    let user = harness.users[0];
    let snapshot = harness.store.snapshot();
    let ids = assistants();
    let union = || Filter::new().kinds([Widget, Api]).unwrap();
    let filter = union().assistants([ids[0], ids[1]]).unwrap();
    let query = ListQuery { filter: filter.clone(), ..any_list() };
    let list = harness.oracle.list(user, &query);
    let first = snapshot.list(user, &first_page_request(&query, 4)).unwrap();
    // A client has only the token.
    let token = snapshot.seal_cursor(first.next_cursor().unwrap());
    let cursor = snapshot.open_cursor(user, &token).unwrap();
    let with = |filter: Filter| ListRequest { filter, ..ListRequest::at(cursor) };
    let same = Filter::new().assistants([ids[1], ids[0], ids[1]]).unwrap();
    for fine in [Filter::new(), filter.clone(), union(), same] {
        check_page(&snapshot.list(user, &with(fine)).unwrap(), &list, 4, 8);
    }
    let conflict = |filter: Filter| match snapshot.list(user, &with(filter)) {
        Err(convodb::Error::CursorConflict { field }) => field,
        other => panic!("{other:?}"),
    };
    for kinds in [vec![Widget], vec![Widget, Whatsapp], vec![Test, Widget, Whatsapp, Api]] {
        assert_eq!(conflict(Filter::new().kinds(kinds).unwrap()), "type");
    }
    for ids in [vec![ids[0]], vec![ids[0], ids[2]], ids.clone()] {
        assert_eq!(conflict(Filter::new().assistants(ids).unwrap()), "assistant_id");
    }
    // Filters that contradict themselves.
    assert_eq!(conflict(union().kind(Test)), "type");
    assert_eq!(conflict(same_but(&filter, ids[2])), "assistant_id");
    let plain = snapshot.list(user, &first_page_request(&any_list(), 4)).unwrap();
    let beside_plain = ListRequest {
        filter: same_but(&Filter { kinds: None, ..filter }, ids[2]),
        ..ListRequest::at(*plain.next_cursor().unwrap())
    };
    let refused = snapshot.list(user, &beside_plain);
    assert!(matches!(refused, Err(convodb::Error::CursorConflict { field: "assistant_id" })));
}

/// The filter with one more assistant, which it does not pass.
fn same_but(filter: &Filter, assistant: convodb::AssistantId) -> Filter {
    filter.clone().assistant(assistant)
}

#[test]
fn a_union_that_contradicts_itself_is_empty_and_reads_nothing() {
    let harness = mixed_rows();
    let snapshot = harness.store.snapshot();
    let ids = assistants();
    for filter in [
        Filter::new().kinds([ChannelKind::Api]).unwrap().kind(ChannelKind::Test),
        Filter::new().assistants([ids[0], ids[1]]).unwrap().assistant(ids[2]),
    ] {
        let request = ListRequest::new().filter(filter);
        let page = snapshot.list(harness.users[0], &request).unwrap();
        assert!(page.is_empty() && page.next_cursor().is_none() && page.prev_cursor().is_none());
        assert_eq!(page.cost(), convodb::PageCost::default());
        assert!(snapshot.conversations(harness.users[0], &request).next().is_none());
    }
}

#[test]
fn line_3_a_thousand_rows_of_one_millisecond_are_paged_one_by_one() {
    let mut harness = Harness::in_memory();
    let user = harness.users[0];
    let at = plain_conversation(0).created_at;
    for number in 0..1_000 {
        harness.insert(
            user,
            Conversation { created_at: at, updated_at: at, ..plain_conversation(number) },
        );
    }
    let list = harness.oracle.list(user, &any_list());
    check_walk(&harness.store.snapshot(), user, &any_list(), 1, &list);
}

#[test]
fn line_4_restarts_and_updates_do_not_change_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let mut harness = Harness::new(Store::open(&path).unwrap());
    let user = harness.users[0];
    for number in 0..50 {
        // Late arrivals with earlier times, and many rows of one millisecond.
        let at = plain_conversation(number * 7 % 10).created_at;
        harness.insert(
            user,
            Conversation { created_at: at, updated_at: at, ..plain_conversation(number) },
        );
    }
    let token = {
        let snapshot = harness.store.snapshot();
        let page = snapshot.list(user, &first_page_request(&any_list(), 7)).unwrap();
        snapshot.seal_cursor(page.next_cursor().unwrap())
    };
    let before = harness.oracle.list(user, &any_list());
    for number in 0..50 {
        harness.update(user, plain_id(number), |row| {
            row.updated_at = Timestamp::MAX;
        });
    }
    let ids = |list: &[Conversation]| list.iter().map(|row| row.id).collect::<Vec<_>>();
    let list = harness.oracle.list(user, &any_list());
    assert_eq!(ids(&before), ids(&list));

    harness.store.close().unwrap();
    let store = Store::open(&path).unwrap();
    let snapshot = store.snapshot();
    check_walk(&snapshot, user, &any_list(), 7, &list);
    let cursor = snapshot.open_cursor(user, &token).unwrap();
    let page = snapshot.list(user, &ListRequest::at(cursor)).unwrap();
    check_page(&page, &list, 7, 14);
}

#[test]
fn cursors_lead_forward_back_and_to_new_rows() {
    let mut harness = Harness::with_conversations(7);
    let user = harness.users[0];
    let first = harness.store.snapshot().list(user, &first_page_request(&any_list(), 3)).unwrap();
    assert_eq!((numbers(&first), first.prev_cursor().is_none()), (vec![7, 6, 5], true));
    let follow = |harness: &Harness, cursor: &convodb::PageCursor| {
        harness.store.snapshot().list(user, &ListRequest::at(*cursor)).unwrap()
    };
    let second = follow(&harness, first.next_cursor().unwrap());
    assert_eq!(numbers(&second), [4, 3, 2]);
    let third = follow(&harness, second.next_cursor().unwrap());
    assert_eq!((numbers(&third), third.next_cursor().is_none()), (vec![1], true));
    let back = follow(&harness, third.prev_cursor().unwrap());
    assert_eq!(
        (numbers(&back), back.next_cursor().is_some(), back.prev_cursor().is_some()),
        (vec![4, 3, 2], true, true)
    );
    let front = follow(&harness, back.prev_cursor().unwrap());
    assert_eq!((numbers(&front), front.prev_cursor().is_none()), (vec![7, 6, 5], true));

    // Line 7: new rows arrive. The old first page is unchanged and leads to them.
    harness.insert(user, plain_conversation(8));
    harness.insert(user, plain_conversation(9));
    let front = follow(&harness, back.prev_cursor().unwrap());
    assert_eq!(numbers(&front), [7, 6, 5]);
    assert!(front.next_cursor().is_some());
    // Line 8: a short page is not filled up.
    let newest = follow(&harness, front.prev_cursor().unwrap());
    assert_eq!((numbers(&newest), newest.prev_cursor().is_none()), (vec![9, 8], true));
    // Line 17: a page size in the request overrides that of the cursor; the position is unchanged.
    let smaller = ListRequest {
        page_size: Some(PageSize::new(2).unwrap()),
        ..ListRequest::at(*first.next_cursor().unwrap())
    };
    assert_eq!(numbers(&harness.store.snapshot().list(user, &smaller).unwrap()), [4, 3]);
}

#[test]
fn line_6_a_full_last_page_has_no_next_cursor() {
    let harness = Harness::with_conversations(3);
    let page = harness
        .store
        .snapshot()
        .list(harness.users[0], &first_page_request(&any_list(), 3))
        .unwrap();
    assert_eq!(numbers(&page), [3, 2, 1]);
    assert!(page.next_cursor().is_none() && page.prev_cursor().is_none());
    let empty = harness
        .store
        .snapshot()
        .list(harness.users[1], &first_page_request(&any_list(), 3))
        .unwrap();
    assert!(empty.is_empty() && empty.next_cursor().is_none() && empty.prev_cursor().is_none());
}

#[test]
fn line_9_an_empty_page_after_deletions_leads_back() {
    let mut harness = Harness::with_conversations(6);
    let user = harness.users[0];
    let first = harness.store.snapshot().list(user, &first_page_request(&any_list(), 3)).unwrap();
    for number in 1..=3 {
        harness.delete(user, plain_id(number));
    }
    let snapshot = harness.store.snapshot();
    let empty = snapshot.list(user, &ListRequest::at(*first.next_cursor().unwrap())).unwrap();
    assert!(empty.is_empty() && empty.next_cursor().is_none());
    let back = snapshot.list(user, &ListRequest::at(*empty.prev_cursor().unwrap())).unwrap();
    assert_eq!(page_conversations(&back), page_conversations(&first));
}

#[test]
fn line_12_updates_and_deletions_of_the_last_row_do_not_move_the_cursor() {
    for ascending in [false, true] {
        let mut harness = Harness::with_conversations(9);
        let user = harness.users[0];
        let filter = Filter { kind: Some(ChannelKind::Widget), ..Filter::default() };
        let order = if ascending { Order::Ascending } else { Order::Descending };
        let query = ListQuery { filter, order, ..any_list() };
        let first = harness.store.snapshot().list(user, &first_page_request(&query, 3)).unwrap();
        let anchor = first.conversations().next_back().unwrap().id;
        harness.update(user, anchor, |row| {
            row.updated_at = Timestamp::MAX;
        });
        let cursor = *first.next_cursor().unwrap();
        let second = harness.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
        assert_eq!(numbers(&second), if ascending { [4, 5, 6] } else { [6, 5, 4] });
        harness.delete(user, anchor);
        let again = harness.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
        assert_eq!(page_conversations(&again), page_conversations(&second));
    }
}

#[test]
fn line_16_a_cursor_contains_its_query_and_rejects_another() {
    let harness = mixed_rows();
    let user = harness.users[0];
    let snapshot = harness.store.snapshot();
    let whatsapp = Filter {
        kind: Some(ChannelKind::Whatsapp),
        customer_phone: Some("1".parse().unwrap()),
        ..Filter::default()
    };
    let bounds =
        (Some(plain_conversation(20).created_at), Some(plain_conversation(190).created_at));
    let query = ListQuery {
        filter: whatsapp.clone(),
        from: bounds.0,
        to: bounds.1,
        order: Order::Ascending,
        ..any_list()
    };
    let first = snapshot.list(user, &first_page_request(&query, 4)).unwrap();
    let cursor = *first.next_cursor().unwrap();
    let list = harness.oracle.list(user, &query);
    let alone = snapshot.list(user, &ListRequest::at(cursor)).unwrap();
    check_page(&alone, &list, 4, 8);
    let with_same = ListRequest { cursor: Some(cursor), ..first_page_request(&query, 4) };
    check_page(&snapshot.list(user, &with_same).unwrap(), &list, 4, 8);
    let fewer = Filter { kind: None, ..whatsapp.clone() };
    let with_fewer = ListRequest { filter: fewer, ..ListRequest::at(cursor) };
    check_page(&snapshot.list(user, &with_fewer).unwrap(), &list, 4, 8);

    let conflict = |request: ListRequest| match snapshot.list(user, &request) {
        Err(convodb::Error::CursorConflict { field }) => field,
        other => panic!("{other:?}"),
    };
    let with = |filter: Filter| ListRequest { filter, ..ListRequest::at(cursor) };
    let none = Filter::default;
    assert_eq!(conflict(with(Filter { kind: Some(ChannelKind::Api), ..none() })), "type");
    assert_eq!(
        conflict(with(Filter { assistant: Some(assistants()[0]), ..none() })),
        "assistant_id"
    );
    let other_phone = Filter { customer_phone: Some("0".parse().unwrap()), ..none() };
    assert_eq!(conflict(with(other_phone)), "customer_phone");
    let sender = Filter { sender_phone: Some("1".parse().unwrap()), ..none() };
    assert_eq!(conflict(with(sender)), "whatsapp_sender_phone");
    let external = Filter { external_identifier: Some("crm-1".parse().unwrap()), ..none() };
    assert_eq!(conflict(with(external)), "external_identifier");
    let at = ListRequest::at(cursor);
    assert_eq!(conflict(ListRequest { created_from: bounds.1, ..at.clone() }), "created_from");
    assert_eq!(conflict(ListRequest { created_to: bounds.0, ..at.clone() }), "created_to");
    assert_eq!(conflict(ListRequest { order: Some(Order::Descending), ..at }), "order");
}

#[test]
fn line_22_impossible_combinations_read_nothing() {
    let harness = mixed_rows();
    let snapshot = harness.store.snapshot();
    let mut empty = 0;
    for filter in combinations() {
        let phone = filter.customer_phone.is_some() || filter.sender_phone.is_some();
        let external = filter.external_identifier.is_some();
        let kind_fits = |kind| filter.kind.is_none_or(|filter| filter == kind);
        let impossible = match (phone, external) {
            (true, true) => true,
            (true, false) => !kind_fits(ChannelKind::Whatsapp),
            (false, true) => !kind_fits(ChannelKind::Api),
            (false, false) => false,
        };
        if impossible {
            let query = ListQuery { filter, ..any_list() };
            let page = snapshot.list(harness.users[0], &first_page_request(&query, 15)).unwrap();
            assert!(
                page.is_empty() && page.next_cursor().is_none() && page.prev_cursor().is_none()
            );
            assert_eq!(page.cost(), convodb::PageCost::default());
            empty += 1;
        }
    }
    assert!(empty > 0);
}

#[test]
fn an_iterator_read_from_both_ends_skips_and_repeats_no_row() {
    let harness = Harness::with_conversations(450);
    let user = harness.users[0];
    let list = harness.oracle.list(user, &any_list());
    let snapshot = harness.store.snapshot();
    for pattern in 1..8_u32 {
        let mut rows = snapshot.conversations(user, &ListRequest::default());
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for step in 0.. {
            let from_back = pattern & (1 << (step % 3)) != 0;
            let row = if from_back { rows.next_back() } else { rows.next() };
            let Some(row) = row else { break };
            if from_back { back.push(row.unwrap()) } else { front.push(row.unwrap()) }
        }
        assert!(rows.next().is_none() && rows.next_back().is_none());
        front.extend(back.into_iter().rev());
        assert!(front == list, "pattern {pattern}");
    }
    let pages: Vec<usize> = snapshot
        .pages(user, first_page_request(&any_list(), 100))
        .map(|page| page.unwrap().len())
        .collect();
    assert_eq!(pages, [100, 100, 100, 100, 50]);
}

proptest! {
    #![proptest_config(cases(64))]

    /// Lines 1, 2, 5 and 6 with random rows, filters, time ranges and page sizes.
    #[test]
    fn walks_of_random_lists_equal_the_oracle(
        rows in prop::collection::vec((any::<bool>(), conversation()), 0..60),
        lists in prop::collection::vec((list_query(), 1..12_usize), 8),
    ) {
        let mut harness = Harness::in_memory();
        for (second, conversation) in rows {
            harness.insert(harness.users[usize::from(second)], conversation);
        }
        let snapshot = harness.store.snapshot();
        for (query, size) in lists {
            for user in harness.users {
                let list = harness.oracle.list(user, &query);
                check_walk(&snapshot, user, &query, size, &list);
                let mut rows = snapshot.conversations(user, &first_page_request(&query, size));
                let mut halves: Vec<Conversation> =
                    rows.by_ref().take(list.len() / 2).map(Result::unwrap).collect();
                let mut back: Vec<Conversation> = rows.rev().map(Result::unwrap).collect();
                back.reverse();
                halves.extend(back);
                prop_assert!(halves == list);
            }
        }
    }
}
