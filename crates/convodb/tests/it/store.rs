//! Writes through the store handle: isolation, rollback, validation, panics, queue and listeners.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use convodb::{
    AssistantId, BulkOptions, ChangesSince, Channel, ChannelKind, Conversation, Cost, Error,
    Filter, ListRequest, Message, Name, PageSize, Role, Store, StoreOptions, StoreState, Timestamp,
    UserId,
};

use crate::{TestUser, count};

#[test]
fn concurrent_writers_lose_no_write() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let conversation = acme.conversation();
                    let id = conversation.id;
                    store.insert(acme.user, conversation, Vec::new()).unwrap();
                    assert!(
                        store.snapshot().conversation(acme.user, id).unwrap().is_some(),
                        "a thread reads its own write"
                    );
                }
            });
        }
    });
    assert_eq!(count(&store, acme.user), 640);
    assert!(store.snapshot().verify().unwrap().is_clean());
}

/// Blocks the writer thread until the threads of `writes` run, so that they share one group
/// commit. Returns their results.
fn in_one_group<T: Send>(store: &Store, writes: Vec<Box<dyn FnOnce() -> T + Send + '_>>) -> Vec<T> {
    let (release, blocked) = channel::<()>();
    let (started, running) = channel();
    std::thread::scope(|scope| {
        let blocker = scope.spawn(move || {
            store.write(move |_| {
                started.send(()).unwrap();
                blocked.recv().unwrap();
                Ok::<_, Error>(())
            })
        });
        running.recv().unwrap();
        let (queued, ready) = channel();
        let threads: Vec<_> = writes
            .into_iter()
            .map(|write| {
                let queued = queued.clone();
                scope.spawn(move || {
                    queued.send(()).unwrap();
                    write()
                })
            })
            .collect();
        threads.iter().for_each(|_| ready.recv().unwrap());
        release.send(()).unwrap();
        blocker.join().unwrap().unwrap();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_failed_write_is_rolled_back_alone() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (user, store_ref) = (acme.user, &store);
    let insert = |fails: bool| -> Box<dyn FnOnce() -> Result<(), Error> + Send> {
        let conversation = acme.conversation();
        Box::new(move || {
            store_ref.write(move |transaction| {
                let message = Message::new(Role::User, "hi", Timestamp::MIN)?;
                transaction.insert(user, conversation.clone(), Vec::new())?;
                transaction.append_message(user, conversation.id, &message)?;
                if fails { Err(Error::TokenNotFound) } else { Ok(()) }
            })
        })
    };
    let outcomes = in_one_group(&store, (0..9).map(|number| insert(number % 3 == 0)).collect());
    let failed = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::TokenNotFound)));
    assert_eq!((failed.count(), count(&store, user)), (3, 6));
    let report = store.snapshot().verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// A bulk load can reuse the position of a row that was deleted in the same group, and so the keys
/// of its index entries.
#[test]
fn a_row_deleted_and_loaded_in_one_group_is_in_every_list() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (user, store_ref) = (acme.user, &store);
    let conversation = acme.conversation();
    let id = conversation.id;
    store.insert(user, conversation.clone(), Vec::new()).unwrap();
    let mut loader = store.bulk_load(BulkOptions::default());
    loader.push(user, &conversation, &[]).unwrap();
    let outcomes = in_one_group(
        &store,
        vec![
            Box::new(move || store_ref.delete(user, id).map(|()| 0)),
            Box::new(move || loader.finish().map(|report| report.inserted)),
        ],
    );
    // The order is open: if the load is first, it skips the existing row, which is then deleted.
    let loaded = *outcomes[1].as_ref().unwrap();
    let request = ListRequest::new().filter(Filter::new().kind(ChannelKind::Widget));
    assert_eq!(store.snapshot().list(user, &request).unwrap().len() as u64, loaded);
    let report = store.snapshot().verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[test]
fn a_store_cannot_be_closed_from_inside_a_write() {
    let store = Store::in_memory().unwrap();
    let inner = store.clone();
    let outcome = store.write(move |_| Ok::<_, Error>(inner.close()));
    assert!(matches!(outcome, Ok(Err(Error::NestedWrite))));
    store.create_user("still open", Timestamp::MIN).unwrap();
}

