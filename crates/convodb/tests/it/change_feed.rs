//! Change feed: a follower has exactly the conversations of the store, whatever is written
//! meanwhile.
//!
//! The feed has no gaps and no repetitions, across group commits, restarts and crashes.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use convodb::{
    AssistantId, BulkOptions, ChangeCursor, ChangeKind, ChangesSince, Channel, Conversation,
    ConversationId, Error, Message, PageSize, Retention, Snapshot, Store, StoreOptions, Timestamp,
    UserId,
};
use convodb_testkit::generators::{assistant, channel, conversation, conversation_id, message};
use proptest::prelude::*;

use convodb_testkit::harness::{Harness, cases, copy_crashed_files, plain_conversation, plain_id};

/// A client that maintains a copy of one user's conversations from the feed.
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

    /// Applies one page of the feed. Returns whether there are more changes.
    fn follow(&mut self, snapshot: &Snapshot, size: usize) -> bool {
        let size = PageSize::new(size as u64).unwrap();
        let page = snapshot.changes_since(self.user, self.since, size).unwrap();
        assert!(page.changes.len() <= size.get());
        let mut seen = HashSet::new();
        for change in page.changes {
            assert!(seen.insert(change.id), "a conversation occurs twice in one page");
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
        self.since = ChangesSince::Cursor(via_token(snapshot, self.user, page.next_cursor));
        page.has_more
    }

    fn catch_up(&mut self, snapshot: &Snapshot, size: usize) {
        while self.follow(snapshot, size) {}
    }

    /// Compares the copy with the oracle, after the follower has caught up.
    #[track_caller]
    fn check(&self, harness: &Harness) {
        let rows = harness.oracle.conversations().filter(|(user, _)| *user == self.user);
        let expected: BTreeMap<_, _> = rows.map(|(_, row)| (row.id, row.clone())).collect();
        assert_eq!(self.copy, expected);
    }
}

