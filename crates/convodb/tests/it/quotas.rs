//! Quotas: what is refused beyond them, what never is, and that usage is exact.

use std::time::Duration;

use convodb::{
    AssistantId, BulkOptions, Conversation, Error, IdempotencyKey, Message, Quota, QuotaLimit,
    Retention, Role, StorageUsage, Store, StoreOptions, Timestamp, UserQuota, Variables,
};
use convodb_testkit::oracle::assistant_bytes;

use crate::TestUser;

fn message(text: &str) -> Message {
    Message::new(Role::User, text, Timestamp::MIN).unwrap()
}

fn at_most(conversations: u64) -> UserQuota {
    UserQuota { conversations: QuotaLimit::AtMost(conversations), ..UserQuota::default() }
}

fn bytes(limit: u64) -> UserQuota {
    UserQuota { bytes: QuotaLimit::AtMost(limit), ..UserQuota::default() }
}

/// The usage of the user, in a store that verifies clean.
#[track_caller]
fn usage(store: &Store, acme: &TestUser) -> StorageUsage {
    let snapshot = store.snapshot();
    let verified = snapshot.verify().unwrap();
    assert!(verified.is_clean(), "{:?}", verified.findings);
    snapshot.storage_usage(acme.user).unwrap()
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(outcome: Result<T, Error>, what: &str, limit: u64, used: u64) {
    match outcome {
        Err(Error::QuotaExceeded { what: counted, limit: of, used: before, added }) => {
            assert_eq!((counted, of, before), (what, limit, used));
            assert!(before + added > of);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn usage_follows_every_kind_of_write() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (bot, empty) = (assistant_bytes("Bot"), 12 + 9 + 54);
    assert_eq!(usage(&store, &acme), StorageUsage { conversations: 0, bytes: bot });

    let conversation = acme.conversation();
    let id = conversation.id;
    store.insert(acme.user, conversation, Vec::new()).unwrap();
    assert_eq!(usage(&store, &acme), StorageUsage { conversations: 1, bytes: bot + empty });
    store.append_message(acme.user, id, message("hello")).unwrap();
    let of_message = 16 + 9 + 1 + (8 + 5) + 1 + 8 + 8;
    assert_eq!(usage(&store, &acme).bytes, bot + empty + of_message);
    let change = |row: &mut Conversation| {
        row.variables = Some(Variables::new("{\"a\":1}")?);
        Ok(())
    };
    store.update(acme.user, id, Timestamp::MIN, change).unwrap();
    assert_eq!(usage(&store, &acme).bytes, bot + empty + of_message + 7);
    store.rename_assistant(acme.user, acme.assistant, "Receptionist").unwrap();
    let bot = assistant_bytes("Receptionist");
    assert_eq!(usage(&store, &acme).bytes, bot + empty + of_message + 7);
    store.delete(acme.user, id).unwrap();
    assert_eq!(usage(&store, &acme), StorageUsage { conversations: 0, bytes: bot });
    store.delete_assistant(acme.user, acme.assistant).unwrap();
    assert_eq!(usage(&store, &acme), StorageUsage::default());
}

#[test]
fn a_long_conversation_is_freed_part_by_part() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let before = usage(&store, &acme);
    let conversation = Conversation { message_count: 5, ..acme.conversation() };
    let (user, id) = (acme.user, conversation.id);
    store.insert(user, conversation, vec![message("hello"); 5]).unwrap();
    let whole = usage(&store, &acme);
    assert!(!store.write(move |write| write.delete_within(user, id, &mut 2)).unwrap());
    // Two messages less, and the row contains how many are stored.
    assert_eq!(usage(&store, &acme).bytes, whole.bytes - 2 * 56 + 4);
    store.delete(user, id).unwrap();
    assert_eq!(usage(&store, &acme), before);
}

#[test]
fn recorded_responses_count_until_they_expire() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let (user, before) = (acme.user, usage(&store, &acme));
    let key: IdempotencyKey = "key".parse().unwrap();
    for _ in 0..2 {
        let key = key.clone();
        let respond = move |write: &mut convodb::Transaction<'_>| {
            write.idempotent(user, &key, [1; 32], Timestamp::MIN, |_| Ok::<_, Error>(vec![0; 10]))
        };
        store.write(respond).unwrap();
        assert_eq!(usage(&store, &acme).bytes, before.bytes + 20 + 9 + 32 + 8 + 10 + 8);
    }
    let later = Timestamp::from_millis(10_000).unwrap();
    let retention = Retention { idempotency: Duration::from_secs(1), ..Retention::default() };
    assert_eq!(store.expire(later, retention).unwrap().idempotency, 1);
    assert_eq!(usage(&store, &acme), before);
}

