//! Previews: kept in the rows or read from the messages, and the same either way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use convodb::{
    BulkOptions, Channel, ChannelKind, Contact, Conversation, ConversationId, Error, Filter,
    IndexFamilies, IndexFamily, IndexState, InsertProgress, ListRequest, Message, Order, Page,
    PreviewRef, Role, Snapshot, Sort, Store, StoreOptions, Timestamp, Transaction, UserId, compact,
    restore,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::copy_crashed_files;
use convodb_testkit::wait;
use uuid::Uuid;

const PREVIEWS: IndexFamilies = IndexFamilies::NONE.with(IndexFamily::Previews);

fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(number.into()))
}

fn at(number: u64) -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000 + number).unwrap()
}

/// Conversation `number`, and its messages: none, one, or several with different beginnings and ends.
fn row(number: u64) -> (Conversation, Vec<Message>) {
    let channel = match number % 3 {
        0 => Channel::Widget,
        1 => Channel::Api { external_identifier: "crm-1".parse().ok() },
        _ => {
            let contact = |phone: &str| Contact { name: None, phone: phone.parse().ok() };
            Channel::Whatsapp { sender: contact("+1"), customer: contact("+2") }
        }
    };
    let assistant = assistants()[usize::try_from(number % 3).unwrap()];
    let mut row = Conversation::new(id(number), assistant, channel, at(number));
    row.ai_enabled = !number.is_multiple_of(4);
    let messages: Vec<Message> = (0..number % 4).map(|part| message(number, part)).collect();
    row.message_count = u32::try_from(messages.len()).unwrap();
    (row, messages)
}

fn message(number: u64, part: u64) -> Message {
    let content = format!("{part} of {number}: {}", "\u{e9}".repeat(200));
    Message::new(Role::ALL[usize::try_from(part % 4).unwrap()], content, at(part)).unwrap()
}

/// A user with conversations 1 to `rows`.
fn load(store: &Store, rows: u64) -> UserId {
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    for id in assistants() {
        store.create_assistant(user, id, "Bot").unwrap();
    }
    let mut load = store.bulk_load(BulkOptions::default());
    for number in 1..=rows {
        let (row, messages) = row(number);
        load.push(user, &row, &messages).unwrap();
    }
    load.finish().unwrap();
    user
}

/// The previews of a page are those of the stored messages.
#[track_caller]
fn check_page(snapshot: &Snapshot, user: UserId, page: &Page) {
    assert_eq!(page.previews().len(), page.len());
    for (row, preview) in page.conversations().zip(page.previews()) {
        let messages = snapshot.messages(user, row.id).unwrap().unwrap();
        assert_eq!(preview, PreviewRef::of(&messages), "{}", row.id);
    }
}

/// All previews are those of the stored messages, and the store verifies. Returns the number of
/// messages that the pages read.
#[track_caller]
fn check(snapshot: &Snapshot, user: UserId) -> usize {
    let report = snapshot.verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let request = ListRequest::new().previews().page_size(100).unwrap();
    let pages = snapshot.pages(user, request).map(|page| {
        let page = page.unwrap();
        check_page(snapshot, user, &page);
        page.cost().messages
    });
    pages.sum()
}

#[track_caller]
fn check_kept(store: &Store, user: UserId) {
    assert_eq!(store.snapshot().index_state(IndexFamily::Previews), IndexState::Ready);
    assert_eq!(check(&store.snapshot(), user), 0, "messages read");
}

/// The lists of every plan, forward and back.
fn requests() -> Vec<ListRequest> {
    let filters = [
        Filter::new(),
        Filter::new().kind(ChannelKind::Widget),
        Filter::new().kinds([ChannelKind::Widget, ChannelKind::Whatsapp]).unwrap(),
        Filter::new().assistants([assistants()[0], assistants()[2]]).unwrap(),
        Filter::new().customer_phone("+2").unwrap(),
        Filter::new().ai_off(),
    ];
    let by_creation = filters.clone().map(|filter| ListRequest::new().filter(filter));
    let [all, kind, ..] = filters.map(|filter| ListRequest::new().filter(filter));
    let by_activity = [all, kind].map(|list| list.sort(Sort::LastActivity));
    let lists = by_creation.into_iter().chain(by_activity);
    lists.flat_map(|list| [list.clone(), list.order(Order::Ascending)]).collect()
}

