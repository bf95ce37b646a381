//! The contract of pagination, line by line, at the engine. What only shows over HTTP is tested in
//! `convodb-http`, tokens in `cursors`, live changes in `live`, costs in `cost`.

use convodb::{
    Channel, ChannelKind, Contact, Conversation, Filter, ListRequest, Order, PageSize, Store,
    Timestamp,
};
use convodb_testkit::oracle::Asked;
use convodb_testkit::strategies::{asked, assistants, conversation};
use proptest::prelude::*;

use crate::walk::{check_page, check_walk, owned, request};
use crate::world::{World, cases, id, row};

fn any_list() -> Asked {
    Asked::default()
}

/// The names of a page of plain rows.
fn numbers(page: &convodb::Page) -> Vec<u128> {
    page.conversations().map(|row| row.id.uuid().as_u128()).collect()
}

/// A filter of each of the 32 combinations, with values that some rows have.
fn combinations() -> Vec<Filter> {
    let asked = |bits: u32, bit: u32| bits & (1 << bit) != 0;
    (0..32)
        .flat_map(|bits| ChannelKind::ALL.map(|kind| (bits, kind)))
        .map(|(bits, kind)| Filter {
            kind: asked(bits, 0).then_some(kind),
            assistant: asked(bits, 1).then(|| assistants()[0]),
            sender_phone: asked(bits, 2).then(|| "1".parse().unwrap()),
            customer_phone: asked(bits, 3).then(|| "1".parse().unwrap()),
            external_identifier: asked(bits, 4).then(|| "crm-1".parse().unwrap()),
        })
        .collect()
}

/// Two hundred rows that share few values, so that every combination that can match does.
fn mixed_rows() -> World {
    let mut world = World::in_memory();
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
            ..row(number)
        };
        world.insert(world.users[usize::from(number % 5 == 0)], conversation);
    }
    world
}

#[test]
fn lines_1_2_5_6_every_combination_and_page_size_walks_the_oracles_list() {
    let world = mixed_rows();
    let snapshot = world.store.snapshot();
    let user = world.users[0];
    let mut matched = 0;
    for filter in combinations() {
        for order in [Order::Descending, Order::Ascending] {
            let asked = Asked { filter: filter.clone(), order, ..any_list() };
            let list = world.oracle.list(user, &asked);
            matched += usize::from(!list.is_empty());
            // Sizes above the length all give the one page, so they are sampled.
            for size in (1..=list.len() + 1).chain([50, 99, 100]) {
                check_walk(&snapshot, user, &asked, size.min(100), &list);
            }
        }
    }
    // T (4 kinds), A, TA (4), and with a phone or identifier: C S CS E, each alone, with A, with
    // the type that it implies, and with both; and the list of all; in two orders.
    assert_eq!(
        matched,
        2 * (1 + 1) * 4 + 2 * 4 * (1 + 1) + 2 * 4 * (1 + 1) * 5,
        "combinations with rows"
    );
}

#[test]
fn line_3_a_thousand_rows_of_one_instant_page_one_by_one() {
    let mut world = World::in_memory();
    let user = world.users[0];
    let at = row(0).created_at;
    for number in 0..1_000 {
        world.insert(user, Conversation { created_at: at, updated_at: at, ..row(number) });
    }
    let list = world.oracle.list(user, &any_list());
    check_walk(&world.store.snapshot(), user, &any_list(), 1, &list);
}

#[test]
fn line_4_the_order_survives_a_restart_and_updates_move_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let mut world = World::new(Store::open(&path).unwrap());
    let user = world.users[0];
    for number in 0..50 {
        // Late arrivals with old times, and many of one instant.
        let at = row(number * 7 % 10).created_at;
        world.insert(user, Conversation { created_at: at, updated_at: at, ..row(number) });
    }
    let token = {
        let snapshot = world.store.snapshot();
        let page = snapshot.list(user, &request(&any_list(), 7)).unwrap();
        snapshot.seal_cursor(page.next_cursor().unwrap())
    };
    let before = world.oracle.list(user, &any_list());
    for number in 0..50 {
        world.update(user, id(number), |row| row.updated_at = Timestamp::MAX);
    }
    let ids = |list: &[Conversation]| list.iter().map(|row| row.id).collect::<Vec<_>>();
    let list = world.oracle.list(user, &any_list());
    assert_eq!(ids(&before), ids(&list));

    world.store.close().unwrap();
    let store = Store::open(&path).unwrap();
    let snapshot = store.snapshot();
    check_walk(&snapshot, user, &any_list(), 7, &list);
    let cursor = snapshot.open_cursor(user, &token).unwrap();
    let page = snapshot.list(user, &ListRequest::at(cursor)).unwrap();
    check_page(&page, &list, 7, 14);
}

