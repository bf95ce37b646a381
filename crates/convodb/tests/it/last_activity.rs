//! Lists by last activity: their order, their cost among moves, and walks while they reorder.

use std::collections::BTreeMap;

use convodb::{
    AssistantIds, ChangesSince, ChannelKind, Conversation, ConversationId, Error, Filter,
    IndexFamilies, IndexFamily, ListRequest, Message, Order, PageSize, Role, Sort, Store,
    StoreOptions, Timestamp, UserId,
};
use convodb_testkit::generators::{
    assistants, channel, conversation, conversation_id, filter, has_activity_list, message,
};
use convodb_testkit::harness::{Harness, cases, plain_conversation, plain_id, snapshot_at_commit};
use convodb_testkit::oracle::ListQuery;
use convodb_testkit::page_walk::{check_walk, first_page_request, page_conversations};
use proptest::prelude::*;

const BASE: u64 = 1_737_800_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(BASE + millis).unwrap()
}

fn said(millis: u64) -> Message {
    Message::new(Role::User, "hi", at(millis)).unwrap()
}

fn by_activity(filter: Filter, order: Order) -> ListQuery {
    ListQuery { filter, order, sort: Sort::LastActivity, ..ListQuery::default() }
}

fn ids(store: &Store, user: UserId, request: &ListRequest) -> Vec<u128> {
    let rows = store.snapshot().conversations(user, request);
    rows.map(|row| row.unwrap().id.uuid().as_u128()).collect()
}

#[test]
fn messages_and_changes_move_a_conversation_to_the_top() {
    let harness = Harness::with_conversations(4);
    let (store, user) = (&harness.store, harness.users[0]);
    let listed = || ids(store, user, &ListRequest::new().sort(Sort::LastActivity));
    assert_eq!(listed(), [4, 3, 2, 1], "not active since they were created");
    store.append_message(user, plain_id(2), said(60_000)).unwrap();
    assert_eq!(listed(), [2, 4, 3, 1], "a message");
    store.append_message(user, plain_id(2), said(0)).unwrap();
    assert_eq!(listed(), [2, 4, 3, 1], "an older message is no newer activity");
    let hand_over = |row: &mut Conversation| {
        row.ai_enabled = false;
        Ok(())
    };
    store.update(user, plain_id(1), at(61_000), hand_over).unwrap();
    assert_eq!(listed(), [1, 2, 4, 3], "a change");
    store.update(user, plain_id(1), at(99_000), hand_over).unwrap();
    store.update(user, plain_id(3), at(61_000), hand_over).unwrap();
    assert_eq!(listed(), [3, 1, 2, 4], "a change to what it is already is none; ties by creation");
    store.delete(user, plain_id(1)).unwrap();
    assert_eq!(listed(), [3, 2, 4]);
    assert_eq!(ids(store, user, &ListRequest::default()), [4, 3, 2], "the default has not changed");

    let between = |from, to| {
        let request = ListRequest::new().sort(Sort::LastActivity);
        ids(store, user, &request.active_from(at(from)).active_to(at(to)))
    };
    assert_eq!(between(4_000, 60_001), [2, 4], "from inclusive, to exclusive");
    assert_eq!(between(4_001, 60_000), []);
    assert_eq!(between(60_000, 4_000), []);
}

/// Of the 32 combinations of fields, 8 have lists by last activity, and 12 are contradictory: their
/// lists are empty.
#[test]
fn combinations_without_an_index_are_refused_with_those_that_have_one() {
    let harness = Harness::with_conversations(1);
    let (snapshot, user) = (harness.store.snapshot(), harness.users[0]);
    let (mut listed, mut refused) = (0, 0);
    for bits in 0..32_u32 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        let filter = Filter {
            kind: has(0).then_some(if has(4) { ChannelKind::Api } else { ChannelKind::Whatsapp }),
            assistant: has(1).then(|| assistants()[0]),
            sender_phone: has(2).then(|| "+1".parse().unwrap()),
            customer_phone: has(3).then(|| "+2".parse().unwrap()),
            external_identifier: has(4).then(|| "crm-1".parse().unwrap()),
            ..Filter::default()
        };
        let is_contradiction = has(4) && (has(2) || has(3));
        let expected = has_activity_list(&filter) || is_contradiction;
        let request = ListRequest::new().filter(filter).sort(Sort::LastActivity);
        let outcomes = [
            snapshot.list(user, &request).map(|page| assert!(page.changes_cursor().is_some())),
            snapshot.count(user, &request).map(|_| ()),
            snapshot.check_request(user, &request),
            snapshot.conversations(user, &request).next().map_or(Ok(()), |row| row.map(|_| ())),
        ];
        for outcome in outcomes {
            match outcome {
                Ok(()) if expected => listed += 1,
                Err(Error::Invalid { field: "sort", reason }) if !expected => {
                    assert!(reason.contains("whatsapp_sender_phone or customer_phone"));
                    refused += 1;
                }
                other => panic!("{request:?}: {other:?}"),
            }
        }
    }
    assert_eq!((listed, refused), (4 * 20, 4 * 12));
}