#[test]
fn a_page_with_previews_reads_no_message_and_nothing_else_more() {
    let store = Store::in_memory().unwrap();
    let user = load(&store, 100);
    store.add_indexes(IndexFamilies::ALL).unwrap();
    let checkpoint_free = store.snapshot();
    for request in requests() {
        let request = request.page_size(7).unwrap();
        let mut plain = checkpoint_free.pages(user, request.clone());
        for page in checkpoint_free.pages(user, request.previews()) {
            let (page, plain) = (page.unwrap(), plain.next().unwrap().unwrap());
            assert!(!page.is_empty());
            check_page(&checkpoint_free, user, &page);
            assert_eq!(page.cost(), plain.cost(), "a preview costs no lookup");
            assert_eq!(page.cost().messages, 0);
            assert_eq!(plain.previews().len(), 0, "nobody asked");
            let back = page.prev_cursor().map(|cursor| ListRequest::at(*cursor).previews());
            if let Some(back) = back {
                check_page(&checkpoint_free, user, &checkpoint_free.list(user, &back).unwrap());
            }
        }
    }
}

#[test]
fn without_the_index_a_page_reads_at_most_two_messages_a_row() {
    let store = Store::in_memory().unwrap();
    let user = load(&store, 100);
    // A quarter has none, and a quarter has one.
    assert_eq!(check(&store.snapshot(), user), 25 + 2 * 50);
    let list = ListRequest::new().page_size(100).unwrap();
    assert_eq!(store.snapshot().list(user, &list).unwrap().cost().messages, 0);
}

/// Every way to write a conversation or its messages, with the index and without.
#[test]
fn every_write_keeps_the_preview() {
    let writes = |store: &Store| {
        let user = load(store, 20);
        let changed = |row: &mut Conversation| {
            row.ai_enabled = !row.ai_enabled;
            row.assistant = assistants()[2];
            Ok(())
        };
        for number in 1..8 {
            let appended = store.append_message(user, id(number), message(number, 9));
            appended.unwrap();
            store.update(user, id(number), Timestamp::MIN, changed).unwrap();
        }
        store.delete(user, id(8)).unwrap();
        let (new, messages) = row(23);
        store.insert(user, new, messages).unwrap();
        let (new, messages) = (row(27).0, row(27).1);
        let mut progress = Some(InsertProgress::default());
        while let Some(before) = progress {
            let (new, messages) = (new.clone(), messages.clone());
            let write = move |transaction: &mut Transaction<'_>| {
                transaction.insert_part(user, &new, &messages, before, &mut { 1 })
            };
            progress = store.write(write).unwrap();
        }
        // The newest messages go first, and the conversation stays without them.
        let delete = |number: u64, mut budget: usize| {
            let write = move |transaction: &mut Transaction<'_>| {
                transaction.delete_within(user, id(number), &mut budget)
            };
            store.write(write).unwrap()
        };
        assert!(!delete(7, 1) && !delete(7, 2) && delete(11, 9));
        user
    };
    let with = Store::in_memory().unwrap();
    with.add_indexes(PREVIEWS).unwrap();
    let user = writes(&with);
    check_kept(&with, user);
    let without = Store::in_memory().unwrap();
    let user = writes(&without);
    assert!(check(&without.snapshot(), user) > 0);
    let usage = |store: &Store| store.snapshot().storage_usage(user).unwrap();
    assert_eq!(usage(&with), usage(&without), "previews count towards no quota");
    with.drop_indexes(PREVIEWS).unwrap();
    assert!(check(&with.snapshot(), user) > 0);
    assert_eq!(usage(&with), usage(&without));
}

