//! Inserts in parts: bounded writes, nothing visible before the last, nothing left after a crash.

use convodb::{
    BulkOptions, Conversation, Error, InsertProgress, ListRequest, MAX_INSERTED_BYTES, Message,
    QuotaLimit, Role, Snapshot, StorageUsage, Store, Timestamp, UserQuota, compact,
};
use convodb_testkit::harness::copy_crashed_files;

use crate::TestUser;

fn message(number: usize) -> Message {
    Message::new(Role::User, format!("message {number}"), Timestamp::MIN).unwrap()
}

/// A conversation with this many messages.
fn long(acme: &TestUser, count: usize) -> (Conversation, Vec<Message>) {
    let message_count = u32::try_from(count).unwrap();
    let row = Conversation { message_count, ..acme.conversation() };
    (row, (0..count).map(message).collect())
}

/// One part of at most two messages.
fn insert_part(
    store: &Store,
    acme: &TestUser,
    (row, messages): &(Conversation, Vec<Message>),
    progress: InsertProgress,
) -> Result<Option<InsertProgress>, Error> {
    let (user, row, messages) = (acme.user, row.clone(), messages.clone());
    store.write(move |write| write.insert_part(user, &row, &messages, progress, &mut { 130 }))
}

#[track_caller]
fn check_clean(snapshot: &Snapshot) {
    let verified = snapshot.verify().unwrap();
    assert!(verified.is_clean(), "{:?}", verified.findings);
}

/// Nothing of the user's conversation is visible.
#[track_caller]
fn check_hidden(snapshot: &Snapshot, acme: &TestUser, row: &Conversation) {
    assert!(snapshot.conversation(acme.user, row.id).unwrap().is_none());
    assert!(snapshot.messages(acme.user, row.id).unwrap().is_none());
    assert_eq!(snapshot.conversations(acme.user, &ListRequest::default()).count(), 0);
    check_clean(snapshot);
}

#[test]
fn a_crash_between_any_two_parts_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    let before = store.snapshot().storage_usage(acme.user).unwrap();
    let new = long(&acme, 7);
    let (mut progress, mut parts) = (Some(InsertProgress::default()), 0);
    while let Some(from) = progress {
        progress = insert_part(&store, &acme, &new, from).unwrap();
        parts += 1;
        if progress.is_none() {
            break;
        }
        check_hidden(&store.snapshot(), &acme, &new.0);
        assert_eq!(store.remove_abandoned_inserts().unwrap(), 0, "it runs");

        let crashed = Store::open(copy_crashed_files(&path)).unwrap();
        check_hidden(&crashed.snapshot(), &acme, &new.0);
        let usage = crashed.snapshot().storage_usage(acme.user).unwrap();
        assert!(usage.bytes > before.bytes && usage.conversations == 0, "{usage:?}");
        // A backup contains what the snapshot has, and is a store like any other.
        let backup = directory.path().join(format!("backup {parts}"));
        crashed.snapshot().backup(&backup).unwrap();
        let restored = Store::open(&backup).unwrap();
        check_hidden(&restored.snapshot(), &acme, &new.0);
        for store in [crashed, restored] {
            assert_eq!(store.remove_abandoned_inserts().unwrap(), 1);
            assert_eq!(store.snapshot().storage_usage(acme.user).unwrap(), before);
            check_hidden(&store.snapshot(), &acme, &new.0);
            store.close().unwrap();
        }
    }
    assert_eq!(parts, 4);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.messages(acme.user, new.0.id).unwrap().unwrap(), new.1);
    check_clean(&snapshot);
}

#[test]
fn what_is_staged_reserves_its_position() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (first, second) = (long(&acme, 5), long(&acme, 3));
    let progress = insert_part(&store, &acme, &first, InsertProgress::default()).unwrap();
    store.insert(acme.user, second.0.clone(), second.1.clone()).unwrap();
    let mut load = store.bulk_load(BulkOptions::default());
    let third = long(&acme, 1);
    load.push(acme.user, &third.0, &third.1).unwrap();
    load.finish().unwrap();
    let mut progress = progress;
    while let Some(from) = progress {
        progress = insert_part(&store, &acme, &first, from).unwrap();
    }
    let rows = store.snapshot().conversations(acme.user, &ListRequest::default());
    let ids: Vec<_> = rows.rev().map(|row| row.unwrap().id).collect();
    assert_eq!(ids, [first.0.id, second.0.id, third.0.id], "in the order of their beginning");
    check_clean(&store.snapshot());
    for (row, messages) in [first, second, third] {
        assert_eq!(store.snapshot().messages(acme.user, row.id).unwrap().unwrap(), messages);
    }
}

#[test]
fn an_insert_that_cannot_end_leaves_nothing_that_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    let before = store.snapshot().storage_usage(acme.user).unwrap();
    let new = long(&acme, 5);

    // A quota that the whole is beyond is an error before anything is stored.
    let limit = QuotaLimit::AtMost(before.bytes + 300);
    store.set_quota(acme.user, UserQuota { bytes: limit, ..UserQuota::default() }).unwrap();
    let refused = insert_part(&store, &acme, &new, InsertProgress::default());
    assert!(matches!(refused, Err(Error::QuotaExceeded { what: "bytes", .. })), "{refused:?}");
    assert_eq!(store.snapshot().storage_usage(acme.user).unwrap(), before);
    store.set_quota(acme.user, UserQuota::default()).unwrap();

    // Another conversation has taken the id in the meantime.
    let progress = insert_part(&store, &acme, &new, InsertProgress::default()).unwrap().unwrap();
    let same = Conversation { message_count: 0, ..new.0.clone() };
    store.insert(acme.user, same, Vec::new()).unwrap();
    let progress = insert_part(&store, &acme, &new, progress).unwrap().unwrap();
    let refused = insert_part(&store, &acme, &new, progress);
    assert!(matches!(refused, Err(Error::DuplicateConversation(_))), "{refused:?}");
    store.close().unwrap();
    compact(&path).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.remove_abandoned_inserts().unwrap(), 0, "compaction removed it");
    store.delete(acme.user, new.0.id).unwrap();
    assert_eq!(store.snapshot().storage_usage(acme.user).unwrap(), before);

    // The user is erased.
    let progress = insert_part(&store, &acme, &new, InsertProgress::default()).unwrap().unwrap();
    store.erase_user(acme.user, Timestamp::MIN).unwrap();
    assert!(insert_part(&store, &acme, &new, progress).is_err());
    assert_eq!(store.remove_abandoned_inserts().unwrap(), 0);
    assert_eq!(store.snapshot().storage_usage(acme.user).unwrap(), StorageUsage::default());
    check_clean(&store.snapshot());
}

#[test]
fn a_long_conversation_is_stored_in_bounded_writes() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let new = long(&acme, 20_000);
    let (commits, bytes) = (store.metrics().commits, store.metrics().committed_bytes);
    store.insert(acme.user, new.0.clone(), new.1.clone()).unwrap();
    let metrics = store.metrics();
    let (commits, bytes) = (metrics.commits - commits, metrics.committed_bytes - bytes);
    assert!(commits >= bytes / (MAX_INSERTED_BYTES as u64 + 4096), "{commits} of {bytes} bytes");
    assert_eq!(store.snapshot().messages(acme.user, new.0.id).unwrap().unwrap(), new.1);
    check_clean(&store.snapshot());
}