#[test]
fn a_panic_in_a_write_reaches_its_caller_and_the_store_stays_open() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let conversation = acme.conversation();
    let user = acme.user;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.write(move |transaction| -> Result<(), Error> {
            transaction.insert(user, conversation, Vec::new())?;
            panic!("a bug of the caller")
        })
    }));
    let message = panicked.unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"a bug of the caller"));
    assert_eq!(count(&store, user), 0);
    store.insert(user, acme.conversation(), Vec::new()).unwrap();
    assert_eq!(count(&store, user), 1);
}

/// The bulk load is rolled back, and the store reports no fault.
#[test]
fn a_panic_in_a_progress_callback_reaches_the_caller_of_the_load() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let mut loader = store.bulk_load(BulkOptions::default());
    loader.push(acme.user, &acme.conversation(), &[]).unwrap();
    let finish = || loader.finish_with_progress(|_, _| panic!("a bug of the caller"));
    let message = catch_unwind(AssertUnwindSafe(finish)).unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"a bug of the caller"));
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    assert_eq!(count(&store, acme.user), 1);
}

/// Both conversations are of the same millisecond, so the load has to choose another position.
#[test]
fn a_bulk_load_overwrites_no_occupied_position() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let existing = acme.conversation();
    store.insert(acme.user, existing.clone(), Vec::new()).unwrap();
    let mut loader = store.bulk_load(BulkOptions::default());
    loader.push(acme.user, &acme.conversation(), &[]).unwrap();
    loader.finish().unwrap();
    assert_eq!(count(&store, acme.user), 2);
    assert_eq!(store.snapshot().conversation(acme.user, existing.id).unwrap(), Some(existing));
}

#[test]
fn a_load_stores_nothing_if_an_assistant_was_deleted_meanwhile() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let other = AssistantId::generate(Timestamp::MIN);
    store.create_assistant(acme.user, other, "Other").unwrap();
    let mut loader = store.bulk_load(BulkOptions::default());
    loader.push(acme.user, &acme.conversation(), &[]).unwrap();
    let row = Conversation { assistant: other, ..acme.conversation() };
    loader.push(acme.user, &row, &[]).unwrap();
    store.delete_assistant(acme.user, other).unwrap();
    assert!(matches!(loader.finish(), Err(Error::AssistantNotFound)));
    assert_eq!(count(&store, acme.user), 0);
    assert!(store.snapshot().verify().unwrap().is_clean());
}

/// A load of this size encodes beside the thread that writes, and sorts on disk.
#[test]
fn a_large_load_is_complete_and_one_that_panics_leaves_nothing() {
    const ROWS: u64 = 12_000;
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let load = || {
        let mut loader =
            store.bulk_load(BulkOptions { budget_bytes: 1 << 20, ..BulkOptions::default() });
        for _ in 0..ROWS {
            let row = Conversation { message_count: 1, ..acme.conversation() };
            let message = Message::new(Role::User, "x".repeat(400), Timestamp::MIN).unwrap();
            loader.push(acme.user, &row, &[message]).unwrap();
        }
        loader
    };
    let loader = load();
    let finish = || loader.finish_with_progress(|_, _| panic!("a bug of the caller"));
    let message = catch_unwind(AssertUnwindSafe(finish)).unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"a bug of the caller"));
    assert_eq!(count(&store, acme.user), 0);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = seen.clone();
    let report = load()
        .finish_with_progress(move |done, total| progress.lock().unwrap().push((done, total)))
        .unwrap();
    assert_eq!((report.inserted, report.messages), (ROWS, ROWS));
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&(2 * ROWS, 2 * ROWS)), "{seen:?}");
    let report = store.snapshot().verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.conversations, report.messages), (ROWS, ROWS));
}

/// The pages that the load allocated are freed, so the file opens without a repair.
#[test]
fn a_file_needs_no_repair_after_a_panic_in_a_bulk_load() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    let mut loader = store.bulk_load(BulkOptions::default());
    loader.push(acme.user, &acme.conversation(), &[]).unwrap();
    let finish = || loader.finish_with_progress(|_, _| panic!("a bug of the caller"));
    catch_unwind(AssertUnwindSafe(finish)).unwrap_err();
    store.close().unwrap();
    // redb opens a file read-only only if it needs no repair.
    assert!(redb::ReadOnlyDatabase::open(&path).is_ok());
}

