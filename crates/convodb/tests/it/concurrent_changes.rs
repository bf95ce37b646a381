//! Lists that change between the pages of a walk (lines 10 to 15 of the pagination contract).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use convodb::{Channel, Conversation, ConversationId, Filter, ListRequest, Order, Timestamp};
use convodb_testkit::generators::{assistants, channel, conversation, conversation_id, filter};
use convodb_testkit::oracle::ListQuery;
use proptest::prelude::*;

use convodb_testkit::harness::{Harness, cases, plain_conversation, plain_id};
use convodb_testkit::page_walk::{check_walk, first_page_request};

#[derive(Clone, Debug)]
enum Change {
    Insert(Conversation),
    Delete(ConversationId),
    Move(ConversationId, Channel),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => conversation().prop_map(Change::Insert),
        2 => conversation_id().prop_map(Change::Delete),
        3 => (conversation_id(), channel()).prop_map(|(id, channel)| Change::Move(id, channel)),
    ]
}

fn apply(harness: &mut Harness, change: Change) {
    let user = harness.users[0];
    match change {
        Change::Insert(conversation) => harness.insert(user, conversation),
        Change::Delete(id) => harness.delete(user, id),
        Change::Move(id, channel) => {
            harness.update(user, id, move |row| {
                if row.channel.kind() == channel.kind() {
                    row.channel = channel.clone();
                }
            });
        }
    }
}

/// The conversations of a list by id. An id can be used again after a deletion.
fn members(harness: &Harness, query: &ListQuery) -> BTreeMap<ConversationId, Conversation> {
    let list = harness.oracle.list(harness.users[0], query);
    list.into_iter().map(|row| (row.id, row)).collect()
}

proptest! {
    #![proptest_config(cases(96))]

    /// Lines 10 and 11: no row twice, every row that matches the whole time exactly once, no cursor
    /// twice, and a cursor that is followed at once leads to a page that is not empty.
    #[test]
    fn a_walk_skips_and_repeats_no_row_while_the_list_changes(
        rows in prop::collection::vec(conversation(), 5..40),
        changes in prop::collection::vec(prop::collection::vec(change(), 0..6), 0..30),
        filter in filter(),
        ascending in any::<bool>(),
        size in 1..6_usize,
    ) {
        let mut harness = Harness::containing(rows);
        let user = harness.users[0];
        let order = if ascending { Order::Ascending } else { Order::Descending };
        let query = ListQuery { filter, order, ..ListQuery::default() };
        let identity = |row: &Conversation| (row.id, row.created_at);
        let mut throughout: BTreeSet<_> =
            members(&harness, &query).values().map(identity).collect();
        let mut deleted = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut cursors = BTreeSet::new();
        let mut page = harness.store.snapshot().list(user, &first_page_request(&query, size)).unwrap();
        let mut changes = changes.into_iter();
        loop {
            for row in page.conversations() {
                // A row that was deleted and inserted again is another row.
                prop_assert!(seen.insert((row.id, row.created_at)) || deleted.contains(&row.id));
            }
            let Some(cursor) = page.next_cursor().copied() else { break };
            let snapshot = harness.store.snapshot();
            prop_assert!(cursors.insert(snapshot.seal_cursor(&cursor)), "a cursor occurs twice");
            prop_assert!(!snapshot.list(user, &ListRequest::at(cursor)).unwrap().is_empty()
                || seen.len() < throughout.len() + 1_000);
            for change in changes.next().unwrap_or_default() {
                if let Change::Delete(id) = change {
                    deleted.insert(id);
                }
                apply(&mut harness, change);
                let now: BTreeSet<_> = members(&harness, &query).values().map(identity).collect();
                throughout = throughout.intersection(&now).copied().collect();
            }
            page = harness.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
        }
        throughout.retain(|(id, _)| !deleted.contains(id));
        prop_assert!(throughout.is_subset(&seen), "{throughout:?} is not a subset of {seen:?}");
    }

    /// Line 10: in a snapshot, every cursor of every page leads to a page that is not empty.
    #[test]
    fn every_cursor_of_a_snapshot_leads_to_rows(
        rows in prop::collection::vec(conversation(), 0..40),
        filter in filter(),
        size in 1..6_usize,
    ) {
        let harness = Harness::containing(rows);
        let user = harness.users[0];
        let snapshot = harness.store.snapshot();
        let query = ListQuery { filter, ..ListQuery::default() };
        for page in snapshot.pages(user, first_page_request(&query, size)) {
            let page = page.unwrap();
            for cursor in [page.next_cursor(), page.prev_cursor()].into_iter().flatten() {
                prop_assert!(!snapshot.list(user, &ListRequest::at(*cursor)).unwrap().is_empty());
            }
        }
    }

    /// Line 15: later writes do not change a snapshot.
    #[test]
    fn later_writes_do_not_change_a_snapshot(
        rows in prop::collection::vec(conversation(), 0..40),
        changes in prop::collection::vec(change(), 1..30),
        filter in filter(),
        size in 1..6_usize,
    ) {
        let mut harness = Harness::containing(rows);
        let user = harness.users[0];
        let query = ListQuery { filter, ..ListQuery::default() };
        let (snapshot, list) = (harness.store.snapshot(), harness.oracle.list(user, &query));
        for change in changes {
            apply(&mut harness, change);
        }
        check_walk(&snapshot, user, &query, size, &list);
    }
}

/// Lines 13 and 14: one writer moves rows between two lists and inserts batches of ten. Every
/// snapshot has each row in exactly one list, and each batch completely or not at all.
#[test]
fn lines_13_14_readers_see_complete_transactions() {
    let harness = Harness::with_conversations(40);
    let user = harness.users[0];
    let (first, second) = (assistants()[0], assistants()[1]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200_u64 {
                harness
                    .store
                    .write(move |transaction| {
                        for number in 0..10 {
                            transaction.insert(
                                user,
                                plain_conversation(1_000 + round * 10 + number),
                                Vec::new(),
                            )?;
                        }
                        for number in 1..=40 {
                            transaction.update(user, plain_id(number), Timestamp::MIN, |row| {
                                row.assistant = if row.assistant == first { second } else { first };
                                Ok(())
                            })?;
                        }
                        Ok::<_, convodb::Error>(())
                    })
                    .unwrap();
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = false;
                while !last {
                    last = done.load(Ordering::Acquire);
                    let snapshot = harness.store.snapshot();
                    let count = |assistant| {
                        let filter = Filter { assistant, ..Filter::default() };
                        let request = ListRequest { filter, ..ListRequest::default() };
                        snapshot.conversations(user, &request).map(Result::unwrap).count()
                    };
                    let [unmoved, moved] = [first, second].map(|assistant| count(Some(assistant)));
                    assert!(moved == 0 || moved == 40, "{moved} of 40 rows have moved");
                    assert_eq!((unmoved + moved) % 10, 0, "a batch of ten is incomplete");
                    assert_eq!(unmoved + moved, count(None));
                }
            });
        }
    });
}