#[test]
fn the_golden_walk() {
    let mut world = World::with_rows(7);
    let user = world.users[0];
    let first = world.store.snapshot().list(user, &request(&any_list(), 3)).unwrap();
    assert_eq!((numbers(&first), first.prev_cursor().is_none()), (vec![7, 6, 5], true));
    let follow = |world: &World, cursor: &convodb::PageCursor| {
        world.store.snapshot().list(user, &ListRequest::at(*cursor)).unwrap()
    };
    let second = follow(&world, first.next_cursor().unwrap());
    assert_eq!(numbers(&second), [4, 3, 2]);
    let third = follow(&world, second.next_cursor().unwrap());
    assert_eq!((numbers(&third), third.next_cursor().is_none()), (vec![1], true));
    let back = follow(&world, third.prev_cursor().unwrap());
    assert_eq!(
        (numbers(&back), back.next_cursor().is_some(), back.prev_cursor().is_some()),
        (vec![4, 3, 2], true, true)
    );
    let front = follow(&world, back.prev_cursor().unwrap());
    assert_eq!((numbers(&front), front.prev_cursor().is_none()), (vec![7, 6, 5], true));

    // Line 7: new rows arrive; the old first page is the same, and leads to them.
    world.insert(user, row(8));
    world.insert(user, row(9));
    let front = follow(&world, back.prev_cursor().unwrap());
    assert_eq!(numbers(&front), [7, 6, 5]);
    assert!(front.next_cursor().is_some());
    // Line 8: a short page, not topped up.
    let newest = follow(&world, front.prev_cursor().unwrap());
    assert_eq!((numbers(&newest), newest.prev_cursor().is_none()), (vec![9, 8], true));
    // Line 17: another page size beside a cursor wins, and the position holds.
    let smaller = ListRequest {
        page_size: Some(PageSize::new(2).unwrap()),
        ..ListRequest::at(*first.next_cursor().unwrap())
    };
    assert_eq!(numbers(&world.store.snapshot().list(user, &smaller).unwrap()), [4, 3]);
}

#[test]
fn line_6_no_empty_last_page() {
    let world = World::with_rows(3);
    let page = world.store.snapshot().list(world.users[0], &request(&any_list(), 3)).unwrap();
    assert_eq!(numbers(&page), [3, 2, 1]);
    assert!(page.next_cursor().is_none() && page.prev_cursor().is_none());
    let empty = world.store.snapshot().list(world.users[1], &request(&any_list(), 3)).unwrap();
    assert!(empty.is_empty() && empty.next_cursor().is_none() && empty.prev_cursor().is_none());
}

#[test]
fn line_9_a_page_whose_rows_are_gone_still_leads_back() {
    let mut world = World::with_rows(6);
    let user = world.users[0];
    let first = world.store.snapshot().list(user, &request(&any_list(), 3)).unwrap();
    for number in 1..=3 {
        world.delete(user, id(number));
    }
    let snapshot = world.store.snapshot();
    let gone = snapshot.list(user, &ListRequest::at(*first.next_cursor().unwrap())).unwrap();
    assert!(gone.is_empty() && gone.next_cursor().is_none());
    let back = snapshot.list(user, &ListRequest::at(*gone.prev_cursor().unwrap())).unwrap();
    assert_eq!(owned(&back), owned(&first));
}

