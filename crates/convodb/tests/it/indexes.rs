//! Optional indexes: absent, built beside writers, interrupted, dropped; and what they list.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use convodb::{
    BulkOptions, Channel, ChannelKind, Conversation, ConversationId, Error, Filter, IndexFamilies,
    IndexFamily, IndexState, ListRequest, Snapshot, Store, StoreOptions, Timestamp, UserId,
    compact, restore,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::copy_crashed_files;
use convodb_testkit::wait;
use uuid::Uuid;

const ALL: IndexFamilies = IndexFamilies::ALL;

fn waiting() -> ListRequest {
    ListRequest::new().filter(Filter::new().ai_off())
}

fn row(number: u64) -> Conversation {
    let at = Timestamp::from_millis(1_737_800_000_000 + number).unwrap();
    let id = ConversationId::new(Uuid::from_u128(number.into()));
    let assistant = assistants()[usize::try_from(number % 3).unwrap()];
    let mut row = Conversation::new(id, assistant, Channel::Widget, at);
    row.ai_enabled = !number.is_multiple_of(4);
    row
}

fn user(store: &Store) -> UserId {
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    for id in assistants() {
        store.create_assistant(user, id, "Bot").unwrap();
    }
    user
}

/// A user with this many conversations. The AI of each fourth is off.
fn load(store: &Store, rows: u64) -> UserId {
    let user = user(store);
    let mut load = store.bulk_load(BulkOptions::default());
    for number in 1..=rows {
        load.push(user, &row(number), &[]).unwrap();
    }
    load.finish().unwrap();
    user
}

/// The list with the index equals the one without it.
#[track_caller]
fn check_list(snapshot: &Snapshot, user: UserId) {
    let report = snapshot.verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let list = |filter: Filter| -> Vec<Conversation> {
        let request = ListRequest::new().filter(filter);
        snapshot.conversations(user, &request).collect::<Result<_, _>>().unwrap()
    };
    let off = |filter: Filter| -> Vec<Conversation> {
        list(filter).into_iter().filter(|row| !row.ai_enabled).collect()
    };
    for filter in [
        Filter::new(),
        Filter::new().kind(ChannelKind::Widget),
        Filter::new().assistant(assistants()[1]),
        Filter::new().assistants([assistants()[0], assistants()[2]]).unwrap(),
        Filter::new().kinds([ChannelKind::Widget, ChannelKind::Api]).unwrap(),
    ] {
        let found = list(filter.clone().ai_off());
        assert!(!found.is_empty(), "{filter:?}");
        assert_eq!(found, off(filter.clone()), "{filter:?}");
        let count = snapshot.count(user, &ListRequest::new().filter(filter.ai_off())).unwrap();
        assert_eq!((count.conversations, count.is_exact), (found.len() as u64, true));
    }
}

#[test]
fn a_list_without_its_index_names_it_and_what_to_do() {
    let store = Store::in_memory().unwrap();
    let user = load(&store, 10);
    let refused = store.snapshot().list(user, &waiting()).unwrap_err();
    assert!(matches!(refused, Error::IndexAbsent { index: "ai-off" }) && !refused.is_retryable());
    assert!(refused.to_string().contains("convodb indexes add ai-off"), "{refused}");
    let refused = store.snapshot().count(user, &waiting()).unwrap_err();
    assert!(matches!(refused, Error::IndexAbsent { .. }));
    store.add_indexes(ALL).unwrap();
    check_list(&store.snapshot(), user);
    store.add_indexes(ALL).unwrap();
    store.drop_indexes(ALL).unwrap();
    let refused = store.snapshot().list(user, &waiting()).unwrap_err();
    assert!(matches!(refused, Error::IndexAbsent { .. }));
}

#[test]
fn combinations_without_an_index_are_refused() {
    let store = Store::in_memory().unwrap();
    store.add_indexes(ALL).unwrap();
    let user = load(&store, 10);
    for filter in [
        Filter::new().sender_phone("+1").unwrap(),
        Filter::new().customer_phone("+1").unwrap(),
        Filter::new().external_identifier("a").unwrap(),
    ] {
        let request = ListRequest::new().filter(filter.ai_off());
        let refused = store.snapshot().list(user, &request).unwrap_err();
        assert!(matches!(refused, Error::Invalid { field: "ai_enabled", .. }), "{refused}");
    }
}

#[test]
fn a_cursor_keeps_the_filter() {
    let store = Store::in_memory().unwrap();
    store.add_indexes(ALL).unwrap();
    let user = load(&store, 40);
    let snapshot = store.snapshot();
    let first = snapshot.list(user, &waiting().page_size(3).unwrap()).unwrap();
    let token = snapshot.seal_cursor(first.next_cursor().unwrap());
    let cursor = snapshot.open_cursor(user, &token).unwrap();
    let second = snapshot.list(user, &ListRequest::at(cursor)).unwrap();
    assert!(second.conversations().all(|row| !row.ai_enabled) && second.len() == 3);
    let back = ListRequest::at(*second.prev_cursor().unwrap());
    assert!(snapshot.list(user, &back).unwrap().conversations().eq(first.conversations()));
    let plain = snapshot.list(user, &ListRequest::new().page_size(3).unwrap()).unwrap();
    let conflict = waiting().cursor(*plain.next_cursor().unwrap());
    let refused = snapshot.list(user, &conflict).unwrap_err();
    assert!(matches!(refused, Error::CursorConflict { field: "ai_enabled" }), "{refused}");
}

