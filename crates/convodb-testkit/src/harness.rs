//! Test harness: a store and the oracle, which receive the same writes.
//!
//! Every write compares the two results; a difference panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::generators::assistants;
use crate::oracle::{Oracle, assistant_bytes};
use crate::page_walk::check_previews;
use convodb::{
    Channel, Conversation, ConversationId, CostSum, Day, Error, IndexFamilies, Message, Period,
    Snapshot, StatsRequest, Store, Timestamp, Transaction, UserId, Volume,
};
use proptest::prelude::*;
use uuid::Uuid;

/// A store with two users, who have the same assistants, and the oracle of its conversations.
pub struct Harness {
    /// The store under test.
    pub store: Store,
    /// The expected conversations.
    pub oracle: Oracle,
    /// The users of the store.
    pub users: [UserId; 2],
}

impl Harness {
    /// Creates the users and their assistants in an empty store.
    pub fn new(store: Store) -> Self {
        let users = ["one", "two"].map(|name| {
            let user = store.create_user(name, Timestamp::MIN).unwrap().id;
            for id in assistants() {
                store.create_assistant(user, id, "Bot").unwrap();
            }
            user
        });
        Self { store, oracle: Oracle::default(), users }
    }

    /// Creates a harness around a store in memory, with all optional indexes.
    pub fn in_memory() -> Self {
        let store = Store::in_memory().unwrap();
        store.add_indexes(IndexFamilies::ALL).unwrap();
        Self::new(store)
    }

    /// Inserts these conversations for the first user. Both sides reject ids that repeat.
    pub fn containing(conversations: Vec<Conversation>) -> Self {
        let mut harness = Self::in_memory();
        for conversation in conversations {
            harness.insert(harness.users[0], conversation);
        }
        harness
    }

    /// Inserts [`plain_conversation`] 1 to `count` for the first user.
    pub fn with_conversations(count: u64) -> Self {
        Self::containing((1..=count).map(plain_conversation).collect())
    }

    /// Inserts a conversation without messages.
    #[track_caller]
    pub fn insert(&mut self, user: UserId, conversation: Conversation) {
        self.insert_with_messages(user, conversation, Vec::new());
    }

    /// Inserts a conversation with messages, and raises its message count to their number.
    #[track_caller]
    pub fn insert_with_messages(
        &mut self,
        user: UserId,
        mut conversation: Conversation,
        messages: Vec<Message>,
    ) {
        let count = u32::try_from(messages.len()).unwrap();
        conversation.message_count = conversation.message_count.max(count);
        let (stored, sent) = (conversation.clone(), messages.clone());
        let inserted =
            self.store.write(move |transaction| transaction.insert(user, stored, sent.clone()));
        let id = conversation.id;
        match (inserted, self.oracle.insert(user, conversation, messages)) {
            (Ok(()), true) => {}
            (Err(Error::DuplicateConversation(refused)), false) => assert_eq!(refused, id.uuid()),
            (outcome, expected) => panic!("{outcome:?}, but the oracle expects {expected}"),
        }
    }

    /// Deletes a conversation.
    #[track_caller]
    pub fn delete(&mut self, user: UserId, id: ConversationId) {
        let deleted = self.store.delete(user, id);
        check_found(&deleted, self.oracle.delete(user, id));
    }

    /// Updates a conversation.
    #[track_caller]
    pub fn update(
        &mut self,
        user: UserId,
        id: ConversationId,
        change: impl Fn(&mut Conversation) + Send + Clone + 'static,
    ) {
        let change_stored = change.clone();
        // Without a later time, `updated_at` stays as the change leaves it.
        let updated = self.store.update(user, id, Timestamp::MIN, move |row| {
            change_stored(row);
            Ok(())
        });
        check_found(&updated, self.oracle.update(user, id, change));
    }

    /// Appends a message.
    #[track_caller]
    pub fn append(&mut self, user: UserId, id: ConversationId, message: &Message) {
        let appended = self.store.append_message(user, id, message.clone());
        check_found(&appended, self.oracle.append(user, id, message));
    }

    /// Compares every conversation and its messages with the oracle, and verifies the store.
    #[track_caller]
    pub fn check_conversations(&self) {
        let snapshot = self.store.snapshot();
        let mut count = 0;
        for (user, conversation) in self.oracle.conversations() {
            let id = conversation.id;
            assert_eq!(snapshot.conversation(user, id).unwrap().as_ref(), Some(conversation));
            let messages = snapshot.messages(user, id).unwrap();
            assert_eq!(messages.as_deref(), self.oracle.messages(user, id));
            count += 1;
        }
        for user in self.users {
            check_previews(&snapshot, &self.oracle, user);
            let mut expected = self.oracle.usage(user);
            for assistant in snapshot.assistants(user, 0, 100).unwrap() {
                expected.bytes += assistant_bytes(assistant.name.as_str());
            }
            assert_eq!(snapshot.storage_usage(user).unwrap(), expected);
        }
        let verified = snapshot.verify().unwrap();
        assert!(verified.is_clean(), "{:?}", verified.findings);
        assert_eq!(verified.conversations, count);
    }