/// Writers insert, change, append and delete while rows get their previews and lose them again; each
/// step leaves a store that verifies, and whose previews are right.
#[test]
fn previews_are_added_and_dropped_beside_writers() {
    let store = Store::in_memory().unwrap();
    let user = load(&store, 5_000);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        move || {
            let found = |done: Result<(), Error>| {
                assert!(matches!(done, Ok(()) | Err(Error::ConversationNotFound)), "{done:?}");
            };
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let (mut new, messages) = row(20_000 + number);
                new.created_at = at(number * 7 % 5_000);
                store.insert(user, new, messages).unwrap();
                let said = message(number, 7);
                found(store.append_message(user, id(number * 11 % 5_000), said).map(drop));
                let on = |row: &mut Conversation| {
                    row.ai_enabled = !row.ai_enabled;
                    Ok(())
                };
                found(store.update(user, id(number * 17 % 5_000), at(0), on).map(drop));
                found(store.delete(user, id(number * 13 % 5_000)));
            }
        }
    });
    let mut steps = 0;
    let mut step = |_, _| {
        steps += 1;
        check(&store.snapshot(), user);
    };
    store.add_indexes_with_progress(PREVIEWS, &mut step).unwrap();
    check_kept(&store, user);
    store.drop_indexes_with_progress(PREVIEWS, &mut step).unwrap();
    assert!(check(&store.snapshot(), user) > 0);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    // The writer thread takes steps of its own.
    assert!(steps > 2, "{steps}");
}

/// After each step, a copy of the files as a crash would leave them continues at its opening, by
/// itself.
#[test]
fn an_interrupted_build_or_drop_continues_at_the_next_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let options = StoreOptions::new().background_checkpoints(false);
    let store = Store::open_with(&path, &options).unwrap();
    let user = load(&store, 5_000);
    let (mut built, mut dropped) = (Vec::new(), Vec::new());
    store
        .add_indexes_with_progress(PREVIEWS, |_, _| built.push(copy_crashed_files(&path)))
        .unwrap();
    store
        .drop_indexes_with_progress(PREVIEWS, |_, _| dropped.push(copy_crashed_files(&path)))
        .unwrap();
    drop(store);
    assert!(built.len() > 2 && dropped.len() > 2);
    let continued = |copy: &std::path::Path, state: IndexState| {
        let store = Store::open(copy).unwrap();
        wait::until("the step continues", || {
            store.snapshot().index_state(IndexFamily::Previews) == state
        });
        store
    };
    for copy in built {
        check_kept(&continued(&copy, IndexState::Ready), user);
    }
    for (number, copy) in dropped.into_iter().enumerate() {
        // Asked for again in the middle, it is built anew.
        if number == 1 {
            let again = Store::open_with(&copy, &options).unwrap();
            again.add_indexes(PREVIEWS).unwrap();
            check_kept(&again, user);
            continue;
        }
        let store = continued(&copy, IndexState::Absent);
        assert!(check(&store.snapshot(), user) > 0);
    }
}

#[test]
fn copies_keep_the_previews() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = Store::open_with(at("store"), &StoreOptions::new().indexes(PREVIEWS)).unwrap();
    let user = load(&store, 100);
    store.snapshot().backup(at("backup")).unwrap();
    assert!(restore(at("backup"), at("restored")).unwrap().is_clean());
    store.close().unwrap();
    compact(at("store")).unwrap();
    for name in ["store", "restored"] {
        check_kept(&Store::open(at(name)).unwrap(), user);
    }
}

#[test]
fn a_restricted_snapshot_reads_the_previews_that_it_reaches() {
    let store = Store::in_memory().unwrap();
    store.add_indexes(PREVIEWS).unwrap();
    let user = load(&store, 30);
    let snapshot = store.snapshot().restricted_to(assistants()[1]);
    let page = snapshot.list(user, &ListRequest::new().previews()).unwrap();
    assert_eq!((page.len(), page.previews().len()), (10, 10));
    check_page(&snapshot, user, &page);
}

#[test]
fn erasing_a_user_frees_what_the_previews_take() {
    let store = Store::in_memory().unwrap();
    store.add_indexes(PREVIEWS).unwrap();
    let user = load(&store, 100);
    store.erase_user(user, at(0)).unwrap();
    let report = store.snapshot().verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.conversations, report.messages), (0, 0));
}