#[test]
fn a_commit_listener_can_register_another_one() {
    let store = Store::in_memory().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (same, count) = (store.clone(), calls.clone());
    let registered = Mutex::new(Vec::new());
    let registering = store.on_commit(move || {
        let count = count.clone();
        let counting = same.on_commit(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        registered.lock().unwrap().push(counting);
    });
    let acme = TestUser::of(&store);
    let before = calls.load(Ordering::Relaxed);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    assert!(calls.load(Ordering::Relaxed) > before);
    drop(registering);
}

#[test]
fn a_panicking_commit_listener_does_not_stop_the_writer() {
    let store = Store::in_memory().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let _panicking = store.on_commit(|| panic!("a bug of the listener"));
    let counting = store.on_commit(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let acme = TestUser::of(&store);
    let before = calls.load(Ordering::Relaxed);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), before + 1);
    assert_eq!(store.state(), StoreState::Open);
    drop(counting);
    store.rename_user(acme.user, "renamed").unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), before + 1, "a dropped listener is not called");
}

#[test]
fn a_full_queue_refuses_a_write() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().queue_depth(1);
    let store = Store::open_with(directory.path().join("store"), &options).unwrap();
    let (release, blocked) = channel::<()>();
    let (started, running) = channel();
    std::thread::scope(|scope| {
        let blocking = store.clone();
        scope.spawn(move || {
            blocking.write(move |_| {
                started.send(()).unwrap();
                blocked.recv().unwrap();
                Ok::<_, Error>(())
            })
        });
        running.recv().unwrap();
        // The queue has room for one write. While it waits, others are refused.
        let outcomes: Vec<Result<(), Error>> = {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let store = store.clone();
                    let release = release.clone();
                    scope.spawn(move || {
                        let outcome = store.write(|_| Ok(()));
                        if outcome.is_err() {
                            let _ = release.send(());
                        }
                        outcome
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        };
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(Error::QueueFull))));
        assert!(outcomes.iter().any(Result::is_ok));
    });
}

#[test]
fn a_nested_write_is_refused() {
    let store = Store::in_memory().unwrap();
    let inner = store.clone();
    let outcome = store.write(move |_| Ok::<_, Error>(inner.write(|_| Ok::<_, Error>(()))));
    assert!(matches!(outcome, Ok(Err(Error::NestedWrite))));
}

#[test]
fn a_closed_store_refuses_writes_and_a_second_close() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let clone = store.clone();
    store.close().unwrap();
    assert!(matches!(clone.insert(acme.user, acme.conversation(), Vec::new()), Err(Error::Closed)));
    assert!(matches!(clone.clone().close(), Err(Error::Closed)));
}

#[test]
fn invalid_writes_are_refused_and_change_nothing() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let user = acme.user;
    let conversation = acme.conversation();
    let id = conversation.id;
    store.insert(user, conversation.clone(), Vec::new()).unwrap();

    let duplicate = store.insert(user, conversation.clone(), Vec::new());
    assert!(matches!(duplicate, Err(Error::DuplicateConversation(uuid)) if uuid == id.uuid()));
    let stranger = AssistantId::generate(Timestamp::MIN);
    let mut foreign = acme.conversation();
    foreign.assistant = stranger;
    assert!(matches!(store.insert(user, foreign, Vec::new()), Err(Error::AssistantNotFound)));
    let moved = store.update(user, id, Timestamp::MIN, |row| {
        row.created_at = Timestamp::MIN;
        Ok(())
    });
    assert!(matches!(moved, Err(Error::Invalid { field: "created_at", .. })));
    let other = acme.conversation().id;
    let renamed = store.update(user, id, Timestamp::MIN, move |row| {
        row.id = other;
        Ok(())
    });
    assert!(matches!(renamed, Err(Error::Invalid { field: "id", .. })));
    let message = Message::new(Role::User, "hi", Timestamp::MIN).unwrap();
    store.append_message(user, id, message).unwrap();
    let uncounted = store.update(user, id, Timestamp::MIN, |row| {
        row.message_count = 0;
        Ok(())
    });
    assert!(matches!(uncounted, Err(Error::Invalid { field: "message_count", .. })));
    store.delete(user, id).unwrap();
    store.insert(user, conversation.clone(), Vec::new()).unwrap();
    let reassigned = store.update(user, id, Timestamp::MIN, move |row| {
        row.assistant = stranger;
        Ok(())
    });
    assert!(matches!(reassigned, Err(Error::AssistantNotFound)));
    assert_eq!(store.snapshot().conversation(user, id).unwrap(), Some(conversation));
}