#[test]
fn line_12_a_deleted_or_changed_anchor_is_no_gap_in_the_walk() {
    for ascending in [false, true] {
        let mut world = World::with_rows(9);
        let user = world.users[0];
        let filter = Filter { kind: Some(ChannelKind::Widget), ..Filter::default() };
        let order = if ascending { Order::Ascending } else { Order::Descending };
        let asked = Asked { filter, order, ..any_list() };
        let first = world.store.snapshot().list(user, &request(&asked, 3)).unwrap();
        let anchor = first.conversations().next_back().unwrap().id;
        world.update(user, anchor, |row| row.channel = Channel::Test);
        let cursor = *first.next_cursor().unwrap();
        let second = world.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
        assert_eq!(numbers(&second), if ascending { [4, 5, 6] } else { [6, 5, 4] });
        world.delete(user, anchor);
        let again = world.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
        assert_eq!(owned(&again), owned(&second));
    }
}

#[test]
fn line_16_a_cursor_carries_its_list_and_refuses_another() {
    let world = mixed_rows();
    let user = world.users[0];
    let snapshot = world.store.snapshot();
    let whatsapp = Filter {
        kind: Some(ChannelKind::Whatsapp),
        customer_phone: Some("1".parse().unwrap()),
        ..Filter::default()
    };
    let bounds = (Some(row(20).created_at), Some(row(190).created_at));
    let asked = Asked {
        filter: whatsapp.clone(),
        created_from: bounds.0,
        created_to: bounds.1,
        order: Order::Ascending,
    };
    let first = snapshot.list(user, &request(&asked, 4)).unwrap();
    let cursor = *first.next_cursor().unwrap();
    let list = world.oracle.list(user, &asked);
    let alone = snapshot.list(user, &ListRequest::at(cursor)).unwrap();
    check_page(&alone, &list, 4, 8);
    let with_same = ListRequest { cursor: Some(cursor), ..request(&asked, 4) };
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
fn line_22_impossible_combinations_are_empty_without_a_read() {
    let world = mixed_rows();
    let snapshot = world.store.snapshot();
    let mut empty = 0;
    for filter in combinations() {
        let phone = filter.customer_phone.is_some() || filter.sender_phone.is_some();
        let external = filter.external_identifier.is_some();
        let kind_fits = |kind| filter.kind.is_none_or(|asked| asked == kind);
        let impossible = match (phone, external) {
            (true, true) => true,
            (true, false) => !kind_fits(ChannelKind::Whatsapp),
            (false, true) => !kind_fits(ChannelKind::Api),
            (false, false) => false,
        };
        if impossible {
            let asked = Asked { filter, ..any_list() };
            let page = snapshot.list(world.users[0], &request(&asked, 15)).unwrap();
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
fn both_ends_of_all_rows_meet_without_a_gap_or_a_repeat() {
    let world = World::with_rows(450);
    let user = world.users[0];
    let list = world.oracle.list(user, &any_list());
    let snapshot = world.store.snapshot();
    for pattern in 1..8_u32 {
        let mut rows = snapshot.conversations(user, &ListRequest::default());
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for turn in 0.. {
            let from_back = pattern & (1 << (turn % 3)) != 0;
            let row = if from_back { rows.next_back() } else { rows.next() };
            let Some(row) = row else { break };
            if from_back { back.push(row.unwrap()) } else { front.push(row.unwrap()) }
        }
        assert!(rows.next().is_none() && rows.next_back().is_none());
        front.extend(back.into_iter().rev());
        assert!(front == list, "pattern {pattern}");
    }
    let pages: Vec<usize> =
        snapshot.pages(user, request(&any_list(), 100)).map(|page| page.unwrap().len()).collect();
    assert_eq!(pages, [100, 100, 100, 100, 50]);
}

proptest! {
    #![proptest_config(cases(64))]

    /// Lines 1, 2, 5, 6 over random stores and lists, with bounds.
    #[test]
    fn random_lists_walk_as_the_oracle_says(
        rows in prop::collection::vec((any::<bool>(), conversation()), 0..60),
        lists in prop::collection::vec((asked(), 1..12_usize), 8),
    ) {
        let mut world = World::in_memory();
        for (second, conversation) in rows {
            world.insert(world.users[usize::from(second)], conversation);
        }
        let snapshot = world.store.snapshot();
        for (asked, size) in lists {
            for user in world.users {
                let list = world.oracle.list(user, &asked);
                check_walk(&snapshot, user, &asked, size, &list);
                let mut rows = snapshot.conversations(user, &request(&asked, size));
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
