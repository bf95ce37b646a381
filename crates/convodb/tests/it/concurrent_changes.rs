//! Lists that change between the pages of a walk: lines 10 to 15 of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use convodb::{Channel, Conversation, ConversationId, Filter, ListRequest, Order};
use convodb_testkit::generators::{channel, conversation, conversation_id, filter};
use convodb_testkit::oracle::ListQuery;
use proptest::prelude::*;

use convodb_testkit::harness::{Harness, cases, id, plain_conversation};
use convodb_testkit::page_walk::{check_walk, request};

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
            harness.update(user, id, move |row| row.channel = channel.clone());
        }
    }
}

/// What a list holds: each id with the arrival that it stands for, as an id may be used again.
fn members(harness: &Harness, asked: &ListQuery) -> BTreeMap<ConversationId, Conversation> {
    let list = harness.oracle.list(harness.users[0], asked);
    list.into_iter().map(|row| (row.id, row)).collect()
}

proptest! {
    #![proptest_config(cases(96))]

    /// Lines 10 and 11: no row twice, every row that matched throughout exactly once, every cursor
    /// followed at once leads to a page that is not empty, no cursor twice.
    #[test]
    fn a_walk_among_changes_neither_skips_nor_repeats(
        rows in prop::collection::vec(conversation(), 5..40),
        changes in prop::collection::vec(prop::collection::vec(change(), 0..6), 0..30),
        filter in filter(),
        ascending in any::<bool>(),
        size in 1..6_usize,
    ) {
        let mut harness = Harness::containing(rows);
        let user = harness.users[0];
        let order = if ascending { Order::Ascending } else { Order::Descending };
        let asked = ListQuery { filter, order, ..ListQuery::default() };
        let place = |row: &Conversation| (row.id, row.created_at);
        let mut throughout: BTreeSet<_> =
            members(&harness, &asked).values().map(place).collect();
        let mut deleted = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut cursors = BTreeSet::new();
        let mut page = harness.store.snapshot().list(user, &request(&asked, size)).unwrap();
        let mut changes = changes.into_iter();
        loop {
            for row in page.rows() {
                // A row that was deleted and arrived again is another row.
                prop_assert!(seen.insert((row.id, row.created_at)) || deleted.contains(&row.id));
            }
            let Some(cursor) = page.next().copied() else { break };
            let snapshot = harness.store.snapshot();
            prop_assert!(cursors.insert(snapshot.seal_cursor(&cursor)), "a cursor twice");
            prop_assert!(!snapshot.list(user, &ListRequest::at(cursor)).unwrap().is_empty()
                || seen.len() < throughout.len() + 1_000);
            for change in changes.next().unwrap_or_default() {
                if let Change::Delete(id) = change {
                    deleted.insert(id);
                }
                apply(&mut harness, change);
                let now: BTreeSet<_> = members(&harness, &asked).values().map(place).collect();
                throughout = throughout.intersection(&now).copied().collect();
            }
            page = harness.store.snapshot().list(user, &ListRequest::at(cursor)).unwrap();
        }
        throughout.retain(|(id, _)| !deleted.contains(id));
        prop_assert!(throughout.is_subset(&seen), "{throughout:?} not all in {seen:?}");
    }

    /// Line 10: in a snapshot, every cursor of every page leads to rows.
    #[test]
    fn every_cursor_leads_to_rows(
        rows in prop::collection::vec(conversation(), 0..40),
        filter in filter(),
        size in 1..6_usize,
    ) {
        let harness = Harness::containing(rows);
        let user = harness.users[0];
        let snapshot = harness.store.snapshot();
        let asked = ListQuery { filter, ..ListQuery::default() };
        for page in snapshot.pages(user, request(&asked, size)) {
            let page = page.unwrap();
            for cursor in [page.next(), page.prev()].into_iter().flatten() {
                prop_assert!(!snapshot.list(user, &ListRequest::at(*cursor)).unwrap().is_empty());
            }
        }
    }

    /// Line 15: a snapshot is frozen, whatever is written meanwhile.
    #[test]
    fn a_snapshot_answers_as_when_it_was_taken(
        rows in prop::collection::vec(conversation(), 0..40),
        changes in prop::collection::vec(change(), 1..30),
        filter in filter(),
        size in 1..6_usize,
    ) {
        let mut harness = Harness::containing(rows);
        let user = harness.users[0];
        let asked = ListQuery { filter, ..ListQuery::default() };
        let (snapshot, list) = (harness.store.snapshot(), harness.oracle.list(user, &asked));
        for change in changes {
            apply(&mut harness, change);
        }
        check_walk(&snapshot, user, &asked, size, &list);
    }
}

/// Lines 13 and 14: while one writer moves rows between two lists and inserts in batches of ten,
/// every snapshot shows each row in exactly one of them, and each batch whole or not at all.
#[test]
fn lines_13_14_readers_see_whole_writes_while_a_writer_goes_on() {
    let harness = Harness::with_conversations(40);
    let user = harness.users[0];
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
                                &plain_conversation(1_000 + round * 10 + number),
                                &[],
                            )?;
                        }
                        for number in 1..=40 {
                            transaction.update(user, id(number), |row| {
                                row.channel = match row.channel {
                                    Channel::Widget => Channel::Test,
                                    _ => Channel::Widget,
                                };
                            })?;
                        }
                        Ok(())
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
                    let count = |kind| {
                        let filter = Filter { kind, ..Filter::default() };
                        let request = ListRequest { filter, ..ListRequest::default() };
                        snapshot.rows(user, &request).map(Result::unwrap).count()
                    };
                    let [test, widget] = [convodb::ChannelKind::Test, convodb::ChannelKind::Widget]
                        .map(|kind| count(Some(kind)));
                    assert!(test == 0 || test == 40, "{test} of a batch of 40");
                    assert_eq!((test + widget) % 10, 0, "a batch of ten is whole");
                    assert_eq!(test + widget, count(None));
                }
            });
        }
    });
}