#[test]
fn what_grows_beyond_a_quota_is_refused_and_all_else_succeeds() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let conversation = Conversation { message_count: 1, ..acme.conversation() };
    let id = conversation.id;
    store.insert(acme.user, conversation, vec![message("hello")]).unwrap();
    let used = usage(&store, &acme).bytes;

    store.set_quota(acme.user, at_most(1)).unwrap();
    check_refused(store.insert(acme.user, acme.conversation(), Vec::new()), "conversations", 1, 1);
    store.append_message(acme.user, id, message("more")).unwrap();
    let used_now = usage(&store, &acme).bytes;

    // Below what is used already: nothing grows, but everything else continues.
    store.set_quota(acme.user, bytes(used)).unwrap();
    check_refused(store.append_message(acme.user, id, message("")), "bytes", used, used_now);
    check_refused(
        store.insert(acme.user, acme.conversation(), Vec::new()),
        "bytes",
        used,
        used_now,
    );
    let grow = |row: &mut Conversation| {
        row.variables = Some(Variables::new("{}")?);
        Ok(())
    };
    check_refused(store.update(acme.user, id, Timestamp::MIN, grow), "bytes", used, used_now);
    let other = AssistantId::generate(Timestamp::MIN);
    check_refused(store.create_assistant(acme.user, other, "Other"), "bytes", used, used_now);
    check_refused(
        store.rename_assistant(acme.user, acme.assistant, "Longer"),
        "bytes",
        used,
        used_now,
    );
    assert_eq!(usage(&store, &acme).bytes, used_now, "nothing of it was written");
    let off = |row: &mut Conversation| {
        row.ai_enabled = false;
        Ok(())
    };
    store.update(acme.user, id, Timestamp::MIN, off).unwrap();
    store.rename_assistant(acme.user, acme.assistant, "B").unwrap();
    store.delete(acme.user, id).unwrap();
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    assert_eq!(store.metrics().quota_refusals, 6);
    let shown = Error::QuotaExceeded { what: "bytes", limit: 10, used: 9, added: 2 }.to_string();
    assert_eq!(
        shown,
        "quota of 10 bytes exceeded: 9 are used, and this adds 2; delete conversations or raise the quota"
    );
}

#[test]
fn the_quota_of_a_user_overrides_that_of_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let default = Quota { conversations: Some(1), bytes: None };
    let options = StoreOptions::new().quota(default);
    let store = Store::open_with(&path, &options).unwrap();
    let (acme, other) = (TestUser::of(&store), TestUser::of_name(&store, "Other"));
    for user in [&acme, &other] {
        store.insert(user.user, user.conversation(), Vec::new()).unwrap();
        check_refused(
            store.insert(user.user, user.conversation(), Vec::new()),
            "conversations",
            1,
            1,
        );
    }
    let unlimited = UserQuota { conversations: QuotaLimit::Unlimited, ..UserQuota::default() };
    store.set_quota(acme.user, unlimited).unwrap();
    store.close().unwrap();

    let store = Store::open_with(&path, &options).unwrap();
    assert_eq!(store.snapshot().quota(acme.user).unwrap(), unlimited);
    assert_eq!(store.snapshot().quota(other.user).unwrap(), UserQuota::default());
    assert_eq!(store.default_quota(), default);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.set_quota(acme.user, UserQuota::default()).unwrap();
    check_refused(store.insert(acme.user, acme.conversation(), Vec::new()), "conversations", 1, 2);
    let nobody = store.set_quota(convodb::UserId::new(99), unlimited);
    assert!(matches!(nobody, Err(Error::UserNotFound)));
    let too_high = store.set_quota(acme.user, at_most(u64::MAX));
    assert!(matches!(too_high, Err(Error::Invalid { field: "quota", .. })));
}

#[test]
fn a_bulk_load_beyond_a_quota_stores_nothing() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let stored = acme.conversation();
    store.insert(acme.user, stored.clone(), Vec::new()).unwrap();
    store.set_quota(acme.user, at_most(3)).unwrap();
    let before = usage(&store, &acme);
    let load = |count: usize| {
        let mut load = store.bulk_load(BulkOptions::default());
        // One that is stored already takes nothing.
        load.push(acme.user, &stored, &[]).unwrap();
        for _ in 0..count {
            let conversation = Conversation { message_count: 2, ..acme.conversation() };
            load.push(acme.user, &conversation, &[message("a"), message("b")]).unwrap();
        }
        load.finish()
    };
    check_refused(load(3), "conversations", 3, 3);
    assert_eq!(usage(&store, &acme), before);
    assert_eq!(load(2).unwrap().inserted, 2);
    assert_eq!(usage(&store, &acme).conversations, 3);
}

#[test]
fn an_erased_user_leaves_no_quota() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.set_quota(acme.user, at_most(0)).unwrap();
    store.erase_user(acme.user, Timestamp::MIN).unwrap();
    assert_eq!(usage(&store, &acme), StorageUsage::default());
    assert_eq!(store.snapshot().quota(acme.user).unwrap(), UserQuota::default());
}