/// Writers insert, change and delete while the index is built in several steps; each step leaves a
/// store that verifies.
#[test]
fn an_index_is_built_beside_writers() {
    let store = Store::in_memory().unwrap();
    let user = load(&store, 10_000);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        move || {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let id = |number: u64| ConversationId::new(Uuid::from_u128(number.into()));
                let new = Conversation { id: id(20_000 + number), ..row(number * 7 % 10_000) };
                store.insert(user, new, Vec::new()).unwrap();
                let changed = store.update(user, id(number * 11 % 10_000), Timestamp::MIN, |row| {
                    row.ai_enabled = !row.ai_enabled;
                    Ok(())
                });
                assert!(matches!(changed, Ok(_) | Err(Error::ConversationNotFound)));
                let deleted = store.delete(user, id(number * 13 % 10_000));
                assert!(matches!(deleted, Ok(()) | Err(Error::ConversationNotFound)));
            }
        }
    });
    let mut steps = Vec::new();
    store
        .add_indexes_with_progress(ALL, |done, total| {
            let snapshot = store.snapshot();
            assert!(snapshot.verify().unwrap().is_clean());
            if snapshot.index_state(IndexFamily::AiOff) == IndexState::Building {
                let refused = snapshot.list(user, &waiting()).unwrap_err();
                assert!(matches!(refused, Error::IndexBuilding { .. }) && refused.is_retryable());
            }
            steps.push((done, total));
        })
        .unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    // The writer thread takes steps of its own.
    assert!(steps.len() > 1 && steps.is_sorted(), "{steps:?}");
    assert_eq!(steps.last().map(|(done, total)| done == total), Some(true));
    check_list(&store.snapshot(), user);
}

/// After each step, a copy of the files as a crash would leave them continues at its opening, by
/// itself.
#[test]
fn an_interrupted_build_continues_at_the_next_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let options = StoreOptions::new().background_checkpoints(false);
    let store = Store::open_with(&path, &options).unwrap();
    let user = load(&store, 10_000);
    let mut copies = Vec::new();
    store.add_indexes_with_progress(ALL, |_, _| copies.push(copy_crashed_files(&path))).unwrap();
    drop(store);
    assert!(copies.len() > 2);
    for copy in copies {
        let store = Store::open(&copy).unwrap();
        wait::until("the build continues", || {
            store.snapshot().index_state(IndexFamily::AiOff) == IndexState::Ready
        });
        check_list(&store.snapshot(), user);
    }
}

#[test]
fn options_choose_the_indexes_of_a_new_store_and_add_to_an_existing_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let state = |store: &Store| store.snapshot().index_state(IndexFamily::AiOff);
    let with = StoreOptions::new().indexes(ALL).background_checkpoints(false);
    let store = Store::open_with(directory.path().join("new"), &with).unwrap();
    assert_eq!(state(&store), IndexState::Ready);
    drop(store);
    let store = Store::open(&path).unwrap();
    let user = load(&store, 100);
    assert_eq!(state(&store), IndexState::Absent);
    store.close().unwrap();
    let store = Store::open_with(&path, &with).unwrap();
    assert_eq!(state(&store), IndexState::Building);
    store.close().unwrap();
    // A store that is opened for reading only stays as it is.
    let store = Store::open_with(&path, &with.clone().read_only(true)).unwrap();
    assert_eq!(state(&store), IndexState::Building);
    assert!(store.snapshot().verify().unwrap().is_clean());
    store.close().unwrap();
    let store = Store::open_with(&path, &with).unwrap();
    store.continue_indexes().unwrap();
    check_list(&store.snapshot(), user);
    store.close().unwrap();
    let store = Store::open_with(&path, &StoreOptions::new().read_only(true)).unwrap();
    check_list(&store.snapshot(), user);
}

#[test]
fn copies_have_the_indexes_of_their_store() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = Store::open_with(at("store"), &StoreOptions::new().indexes(ALL)).unwrap();
    let user = load(&store, 100);
    store.snapshot().backup(at("backup")).unwrap();
    assert!(restore(at("backup"), at("restored")).unwrap().is_clean());
    store.close().unwrap();
    compact(at("store")).unwrap();
    for name in ["store", "restored"] {
        check_list(&Store::open(at(name)).unwrap().snapshot(), user);
    }
}

/// A drop that was interrupted after its first write continues, and a build that was asked for
/// meanwhile begins anew.
#[test]
fn an_index_can_be_dropped_and_built_again_at_any_point() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let off = |on: bool| {
        StoreOptions::new().background_checkpoints(false).indexes(match on {
            true => ALL,
            false => IndexFamilies::NONE,
        })
    };
    let store = Store::open_with(&path, &off(true)).unwrap();
    let user = user(&store);
    // More entries than one step removes.
    let mut load = store.bulk_load(BulkOptions::default());
    for number in 1..=12_000 {
        let off = Conversation { ai_enabled: false, ..row(number) };
        load.push(user, &off, &[]).unwrap();
    }
    load.finish().unwrap();
    let mut copies = Vec::new();
    store.drop_indexes_with_progress(ALL, |_, _| copies.push(copy_crashed_files(&path))).unwrap();
    assert!(copies.len() > 3);
    for copy in copies {
        let store = Store::open_with(&copy, &off(false)).unwrap();
        assert!(store.snapshot().verify().unwrap().is_clean());
        let removed = ConversationId::new(Uuid::from_u128(1));
        store.delete(user, removed).unwrap();
        drop(store);
        let store = Store::open_with(&copy, &off(true)).unwrap();
        store.continue_indexes().unwrap();
        assert_eq!(store.snapshot().index_state(IndexFamily::AiOff), IndexState::Ready);
        assert!(store.snapshot().verify().unwrap().is_clean());
        let count = store.snapshot().count(user, &waiting()).unwrap();
        assert_eq!((count.conversations, count.is_exact), (12_000 - 1, true));
    }
}