#[test]
fn a_user_sees_nothing_of_another_user() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let other = store.create_user("Other", Timestamp::MIN).unwrap().id;
    store.create_assistant(other, acme.assistant, "Same id").unwrap();
    let conversation = acme.conversation();
    let id = conversation.id;
    store.insert(acme.user, conversation.clone(), Vec::new()).unwrap();
    let snapshot = store.snapshot();
    assert!(snapshot.conversation(other, id).unwrap().is_none());
    assert!(snapshot.messages(other, id).unwrap().is_none());
    assert_eq!(count(&store, other), 0);
    assert!(matches!(store.delete(other, id), Err(Error::ConversationNotFound)));
    // The other user can use the same id, so an insert does not reveal that the id exists.
    store.insert(other, conversation, Vec::new()).unwrap();
    store.delete(other, id).unwrap();
    assert!(store.snapshot().conversation(acme.user, id).unwrap().is_some());
}

#[test]
fn user_names_are_unique_and_assistant_numbers_count_for_each_user() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let duplicate = store.create_user("Acme", Timestamp::MIN);
    assert!(matches!(duplicate, Err(Error::DuplicateUser)));
    let second = AssistantId::generate(Timestamp::MIN);
    let assistant = store.create_assistant(acme.user, second, "Two").unwrap();
    assert_eq!(assistant.number, 2);
    store.rename_assistant(acme.user, second, "Renamed").unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.assistant_by_number(acme.user, 2).unwrap().unwrap().id, second);
    let names: Vec<String> = snapshot
        .assistants(acme.user, 0, 10)
        .unwrap()
        .into_iter()
        .map(|assistant| assistant.name.to_string())
        .collect();
    assert_eq!(names, ["Bot", "Renamed"]);
    assert_eq!(snapshot.assistants(acme.user, 1, 10).unwrap().len(), 1);
    let other = store.create_user("Other", Timestamp::MIN).unwrap().id;
    assert!(snapshot.assistant(other, second).unwrap().is_none());
    assert!(matches!(store.rename_assistant(other, second, "Mine"), Err(Error::AssistantNotFound)));
}

#[test]
fn an_update_with_an_invalid_result_is_refused_and_changes_nothing() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (user, conversation) = (acme.user, acme.conversation());
    let (id, created_at) = (conversation.id, conversation.created_at);
    store.insert(user, conversation.clone(), Vec::new()).unwrap();
    let refused = |field: &str, change: fn(&mut Conversation)| {
        let change = move |row: &mut Conversation| {
            change(row);
            Ok(())
        };
        let refused = store.update(user, id, created_at, change).unwrap_err();
        assert!(matches!(refused, Error::Invalid { field: found, .. } if found == field));
    };
    refused("type", |row| row.channel = Channel::Test);
    refused("total_cost", |row| row.total_cost = Cost::from_nanos(-1));
    refused("updated_at", |row| row.updated_at = Timestamp::MIN);
    let failed = store.update(user, id, created_at, |_| Err(Error::IdempotencyConflict));
    assert!(matches!(failed, Err(Error::IdempotencyConflict)), "the closure's own error");
    assert_eq!(store.snapshot().conversation(user, id).unwrap(), Some(conversation));
}

