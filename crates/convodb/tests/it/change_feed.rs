//! The feed of changes: who follows it has the store's conversations, with no hole and no repeat,
//! whatever is written meanwhile, in whatever groups, across restarts and crashes.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use convodb::{
    AssistantId, BulkOptions, ChangeCursor, ChangeKind, ChangesSince, Channel, Conversation,
    ConversationId, Error, Keep, Message, PageSize, Snapshot, Store, StoreOptions, Timestamp,
    UserId,
};
use convodb_testkit::generators::{assistant, channel, conversation, conversation_id, message};
use proptest::prelude::*;

use convodb_testkit::harness::{Harness, cases, copy_crashed_files, id, plain_conversation};

/// A program that keeps a copy of one user's conversations by following the feed.
#[derive(Clone, Debug)]
struct Follower {
    user: UserId,
    since: ChangesSince,
    copy: BTreeMap<ConversationId, Conversation>,
}

impl Follower {
    fn new(user: UserId, since: ChangesSince) -> Self {
        Self { user, since, copy: BTreeMap::new() }
    }

    /// Takes one part of the feed; tells whether there was more.
    fn follow(&mut self, snapshot: &Snapshot, size: usize) -> bool {
        let size = PageSize::new(size as u64).unwrap();
        let part = snapshot.changes_since(self.user, self.since, size).unwrap();
        assert!(part.changes.len() <= size.get());
        let mut told = HashSet::new();
        for change in part.changes {
            assert!(told.insert(change.id), "a conversation is told twice in one part");
            assert_eq!(change.conversation.is_none(), change.kind == ChangeKind::Deleted);
            match change.conversation {
                Some(conversation) => {
                    assert_eq!(conversation.id, change.id);
                    self.copy.insert(change.id, conversation);
                }
                None => {
                    self.copy.remove(&change.id);
                }
            }
        }
        self.since = ChangesSince::Cursor(through_a_token(snapshot, self.user, part.next));
        part.more
    }

    fn catch_up(&mut self, snapshot: &Snapshot, size: usize) {
        while self.follow(snapshot, size) {}
    }

    /// After it has caught up, the copy is the store.
    #[track_caller]
    fn check(&self, harness: &Harness) {
        let rows = harness.oracle.conversations().filter(|(owner, _)| *owner == self.user);
        let expected: BTreeMap<_, _> = rows.map(|(_, row)| (row.id, row.clone())).collect();
        assert_eq!(self.copy, expected);
    }
}

fn through_a_token(snapshot: &Snapshot, user: UserId, cursor: ChangeCursor) -> ChangeCursor {
    let token = snapshot.seal_change_cursor(&cursor);
    assert!(token.len() <= 40);
    assert_eq!(snapshot.open_change_cursor(user, &token).unwrap(), cursor);
    cursor
}