    /// Compares statistics by month and type, over all time and over a few months, with sums over
    /// the oracle's conversations.
    #[track_caller]
    pub fn check_stats(&self) {
        for user in self.users {
            for (from, to) in
                [(Day::new(0), Day::new(u32::MAX)), (Day::new(20_000), Day::new(20_113))]
            {
                let request = StatsRequest {
                    by_kind: true,
                    period: Some(Period::Month),
                    ..StatsRequest::new(from, to)
                };
                let stats = self.store.snapshot().stats(user, &request).unwrap();
                let volume = |matches: &dyn Fn(&Conversation) -> bool| {
                    let rows: Vec<&Conversation> = self
                        .oracle
                        .conversations()
                        .filter(|(of, row)| {
                            *of == user
                                && (from..to).contains(&row.created_at.day())
                                && matches(row)
                        })
                        .map(|(_, row)| row)
                        .collect();
                    Volume {
                        conversations: rows.len() as u64,
                        messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
                        cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
                    }
                };
                assert_eq!(stats.total, volume(&|_| true));
                for row in &stats.rows {
                    let expected = volume(&|conversation: &Conversation| {
                        Some(conversation.channel.kind()) == row.kind
                            && Some(conversation.created_at.day().month_start()) == row.period
                    });
                    assert_eq!(row.volume, expected);
                }
                let sum: u64 = stats.rows.iter().map(|row| row.volume.conversations).sum();
                assert_eq!(sum, stats.total.conversations);
            }
        }
    }
}

#[track_caller]
fn check_found<T: std::fmt::Debug>(outcome: &Result<T, Error>, expected: bool) {
    match (outcome, expected) {
        (Ok(_), true) | (Err(Error::ConversationNotFound), false) => {}
        _ => panic!("{outcome:?}, but the oracle expects {expected}"),
    }
}

/// The id of [`plain_conversation`] `number`.
pub fn plain_id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(u128::from(number)))
}

/// The n-th plain conversation: a widget conversation, created one second after the previous one.
pub fn plain_conversation(number: u64) -> Conversation {
    let at = Timestamp::from_millis(1_737_800_000_000 + number * 1_000).unwrap();
    Conversation::new(plain_id(number), assistants()[0], Channel::Widget, at)
}

/// The configuration of property tests: `count` cases unless `PROPTEST_CASES` sets another number.
/// A failure prints its seed; no file is written.
pub fn cases(count: u32) -> ProptestConfig {
    let configured = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: configured.unwrap_or(count),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Runs a write, and returns what readers see at its commit, before any checkpoint.
///
/// # Panics
/// The write fails.
pub fn snapshot_at_commit(
    store: &Store,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<(), Error> + Send + 'static,
) -> Snapshot {
    let (send, receive) = channel();
    let reader = store.clone();
    let listener = store.on_commit(move || send.send(reader.snapshot()).unwrap());
    store.write(write).unwrap();
    drop(listener);
    receive.recv_timeout(Duration::from_secs(60)).expect("a listener is called at a commit")
}

/// Copies the files of an open, idle store as a crash would leave them, and returns the path of the
/// copy.
///
/// A checkpoint may run meanwhile. It writes pages that the last commit does not use, and commits
/// by writing the first page last. If a checkpoint commits or the WAL changes during the copy, the
/// copy mixes two states, so the function copies again.
pub fn copy_crashed_files(path: &Path) -> PathBuf {
    let mut names = (0..).map(|number| path.with_file_name(format!("{number}.convodb")));
    let copy = names.find(|name| !name.exists()).unwrap();
    loop {
        let before = wal_segments(path);
        let head = first_page(path);
        fs::copy(path, &copy).unwrap();
        let copied: Vec<PathBuf> = before
            .iter()
            .filter_map(|segment| {
                let name = segment.file_name()?.to_str()?;
                let (_, number) = name.rsplit_once('.')?;
                let target = format!("{}-log.{number}", copy.file_name()?.to_str()?);
                let target = copy.with_file_name(target);
                fs::copy(segment, &target).ok().map(|_| target)
            })
            .collect();
        let same = first_page(path) == head && wal_segments(path) == before;
        if same && copied.len() == before.len() {
            return copy;
        }
        copied.iter().for_each(|segment| fs::remove_file(segment).unwrap());
    }
}

/// The first page of the database file, which identifies the last commit.
fn first_page(path: &Path) -> Vec<u8> {
    let mut page = Vec::new();
    fs::File::open(path).unwrap().take(4096).read_to_end(&mut page).unwrap();
    page
}

/// The paths of the WAL segments of a store, in order.
fn wal_segments(path: &Path) -> Vec<PathBuf> {
    let prefix = format!("{}-log.", path.file_name().unwrap().to_str().unwrap());
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = entries
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix))
        .collect();
    segments.sort();
    segments
}