/// The index is built from rows that were there before, dropped, and built again after changes that
/// it missed.
#[test]
fn the_index_is_optional() {
    let mut harness = Harness::with_conversations(30);
    let user = harness.users[0];
    let index = IndexFamilies::NONE.with(IndexFamily::LastActivity);
    let request = ListRequest::new().sort(Sort::LastActivity);
    for round in 1..=3 {
        harness.store.drop_indexes(index).unwrap();
        let snapshot = harness.store.snapshot();
        let refused = snapshot.list(user, &request).unwrap_err();
        assert!(matches!(refused, Error::IndexAbsent { index: "last-activity" }));
        assert_eq!(snapshot.list(user, &ListRequest::new()).unwrap().len(), 15);
        for number in (round..=30).step_by(3) {
            harness.append(user, plain_id(number), &said(round * 100_000 + number * 7_919 % 90));
        }
        harness.store.add_indexes(index).unwrap();
        harness.check_conversations();
        let query = by_activity(Filter::new(), Order::Descending);
        let list = harness.oracle.list(user, &query);
        check_walk(&harness.store.snapshot(), user, &query, 4, &list);
    }
}

#[test]
fn bounds_belong_to_the_sort_and_a_cursor_keeps_its_sort() {
    let harness = Harness::with_conversations(9);
    let (snapshot, user) = (harness.store.snapshot(), harness.users[0]);
    let invalid = |request: ListRequest| match snapshot.list(user, &request) {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let (created, active) = (ListRequest::new(), ListRequest::new().sort(Sort::LastActivity));
    assert_eq!(invalid(created.clone().active_from(at(0))), "active_from");
    assert_eq!(invalid(created.clone().active_to(at(0))), "active_to");
    assert_eq!(invalid(active.clone().created_from(at(0))), "created_from");
    assert_eq!(invalid(active.clone().created_to(at(0))), "created_to");

    let conflict = |request: ListRequest| match snapshot.list(user, &request) {
        Err(Error::CursorConflict { field }) => field,
        other => panic!("{other:?}"),
    };
    let first = |request: ListRequest| {
        let request = request.page_size(4).unwrap();
        *snapshot.list(user, &request).unwrap().next_cursor().unwrap()
    };
    let of_created = first(created.clone());
    let of_active = first(active.clone().active_to(at(9_000)));
    assert_eq!(conflict(active.clone().cursor(of_created)), "sort");
    assert_eq!(conflict(created.clone().sort(Sort::CreatedAt).cursor(of_active)), "sort");
    assert_eq!(conflict(created.clone().active_to(at(9_001)).cursor(of_active)), "active_to");
    assert_eq!(conflict(created.clone().active_from(at(0)).cursor(of_active)), "active_from");
    assert_eq!(invalid(created.clone().created_to(at(0)).cursor(of_active)), "created_to");
    let again = created.active_to(at(9_000)).cursor(of_active);
    assert_eq!(snapshot.list(user, &again).unwrap().len(), 4, "the cursor brings the sort");
    let page = snapshot.list(user, &ListRequest::at(of_created)).unwrap();
    assert_eq!(page.changes_cursor(), None);
}

#[test]
fn a_restricted_snapshot_lists_its_assistant_alone() {
    let mut harness = Harness::in_memory();
    let user = harness.users[0];
    let [one, two, _] = [assistants()[0], assistants()[1], assistants()[2]];
    for number in 0..6 {
        let assistant = if number % 2 == 0 { one } else { two };
        harness.insert(user, Conversation { assistant, ..plain_conversation(number) });
    }
    let restricted = harness.store.snapshot().restricted_to(one);
    let request = ListRequest::new().sort(Sort::LastActivity).active_from(at(0));
    let listed = |request: &ListRequest| restricted.list(user, request).unwrap().len();
    assert_eq!(listed(&request), 3);
    let of = |filter: Filter| listed(&request.clone().filter(filter));
    assert_eq!(of(Filter::new().assistant(two)), 0);
    assert_eq!(of(Filter::new().assistants([two]).unwrap()), 0);
    assert_eq!(of(Filter::new().assistants([one, two]).unwrap()), 3);
    let unrestricted = harness.store.snapshot().list(user, &request.page_size(1).unwrap()).unwrap();
    let cursor = *unrestricted.next_cursor().unwrap();
    assert!(matches!(
        restricted.list(user, &ListRequest::at(cursor)),
        Err(Error::CursorConflict { field: "assistant_id" })
    ));
}

/// A filter for each list by last activity, and for unions of them.
fn filters() -> [Filter; 8] {
    use ChannelKind::{Api, Whatsapp, Widget};
    let none = Filter::new;
    let several = AssistantIds::new(assistants()).unwrap();
    [
        none(),
        none().kind(Whatsapp),
        none().assistant(assistants()[0]),
        none().kind(Whatsapp).assistant(assistants()[1]),
        none().sender_phone("+1").unwrap(),
        none().customer_phone("+2").unwrap(),
        none().kinds([Whatsapp, Api]).unwrap(),
        Filter { assistants: Some(several), ..none().kinds([Widget, Api]).unwrap() },
    ]
}

/// Whatever moves and is not yet flushed, each list is exact, both ways, and each page keeps its
/// bound: one removed entry for each entry, and a lookup for each row.
#[test]
fn the_bound_holds_among_any_moves() {
    type Pattern = (&'static str, fn(u64) -> bool);
    let patterns: [Pattern; 5] = [
        ("every second", |number| number % 2 == 0),
        ("all but every tenth", |number| number % 10 > 0),
        ("a block", |number| (20..100).contains(&number)),
        ("the ends", |number| !(20..100).contains(&number)),
        ("all", |_| true),
    ];
    const ROWS: u64 = 120;
    for (pattern, is_moved) in patterns {
        for deleted_too in [false, true] {
            let mut harness = crate::page_cost::stored(ROWS);
            let user = harness.users[0];
            let moved: Vec<u64> = (0..ROWS).filter(|number| is_moved(*number)).collect();
            // Each moves three times: far up, and past others that move.
            let moves: Vec<(u64, Message)> = (1..=3_u64)
                .flat_map(|round| {
                    let target = move |number| (number * 7_919 % 300 + round * 50) * 1_000;
                    moved.iter().map(move |number| (*number, said(target(*number))))
                })
                .collect();
            for (number, message) in &moves {
                assert!(harness.oracle.append(user, plain_id(*number), message));
            }
            let deleted: Vec<u64> =
                moved.iter().copied().filter(|number| deleted_too && number % 3 == 0).collect();
            for number in &deleted {
                assert!(harness.oracle.delete(user, plain_id(*number)));
            }
            let snapshot = snapshot_at_commit(&harness.store, move |write| {
                for (number, message) in &moves {
                    write.append_message(user, plain_id(*number), message)?;
                }
                deleted.iter().try_for_each(|number| write.delete(user, plain_id(*number)))
            });
            let mut met = false;
            for filter in filters() {
                for order in Order::ALL {
                    let query = by_activity(filter.clone(), order);
                    let list = harness.oracle.list(user, &query);
                    for size in [1, 15, 100] {
                        check_walk(&snapshot, user, &query, size, &list);
                        let page = snapshot.list(user, &first_page_request(&query, size)).unwrap();
                        let cost = page.cost();
                        let most = 2 * (size + 2 * cost.ranges);
                        assert!(cost.entries <= most, "{pattern}: {cost:?} of {query:?}");
                        met |= cost.entries > page.len() + 2 * cost.ranges;
                    }
                }
            }
            assert!(met, "{pattern}: no page has met a removed entry");
        }
    }
}

#[derive(Clone, Debug)]
enum Write {
    Insert(Conversation),
    Append(ConversationId, Message),
    Delete(ConversationId),
    Change(ConversationId, convodb::Channel),
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        2 => conversation().prop_map(Write::Insert),
        5 => (conversation_id(), message()).prop_map(|(id, message)| Write::Append(id, message)),
        1 => conversation_id().prop_map(Write::Delete),
        1 => (conversation_id(), channel()).prop_map(|(id, channel)| Write::Change(id, channel)),
    ]
}

fn apply(harness: &mut Harness, write: Write) {
    let user = harness.users[0];
    match write {
        Write::Insert(conversation) => harness.insert(user, conversation),
        Write::Append(id, message) => harness.append(user, id, &message),
        Write::Delete(id) => harness.delete(user, id),
        Write::Change(id, channel) => harness.update(user, id, move |row| {
            if row.channel.kind() == channel.kind() {
                row.channel = channel.clone();
            }
        }),
    }
}

proptest! {
    #![proptest_config(cases(96))]

    /// A walk by last activity among writes, then the changes since its beginning: each
    /// conversation that passes the filter once, in its last state, and no other.
    #[test]
    fn a_walk_and_the_changes_since_give_the_last_state(
        rows in prop::collection::vec(conversation(), 0..40),
        writes in prop::collection::vec(prop::collection::vec(write(), 0..6), 0..30),
        filter in filter().prop_filter("no such list", has_activity_list),
        order in prop::sample::select(Order::ALL.to_vec()),
        size in 1..6_usize,
    ) {
        let mut harness = Harness::containing(rows);
        let user = harness.users[0];
        let query = by_activity(filter, order);
        let mut writes = writes.into_iter();
        let mut copy: BTreeMap<ConversationId, Conversation> = BTreeMap::new();
        let mut request = first_page_request(&query, size);
        let since = loop {
            let page = harness.store.snapshot().list(user, &request).unwrap();
            copy.extend(page_conversations(&page).into_iter().map(|row| (row.id, row)));
            for write in writes.next().unwrap_or_default() {
                apply(&mut harness, write);
            }
            let Some(next) = page.next_cursor() else { break *page.changes_cursor().unwrap() };
            let token = harness.store.snapshot().seal_cursor(next);
            request = ListRequest::at(harness.store.snapshot().open_cursor(user, &token).unwrap());
        };
        for write in writes.flatten() {
            apply(&mut harness, write);
        }
        let mut since = ChangesSince::Cursor(since);
        loop {
            let size = PageSize::new(3).unwrap();
            let part = harness.store.snapshot().changes_since(user, since, size).unwrap();
            for change in part.changes {
                match change.conversation.filter(|row| query.passes(row)) {
                    Some(conversation) => copy.insert(change.id, conversation),
                    None => copy.remove(&change.id),
                };
            }
            if !part.has_more {
                break;
            }
            since = ChangesSince::Cursor(part.next_cursor);
        }
        let expected = harness.oracle.list(user, &query).into_iter().map(|row| (row.id, row));
        prop_assert_eq!(copy, expected.collect::<BTreeMap<_, _>>());
    }
}

/// Without clocks that go back, no page repeats a row, in both orders, and an ascending walk ends
/// although every row moves to its end, again and again.
#[test]
fn a_walk_repeats_no_row_that_moves_forward() {
    for order in Order::ALL {
        let harness = Harness::with_conversations(40);
        let (store, user) = (&harness.store, harness.users[0]);
        let mut request = first_page_request(&by_activity(Filter::new(), order), 4);
        let (mut seen, mut clock, mut pages) = (Vec::new(), 1_000_000, 0);
        loop {
            let page = store.snapshot().list(user, &request).unwrap();
            seen.extend(page.conversations().map(|row| row.id));
            pages += 1;
            // What was just read moves, and so do some that were not read.
            let unread = (1..=40).map(plain_id).filter(|id| !seen.contains(id)).step_by(5);
            for id in seen.clone().into_iter().chain(unread) {
                clock += 1;
                store.append_message(user, id, said(clock)).unwrap();
            }
            let Some(next) = page.next_cursor() else { break };
            request = ListRequest::at(*next);
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{order}: a row is on two pages");
        assert!(count < 40 && pages <= 10, "{order}: {count} rows on {pages} pages");
    }
}

/// The index is as complete after a restart from the WAL, a bulk load, a backup and its restore, and
/// compaction as before.
#[test]
fn the_index_survives_restarts_copies_and_bulk_loads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let store = Store::open_with(&path, &StoreOptions::new().indexes(IndexFamilies::ALL));
    let mut harness = Harness::new(store.unwrap());
    let user = harness.users[0];
    for number in 1..=60 {
        harness.insert(user, plain_conversation(number));
    }
    for number in (1..=60).step_by(7) {
        harness.append(user, plain_id(number), &said(100_000 + number));
    }
    let mut loader = harness.store.bulk_load(convodb::BulkOptions::default());
    for number in 61..=90 {
        let updated_at = at(number * 5_000);
        let row = Conversation { updated_at, ..plain_conversation(number) };
        loader.push(user, &row, &[]).unwrap();
        harness.oracle.insert(user, row, Vec::new());
    }
    loader.finish().unwrap();
    harness.append(user, plain_id(3), &said(200_000));
    let query = by_activity(Filter::new().kind(ChannelKind::Widget), Order::Descending);
    let list = harness.oracle.list(user, &query);
    let check = |store: &Store| {
        let snapshot = store.snapshot();
        check_walk(&snapshot, user, &query, 7, &list);
        let verified = snapshot.verify().unwrap();
        assert!(verified.is_clean(), "{:?}", verified.findings);
    };
    check(&harness.store);
    let copy = convodb_testkit::harness::copy_crashed_files(&path);
    check(&Store::open(&copy).unwrap());
    let backup = directory.path().join("backup.convodb");
    harness.store.snapshot().backup(&backup).unwrap();
    check(&Store::open(&backup).unwrap());
    harness.store.close().unwrap();
    check(&Store::open(&path).unwrap());
}