/// Converts a cursor to a token and back.
fn via_token(snapshot: &Snapshot, user: UserId, cursor: ChangeCursor) -> ChangeCursor {
    let token = snapshot.seal_change_cursor(&cursor);
    assert!(token.len() == 56);
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
    /// A follower reads a page of this size.
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
    fn a_follower_has_all_conversations(steps in prop::collection::vec(step(), 1..80)) {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().join("store.convodb");
        let options = StoreOptions::new().memtable_bytes(2_000);
        let mut harness = Harness::new(Store::open_with(&path, &options).unwrap());
        let mut followers = harness.users.map(|user| Follower::new(user, ChangesSince::Beginning));
        for step in steps {
            let user = |second: bool| harness.users[usize::from(second)];
            match step {
                Step::Insert(second, row) => harness.insert(user(second), row),
                Step::Change(second, id, channel, assistant) => {
                    harness.update(user(second), id, move |row| {
                        if row.channel.kind() == channel.kind() { row.channel = channel.clone(); }
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
                    loader.finish().unwrap();
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

/// Four threads write while one follows. With one change a page, the feed has one change for each
/// write, and the changes of each conversation are in order.
#[test]
fn a_follower_misses_no_concurrent_write() {
    const WRITERS: u64 = 4;
    const ROWS: u64 = 100;
    let harness = Harness::in_memory();
    let (store, user) = (&harness.store, harness.users[0]);
    let changes = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for number in 0..ROWS {
                    let number = 1 + writer * ROWS + number;
                    store.insert(user, plain_conversation(number), Vec::new()).unwrap();
                    let message =
                        Message::new(convodb::Role::User, "hi".to_owned(), Timestamp::MIN).unwrap();
                    store.append_message(user, plain_id(number), message).unwrap();
                }
            });
        }
        let mut since = ChangesSince::Beginning;
        let mut changes = Vec::new();
        while (changes.len() as u64) < WRITERS * ROWS * 2 {
            let snapshot = store.snapshot();
            let page = snapshot.changes_since(user, since, PageSize::MIN).unwrap();
            since = ChangesSince::Cursor(page.next_cursor);
            changes.extend(page.changes);
        }
        changes
    });
    let mut seen: BTreeMap<ConversationId, Vec<ChangeKind>> = BTreeMap::new();
    for change in changes {
        seen.entry(change.id).or_default().push(change.kind);
    }
    assert_eq!(seen.len() as u64, WRITERS * ROWS);
    assert!(seen.values().all(|kinds| *kinds == [ChangeKind::Created, ChangeKind::Updated]));
}

#[test]
fn changes_of_one_conversation_are_coalesced() {
    let mut harness = Harness::with_conversations(3);
    let user = harness.users[0];
    let now = |harness: &Harness| {
        let snapshot = harness.store.snapshot();
        snapshot.changes_since(user, ChangesSince::Now, PageSize::MIN).unwrap().next_cursor
    };
    let kinds = |harness: &Harness, since| {
        let snapshot = harness.store.snapshot();
        let page =
            snapshot.changes_since(user, ChangesSince::Cursor(since), PageSize::MAX).unwrap();
        page.changes.iter().map(|change| (change.id, change.kind)).collect::<Vec<_>>()
    };
    let start = now(&harness);
    harness.insert(user, plain_conversation(4));
    harness.update(user, plain_id(1), |row| {
        row.ai_enabled = false;
    });
    harness.update(user, plain_id(4), |row| {
        row.ai_enabled = false;
    });
    use ChangeKind::{Created, Deleted, Updated};
    assert_eq!(kinds(&harness, start), [(plain_id(1), Updated), (plain_id(4), Created)]);
    let between = now(&harness);
    harness.delete(user, plain_id(4));
    harness.delete(user, plain_id(2));
    harness.insert(user, plain_conversation(2));
    assert_eq!(
        kinds(&harness, start),
        [(plain_id(1), Updated), (plain_id(4), Deleted), (plain_id(2), Created)]
    );
    assert_eq!(kinds(&harness, between), [(plain_id(4), Deleted), (plain_id(2), Created)]);
    harness.update(user, plain_id(1), |_| ());
    assert_eq!(kinds(&harness, now(&harness)), []);
}

#[test]
fn a_cursor_of_another_user_is_invalid() {
    let harness = Harness::with_conversations(2);
    let [one, two] = harness.users;
    let snapshot = harness.store.snapshot();
    let page = snapshot.changes_since(one, ChangesSince::Now, PageSize::MIN).unwrap();
    let token = snapshot.seal_change_cursor(&page.next_cursor);
    assert!(matches!(snapshot.open_change_cursor(two, &token), Err(Error::InvalidCursor)));
    let foreign =
        snapshot.changes_since(two, ChangesSince::Cursor(page.next_cursor), PageSize::MIN);
    assert!(matches!(foreign, Err(Error::InvalidCursor)));
    // Tokens of lists and of feeds are not interchangeable.
    assert!(matches!(snapshot.open_cursor(one, &token), Err(Error::InvalidCursor)));
    let list = snapshot.list(
        one,
        &convodb::ListRequest { page_size: Some(PageSize::MIN), ..convodb::ListRequest::default() },
    );
    let list_token = snapshot.seal_cursor(list.unwrap().next_cursor().unwrap());
    assert!(matches!(snapshot.open_change_cursor(one, &list_token), Err(Error::InvalidCursor)));
}

/// Changes are retained for the configured time, to the hour. A reader that was away longer gets an
/// error.
#[test]
fn expired_changes_are_removed_and_late_readers_get_an_error() {
    let hour = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    let keep = Retention { changes: Duration::from_secs(10 * 3600), ..Retention::default() };
    let mut harness = Harness::in_memory();
    let user = harness.users[0];
    let mut follower = Follower::new(user, ChangesSince::Beginning);
    let expire =
        |harness: &Harness, hours| harness.store.expire(hour(hours), keep).unwrap().changes;

    for number in 1..=1_500 {
        harness.insert(user, plain_conversation(number));
    }
    assert_eq!(expire(&harness, 0), 0, "no time mark is old");
    harness.insert(user, plain_conversation(2_000));
    assert_eq!(expire(&harness, 10), 0, "not older than ten hours");
    follower.catch_up(&harness.store.snapshot(), 100);
    let old = follower.clone();
    harness.delete(user, plain_id(7));
    assert_eq!(expire(&harness, 11), 1_500);
    assert_eq!(expire(&harness, 11), 0);
    let beginning =
        harness.store.snapshot().changes_since(user, ChangesSince::Beginning, PageSize::MIN);
    assert!(matches!(beginning, Err(Error::ChangesExpired)));
    follower.catch_up(&harness.store.snapshot(), 1);
    follower.check(&harness);
    assert_eq!(expire(&harness, 100), 2);
    let late = harness.store.snapshot().changes_since(user, old.since, PageSize::MIN);
    assert!(matches!(late, Err(Error::ChangesExpired)));
    follower.catch_up(&harness.store.snapshot(), 1);
    harness.insert(user, plain_conversation(3_000));
    follower.catch_up(&harness.store.snapshot(), 1);
    follower.check(&harness);
    harness.check_conversations();
}

/// A retried write with the same idempotency key is applied once, until its record expires.
#[test]
fn a_write_with_an_idempotency_key_is_applied_once() {
    let harness = Harness::with_conversations(1);
    let [user, other] = harness.users;
    let at = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    let append = |user: UserId, key: &str, request: u8, fails: bool| {
        let key = key.parse().unwrap();
        harness.store.write(move |transaction| {
            transaction.idempotent(user, &key, [request; 32], at(0), |transaction| {
                let message = Message::new(convodb::Role::User, "hi".to_owned(), Timestamp::MIN)?;
                let count = transaction.append_message(user, plain_id(1), &message)?;
                if fails { Err(Error::QueueFull) } else { Ok(count.to_be_bytes().to_vec()) }
            })
        })
    };
    let count = |harness: &Harness| {
        harness.store.snapshot().conversation(user, plain_id(1)).unwrap().unwrap().message_count
    };
    assert!(matches!(append(user, "a", 1, true), Err(Error::QueueFull)));
    assert_eq!(count(&harness), 0, "a failed write leaves nothing");
    for _ in 0..3 {
        assert_eq!(append(user, "a", 1, false).unwrap(), [0, 0, 0, 1]);
    }
    assert!(matches!(append(user, "a", 2, false), Err(Error::IdempotencyConflict)));
    assert_eq!(append(user, "b", 1, false).unwrap(), [0, 0, 0, 2]);
    assert!(matches!(append(other, "a", 1, false), Err(Error::ConversationNotFound)));
    assert_eq!(count(&harness), 2);
    let verified = harness.store.snapshot().verify().unwrap();
    assert!(verified.is_clean(), "{:?}", verified.findings);
    assert_eq!(harness.store.expire(at(24), Retention::default()).unwrap().idempotency, 0);
    assert_eq!(harness.store.expire(at(25), Retention::default()).unwrap().idempotency, 2);
    assert_eq!(append(user, "a", 1, false).unwrap(), [0, 0, 0, 3]);
}

/// A clock was ahead for a while. Changes and idempotency records of that time count as of the time
/// at which it was corrected: they are retained as long as others, and not until that future.
#[test]
fn a_clock_that_goes_back_neither_shortens_nor_prolongs_retention() {
    let hour = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    const AHEAD: u64 = 5 * 365 * 24;
    let keep = Retention {
        changes: Duration::from_secs(10 * 3600),
        idempotency: Duration::from_secs(10 * 3600),
    };
    let mut harness = Harness::in_memory();
    let user = harness.users[0];
    let keyed = |harness: &Harness, key: &str, hours| {
        let key = key.parse().unwrap();
        let write = harness.store.write(move |transaction| {
            transaction.idempotent(user, &key, [0; 32], hour(hours), |_| Ok::<_, Error>(Vec::new()))
        });
        write.unwrap();
    };
    let expire = |harness: &Harness, hours| {
        let report = harness.store.expire(hour(hours), keep).unwrap();
        (report.changes, report.idempotency)
    };
    harness.insert(user, plain_conversation(1));
    keyed(&harness, "before", 0);
    assert_eq!(expire(&harness, 0), (0, 0));
    harness.insert(user, plain_conversation(2));
    keyed(&harness, "ahead", AHEAD);
    // A program that does not doubt its clock. It ends what is old by that clock, as it asked.
    assert_eq!(expire(&harness, AHEAD), (1, 1));
    harness.insert(user, plain_conversation(3));
    // The clock is right again: what was dated ahead is retained from now on.
    assert_eq!(expire(&harness, 2), (0, 0));
    harness.insert(user, plain_conversation(4));
    assert_eq!(expire(&harness, 3), (0, 0));
    assert_eq!(expire(&harness, 12), (0, 0), "not older than ten hours");
    assert_eq!(expire(&harness, 13), (2, 1), "changes 2 and 3 and the record, of hour 2");
    assert_eq!(expire(&harness, 14), (1, 0));
    let verified = harness.store.snapshot().verify().unwrap();
    assert!(verified.is_clean(), "{:?}", verified.findings);
    // An idle feed gets no more marks: nothing is dated again.
    assert_eq!(expire(&harness, 15), (0, 0));
}