#[test]
fn an_update_advances_updated_at_unless_the_closure_sets_it() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (user, conversation) = (acme.user, acme.conversation());
    let (id, created_at) = (conversation.id, conversation.created_at);
    let at = |seconds: u64| Timestamp::from_millis(created_at.millis() + seconds * 1000).unwrap();
    store.insert(user, conversation, Vec::new()).unwrap();
    let changed = |now, set: Option<Timestamp>| {
        let change = move |row: &mut Conversation| {
            row.ai_enabled = !row.ai_enabled;
            row.updated_at = set.unwrap_or(row.updated_at);
            Ok(())
        };
        store.update(user, id, now, change).unwrap().updated_at
    };
    assert_eq!(changed(at(5), None), at(5));
    assert_eq!(changed(at(3), None), at(5), "an earlier time does not move it back");
    assert_eq!(changed(at(9), Some(at(7))), at(7));
    let unchanged = store.update(user, id, at(20), |_| Ok(())).unwrap();
    assert_eq!(unchanged.updated_at, at(7), "an update that changes nothing does not advance it");
}

#[test]
fn a_missing_user_is_not_a_missing_assistant() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let nobody = UserId::new(99);
    let inserted = store.insert(nobody, acme.conversation(), Vec::new());
    assert!(matches!(inserted, Err(Error::UserNotFound)));
    let mut load = store.bulk_load(BulkOptions::default());
    let pushed = load.push(nobody, &acme.conversation(), &[]);
    assert!(matches!(pushed, Err(Error::UserNotFound)));
    let renamed = store.rename_assistant(nobody, acme.assistant, "Bot");
    assert!(matches!(renamed, Err(Error::UserNotFound)));
}

#[test]
fn a_user_is_found_by_the_new_name_after_a_rename() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let name = |text: &str| text.parse::<Name>().unwrap();
    store.create_user(name("Taken"), Timestamp::MIN).unwrap();
    let old = store.snapshot().user(acme.user).unwrap().unwrap().name;
    let taken = store.rename_user(acme.user, name("Taken"));
    assert!(matches!(taken, Err(Error::DuplicateUser)));
    store.rename_user(acme.user, name("New")).unwrap();
    store.rename_user(acme.user, name("New")).unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.user_by_name(&name("New")).unwrap(), Some(acme.user));
    assert_eq!(snapshot.user_by_name(&old).unwrap(), None);
    assert!(snapshot.verify().unwrap().is_clean());
    let missing = store.rename_user(UserId::new(99), name("Other"));
    assert!(matches!(missing, Err(Error::UserNotFound)));
}

#[test]
fn an_assistant_without_conversations_can_be_deleted_and_its_number_is_not_reused() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let user = acme.user;
    let conversation = acme.conversation();
    let (id, bot) = (conversation.id, acme.assistant);
    store.insert(user, conversation, Vec::new()).unwrap();
    let in_use = store.delete_assistant(user, bot);
    assert!(matches!(in_use, Err(Error::AssistantInUse(uuid)) if uuid == bot.uuid()));
    store.delete(user, id).unwrap();
    store.delete_assistant(user, bot).unwrap();
    assert!(matches!(store.delete_assistant(user, bot), Err(Error::AssistantNotFound)));
    assert_eq!(store.snapshot().assistant_count(user).unwrap(), 0);
    let next = AssistantId::generate(Timestamp::MIN);
    let created = store.create_assistant(user, next, "Next").unwrap();
    assert_eq!(created.number, 2, "number 1 belonged to the deleted assistant");
    assert_eq!(store.snapshot().assistant_count(user).unwrap(), 1);
    assert!(store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn the_change_feed_stays_bounded_without_expiry() {
    let options = StoreOptions::new().retained_changes(100);
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path().join("store"), &options).unwrap();
    let acme = TestUser::of(&store);
    let (user, size) = (acme.user, PageSize::MAX);
    let start = store.snapshot().changes_since(user, ChangesSince::Now, size).unwrap().next_cursor;
    let rows: Vec<Conversation> = (0..3000).map(|_| acme.conversation()).collect();
    for batch in rows.chunks(500).map(<[Conversation]>::to_vec) {
        store
            .write(move |transaction| {
                batch.into_iter().try_for_each(|row| transaction.insert(user, row, Vec::new()))
            })
            .unwrap();
    }
    let snapshot = store.snapshot();
    let expired = snapshot.changes_since(user, ChangesSince::Cursor(start), size);
    assert!(matches!(expired, Err(Error::ChangesExpired)));
    let report = snapshot.verify().unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!((100..100 + 1024 + 1024).contains(&report.changes), "{}", report.changes);
}