#[derive(Clone, Debug)]
enum Step {
    Insert(bool, Conversation),
    Change(bool, ConversationId, Channel, AssistantId),
    Append(bool, ConversationId, Message),
    Delete(bool, ConversationId),
    Bulk(bool, Vec<Conversation>),
    Restart,
    Crash,
    /// A follower takes a part of this size.
    Follow(bool, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let user = any::<bool>;
    prop_oneof![
        5 => (user(), conversation()).prop_map(|(u, c)| Step::Insert(u, c)),
        4 => (user(), conversation_id(), channel(), assistant())
            .prop_map(|(u, id, c, a)| Step::Change(u, id, c, a)),
        4 => (user(), conversation_id(), message()).prop_map(|(u, id, m)| Step::Append(u, id, m)),
        4 => (user(), conversation_id()).prop_map(|(u, id)| Step::Delete(u, id)),
        1 => (user(), prop::collection::vec(conversation(), 0..8)).prop_map(|(u, c)| Step::Bulk(u, c)),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        6 => (user(), 1..6_usize).prop_map(|(u, size)| Step::Follow(u, size)),
    ]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn who_follows_the_feed_has_the_store(steps in prop::collection::vec(step(), 1..80)) {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().join("store.convodb");
        let options = StoreOptions { tail_bytes: 2_000, ..StoreOptions::default() };
        let mut harness = Harness::new(Store::open_with(&path, &options).unwrap());
        let mut followers = harness.users.map(|user| Follower::new(user, ChangesSince::Beginning));
        for step in steps {
            let user = |second: bool| harness.users[usize::from(second)];
            match step {
                Step::Insert(second, row) => harness.insert(user(second), row),
                Step::Change(second, id, channel, assistant) => {
                    harness.update(user(second), id, move |row| {
                        row.channel = channel.clone();
                        row.assistant = assistant;
                    });
                }
                Step::Append(second, id, message) => harness.append(user(second), id, &message),
                Step::Delete(second, id) => harness.delete(user(second), id),
                Step::Bulk(second, rows) => {
                    let user = user(second);
                    let mut loader = harness.store.bulk_load(BulkOptions::default());
                    for row in rows {
                        loader.push(user, &row, &[]).unwrap();
                        harness.oracle.insert(user, row, Vec::new());
                    }
                    loader.finish(|_, _| {}).unwrap();
                }
                Step::Restart => {
                    harness.store.clone().close().unwrap();
                    harness.store = Store::open_with(&path, &options).unwrap();
                }
                Step::Crash => {
                    path = copy_crashed_files(&path);
                    harness.store = Store::open_with(&path, &options).unwrap();
                }
                Step::Follow(second, size) => {
                    let snapshot = harness.store.snapshot();
                    followers[usize::from(second)].follow(&snapshot, size);
                }
            }
        }
        for mut follower in followers {
            follower.catch_up(&harness.store.snapshot(), 3);
            follower.check(&harness);
        }
        harness.check_conversations();
    }
}

/// Four threads write; one follows all the while. Nothing is skipped and nothing told twice: the
/// changes, one to a part, are as many as the writes, and each conversation's come in their order.
#[test]
fn a_follower_beside_writers_misses_nothing() {
    const WRITERS: u64 = 4;
    const ROWS: u64 = 100;
    let harness = Harness::in_memory();
    let (store, user) = (&harness.store, harness.users[0]);
    let parts = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for number in 0..ROWS {
                    let number = 1 + writer * ROWS + number;
                    store.insert(user, plain_conversation(number)).unwrap();
                    let message =
                        Message::new(convodb::Role::User, "hi".to_owned(), Timestamp::MIN).unwrap();
                    store.append_message(user, id(number), message).unwrap();
                }
            });
        }
        let mut since = ChangesSince::Beginning;
        let mut parts = Vec::new();
        while (parts.len() as u64) < WRITERS * ROWS * 2 {
            let snapshot = store.snapshot();
            let part = snapshot.changes_since(user, since, PageSize::MIN).unwrap();
            since = ChangesSince::Cursor(part.next);
            parts.extend(part.changes);
        }
        parts
    });
    let mut seen: BTreeMap<ConversationId, Vec<ChangeKind>> = BTreeMap::new();
    for change in parts {
        seen.entry(change.id).or_default().push(change.kind);
    }
    assert_eq!(seen.len() as u64, WRITERS * ROWS);
    assert!(seen.values().all(|kinds| *kinds == [ChangeKind::Created, ChangeKind::Updated]));
}

#[test]
fn changes_of_one_conversation_are_told_as_one() {
    let mut harness = Harness::with_conversations(3);
    let user = harness.users[0];
    let now = |harness: &Harness| {
        let snapshot = harness.store.snapshot();
        snapshot.changes_since(user, ChangesSince::Now, PageSize::MIN).unwrap().next
    };
    let kinds = |harness: &Harness, since| {
        let snapshot = harness.store.snapshot();
        let part =
            snapshot.changes_since(user, ChangesSince::Cursor(since), PageSize::MAX).unwrap();
        part.changes.iter().map(|change| (change.id, change.kind)).collect::<Vec<_>>()
    };
    let start = now(&harness);
    harness.insert(user, plain_conversation(4));
    harness.update(user, id(1), |row| row.ai_enabled = false);
    harness.update(user, id(4), |row| row.ai_enabled = false);
    use ChangeKind::{Created, Deleted, Updated};
    assert_eq!(kinds(&harness, start), [(id(1), Updated), (id(4), Created)]);
    let between = now(&harness);
    harness.delete(user, id(4));
    harness.delete(user, id(2));
    harness.insert(user, plain_conversation(2));
    assert_eq!(kinds(&harness, start), [(id(1), Updated), (id(4), Deleted), (id(2), Created)]);
    assert_eq!(kinds(&harness, between), [(id(4), Deleted), (id(2), Created)]);
    harness.update(user, id(1), |_| {});
    assert_eq!(kinds(&harness, now(&harness)), []);
}

#[test]
fn a_cursor_is_its_users_alone() {
    let harness = Harness::with_conversations(2);
    let [one, two] = harness.users;
    let snapshot = harness.store.snapshot();
    let part = snapshot.changes_since(one, ChangesSince::Now, PageSize::MIN).unwrap();
    let token = snapshot.seal_change_cursor(&part.next);
    assert!(matches!(snapshot.open_change_cursor(two, &token), Err(Error::InvalidCursor)));
    let foreign = snapshot.changes_since(two, ChangesSince::Cursor(part.next), PageSize::MIN);
    assert!(matches!(foreign, Err(Error::InvalidCursor)));
    // A token of a list is none of a feed, nor the other way round.
    assert!(matches!(snapshot.open_cursor(one, &token), Err(Error::InvalidCursor)));
    let list = snapshot.list(
        one,
        &convodb::ListRequest { page_size: Some(PageSize::MIN), ..convodb::ListRequest::default() },
    );
    let of_list = snapshot.seal_cursor(list.unwrap().next().unwrap());
    assert!(matches!(snapshot.open_change_cursor(one, &of_list), Err(Error::InvalidCursor)));
}

/// Changes are kept for as long as is asked, to the hour; a reader that was away for longer is told.
#[test]
fn old_changes_are_forgotten_and_their_readers_told() {
    let hour = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    let keep = Keep { changes: Duration::from_secs(10 * 3600), ..Keep::default() };
    let mut harness = Harness::in_memory();
    let user = harness.users[0];
    let mut follower = Follower::new(user, ChangesSince::Beginning);
    let expire =
        |harness: &Harness, hours| harness.store.expire(hour(hours), keep).unwrap().changes;

    for number in 1..=1_500 {
        harness.insert(user, plain_conversation(number));
    }
    assert_eq!(expire(&harness, 0), 0, "nothing is known to be old");
    harness.insert(user, plain_conversation(2_000));
    assert_eq!(expire(&harness, 10), 0, "not older than ten hours");
    follower.catch_up(&harness.store.snapshot(), 100);
    let old = follower.clone();
    harness.delete(user, id(7));
    assert_eq!(expire(&harness, 11), 1_500);
    assert_eq!(expire(&harness, 11), 0);
    let beginning =
        harness.store.snapshot().changes_since(user, ChangesSince::Beginning, PageSize::MIN);
    assert!(matches!(beginning, Err(Error::ChangesForgotten)));
    follower.catch_up(&harness.store.snapshot(), 1);
    follower.check(&harness);
    assert_eq!(expire(&harness, 100), 2);
    let late = harness.store.snapshot().changes_since(user, old.since, PageSize::MIN);
    assert!(matches!(late, Err(Error::ChangesForgotten)));
    follower.catch_up(&harness.store.snapshot(), 1);
    harness.insert(user, plain_conversation(3_000));
    follower.catch_up(&harness.store.snapshot(), 1);
    follower.check(&harness);
    harness.check_conversations();
}

/// A write that is sent again under its key is done once, until its answer is forgotten.
#[test]
fn a_write_with_a_key_is_done_once() {
    let harness = Harness::with_conversations(1);
    let [user, other] = harness.users;
    let at = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    let append = |user: UserId, key: &str, request: u8, fails: bool| {
        let key = key.parse().unwrap();
        harness.store.write(move |transaction| {
            transaction.once(user, &key, [request; 32], at(0), |transaction| {
                let message = Message::new(convodb::Role::User, "hi".to_owned(), Timestamp::MIN)?;
                let count = transaction.append_message(user, id(1), &message)?;
                if fails { Err(Error::QueueFull) } else { Ok(count.to_be_bytes().to_vec()) }
            })
        })
    };
    let count = |harness: &Harness| {
        harness.store.snapshot().get(user, id(1)).unwrap().unwrap().message_count
    };
    assert!(matches!(append(user, "a", 1, true), Err(Error::QueueFull)));
    assert_eq!(count(&harness), 0, "a failure leaves nothing behind");
    for _ in 0..3 {
        assert_eq!(append(user, "a", 1, false).unwrap(), [0, 0, 0, 1]);
    }
    assert!(matches!(append(user, "a", 2, false), Err(Error::IdempotencyConflict)));
    assert_eq!(append(user, "b", 1, false).unwrap(), [0, 0, 0, 2]);
    assert!(matches!(append(other, "a", 1, false), Err(Error::ConversationNotFound)));
    assert_eq!(count(&harness), 2);
    let audit = harness.store.snapshot().verify(|_, _| {}).unwrap();
    assert!(audit.is_clean(), "{:?}", audit.faults);
    assert_eq!(harness.store.expire(at(24), Keep::default()).unwrap().answers, 0);
    assert_eq!(harness.store.expire(at(25), Keep::default()).unwrap().answers, 2);
    assert_eq!(append(user, "a", 1, false).unwrap(), [0, 0, 0, 3]);
}
