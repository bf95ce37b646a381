//! Random operations: everything that the public API of a store offers, compared with the oracle.
//!
//! Operations are writes, writes that fail, bulk loads, changes of assistants and tokens, page
//! reads between writes, restarts and crashes. A difference panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use convodb::{
    Assistant, AssistantId, BulkOptions, Channel, Conversation, ConversationId, Day, Error,
    IndexFamilies, ListRequest, Message, PageSize, Snapshot, Stats, StatsRequest, Store,
    StoreOptions, StoreVersion, Timestamp, UserId,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::generators::{assistant, channel, conversation, conversation_id, list_query, message};
use crate::harness::{Harness, copy_crashed_files};
use crate::live_walk::LiveWalk;
use crate::oracle::{ListQuery, Oracle};
use crate::page_walk::check_walk;

/// One operation on a store. The leading `bool` selects the first or the second user.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Inserts a conversation with messages.
    Insert(bool, Conversation, Vec<Message>),
    /// Sets channel, assistant and `ai_enabled` of a conversation.
    Update(bool, ConversationId, Channel, AssistantId, bool),
    /// Appends a message.
    Append(bool, ConversationId, Message),
    /// Deletes a conversation and its messages.
    Delete(bool, ConversationId),
    /// Bulk-loads conversations.
    BulkLoad(bool, Vec<(Conversation, Vec<Message>)>),
    /// One transaction that inserts the conversations that do not exist, deletes one, and appends a
    /// message.
    Batch(bool, Vec<Conversation>, ConversationId, Message),
    /// One transaction that writes and then fails.
    Aborted(bool, Conversation, ConversationId, Message),
    /// Invalid writes: each fails and changes nothing.
    Rejected(bool, Conversation, Message),
    /// Renames an assistant.
    RenameAssistant(bool, AssistantId, u8),
    /// Creates an access token, and revokes the previous one.
    ReplaceToken(bool),
    /// Rotates the key of the cursor tokens.
    RotateCursorKey,
    /// Drops all optional indexes, makes a write, and builds them again.
    RebuildIndexes(bool, Conversation),
    /// Reads the first page of a list, and leaves the walk open while later operations change it.
    BeginWalk(bool, ListQuery, usize),
    /// Reads the next page of the open walk, or the previous one, with the last page size or
    /// another one.
    TurnPage(bool, Option<usize>),
    /// Takes a snapshot, which must not change.
    TakeSnapshot(ListQuery),
    /// Closes the store and opens it with this memtable limit in bytes.
    Restart(usize),
    /// Continues from a copy of the files as a crash would leave them, with this memtable limit.
    Crash(usize),
}

/// An [`Operation`]; ordinary writes and page reads are the most frequent.
pub fn operation() -> impl Strategy<Value = Operation> {
    let user = any::<bool>;
    let messages = || prop::collection::vec(message(), 0..4);
    let size = 1..8_usize;
    prop_oneof![
        6 => (user(), conversation(), messages()).prop_map(|(u, c, m)| Operation::Insert(u, c, m)),
        4 => (user(), conversation_id(), channel(), assistant(), any::<bool>())
            .prop_map(|(u, id, c, a, ai)| Operation::Update(u, id, c, a, ai)),
        4 => (user(), conversation_id(), message())
            .prop_map(|(u, id, m)| Operation::Append(u, id, m)),
        3 => (user(), conversation_id()).prop_map(|(u, id)| Operation::Delete(u, id)),
        1 => (user(), prop::collection::vec((conversation(), messages()), 0..12))
            .prop_map(|(u, rows)| Operation::BulkLoad(u, rows)),
        2 => (user(), prop::collection::vec(conversation(), 0..6), conversation_id(), message())
            .prop_map(|(u, rows, id, m)| Operation::Batch(u, rows, id, m)),
        2 => (user(), conversation(), conversation_id(), message())
            .prop_map(|(u, c, id, m)| Operation::Aborted(u, c, id, m)),
        1 => (user(), conversation(), message()).prop_map(|(u, c, m)| Operation::Rejected(u, c, m)),
        1 => (user(), assistant(), 0..4_u8)
            .prop_map(|(u, a, n)| Operation::RenameAssistant(u, a, n)),
        1 => user().prop_map(Operation::ReplaceToken),
        1 => Just(Operation::RotateCursorKey),
        1 => (user(), conversation()).prop_map(|(u, c)| Operation::RebuildIndexes(u, c)),
        2 => (user(), list_query(), size.clone())
            .prop_map(|(u, q, n)| Operation::BeginWalk(u, q, n)),
        6 => (any::<bool>(), prop::option::weighted(0.2, size))
            .prop_map(|(back, n)| Operation::TurnPage(back, n)),
        1 => list_query().prop_map(Operation::TakeSnapshot),
        1 => memtable_bytes().prop_map(Operation::Restart),
        1 => memtable_bytes().prop_map(Operation::Crash),
    ]
}

/// A memtable limit: from a checkpoint after each write to hardly any checkpoint.
fn memtable_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 500..5_000_usize, Just(1 << 20)]
}

/// Runs operations on a store and on the oracle.
pub struct OperationRunner {
    /// The store and the oracle.
    pub harness: Harness,
    /// The path of the store; a store in memory has none and is never restarted.
    path: Option<PathBuf>,
    walk: Option<LiveWalk>,
    /// Snapshots with the state of the oracle when each was taken, and a query to compare.
    snapshots: Vec<(Snapshot, Oracle, ListQuery)>,
    /// The names of each user's assistants, in the order of their numbers.
    names: [[String; 3]; 2],
    /// The access token of each user.
    tokens: [Option<String>; 2],
    /// What was read of a user at each version of the user's data.
    versions: HashMap<(UserId, StoreVersion), Reads>,
}

/// What a store returns of a user: conversations with their messages, statistics, assistants, and the
/// cursor of a page as a token.
#[derive(Debug, PartialEq, Eq)]
struct Reads {
    conversations: Vec<(Conversation, Option<Vec<Message>>)>,
    stats: Stats,
    assistants: Vec<Assistant>,
    cursor: Option<String>,
}

impl Reads {
    fn of(snapshot: &Snapshot, user: UserId) -> Self {
        let all = snapshot.conversations(user, &ListRequest::default());
        let with_messages = |row: convodb::Result<Conversation>| {
            let row = row.unwrap();
            let messages = snapshot.messages(user, row.id).unwrap();
            (row, messages)
        };
        let page_size = Some(PageSize::MIN);
        let first = ListRequest { page_size, ..ListRequest::default() };
        let first = snapshot.list(user, &first).unwrap();
        let days = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
        Self {
            conversations: all.map(with_messages).collect(),
            stats: snapshot.stats(user, &days).unwrap(),
            assistants: snapshot.assistants(user, 0, usize::MAX).unwrap(),
            cursor: first.next_cursor().map(|cursor| snapshot.seal_cursor(cursor)),
        }
    }
}

impl OperationRunner {
    /// Creates a store in this directory.
    pub fn in_directory(directory: &Path) -> Self {
        let path = directory.join("store.convodb");
        Self::of(Harness::new(open(&path, 1 << 20)), Some(path))
    }

    /// Creates a store in memory, for which restarts and crashes do nothing.
    pub fn in_memory() -> Self {
        Self::of(Harness::in_memory(), None)
    }

    fn of(harness: Harness, path: Option<PathBuf>) -> Self {
        let names = [const { [const { String::new() }; 3] }; 2].map(|of| of.map(|_| "Bot".into()));
        let (snapshots, versions) = (Vec::new(), HashMap::new());
        Self { harness, path, walk: None, snapshots, names, tokens: [None, None], versions }
    }

    /// Runs one operation, and compares the result with the oracle.
    pub fn run(&mut self, operation: Operation) {
        let users = self.harness.users;
        let user_of = |second: bool| users[usize::from(second)];
        let harness = &mut self.harness;
        match operation {
            Operation::Insert(user, conversation, messages) => {
                harness.insert_with_messages(user_of(user), conversation, messages);
            }
            Operation::Update(user, id, channel, assistant, ai_enabled) => {
                harness.update(user_of(user), id, move |row| {
                    // The type of a channel never changes.
                    if row.channel.kind() == channel.kind() {
                        row.channel = channel.clone();
                    }
                    row.assistant = assistant;
                    row.ai_enabled = ai_enabled;
                });
            }
            Operation::Append(user, id, message) => harness.append(user_of(user), id, &message),
            Operation::Delete(user, id) => harness.delete(user_of(user), id),
            Operation::BulkLoad(user, rows) => bulk_load(harness, user_of(user), rows),
            Operation::Batch(user, rows, id, message) => {
                batch(harness, user_of(user), rows, id, &message);
            }
            Operation::Aborted(user, conversation, id, message) => {
                aborted(harness, user_of(user), conversation, id, message);
            }
            Operation::Rejected(user, conversation, message) => {
                rejected(harness, user_of(user), &conversation, &message);
            }
            Operation::RenameAssistant(user, id, number) => self.rename(user, id, number),
            Operation::ReplaceToken(user) => self.replace_token(user),
            Operation::RotateCursorKey => harness.store.rotate_cursor_key().unwrap(),
            Operation::RebuildIndexes(user, conversation) => {
                harness.store.drop_indexes(IndexFamilies::ALL).unwrap();
                harness.insert(user_of(user), conversation);
                harness.store.add_indexes(IndexFamilies::ALL).unwrap();
            }
            Operation::BeginWalk(user, query, size) => {
                self.walk = Some(LiveWalk::begin(harness, user_of(user), query, size));
            }
            Operation::TurnPage(back, size) => {
                if let Some(walk) = &mut self.walk {
                    walk.turn_page(harness, back, size);
                }
            }
            Operation::TakeSnapshot(query) => {
                self.snapshots.truncate(2);
                self.snapshots.push((harness.store.snapshot(), harness.oracle.clone(), query));
            }
            Operation::Restart(memtable_bytes) => self.restart(memtable_bytes),
            Operation::Crash(memtable_bytes) => self.crash(memtable_bytes),
        }
        self.check_versions();
    }

    /// Checks that a version of a user's data is always the same data, restarts and crashes
    /// included.
    fn check_versions(&mut self) {
        let snapshot = self.harness.store.snapshot();
        for user in self.harness.users {
            let version = snapshot.version_of(user);
            assert!(snapshot.contains(version), "{version} is in the past");
            let reads = Reads::of(&snapshot, user);
            if let Some(known) = self.versions.get(&(user, version)) {
                assert_eq!(*known, reads, "at {version}");
            }
            self.versions.insert((user, version), reads);
        }
    }

    /// Compares all reads with the oracle, and verifies the store.
    pub fn check(&mut self, lists: &[(ListQuery, usize)]) {
        self.check_snapshots();
        self.harness.check_conversations();
        self.harness.check_stats();
        self.check_accounts();
        let snapshot = self.harness.store.snapshot();
        let everything = [(ListQuery::default(), 3)];
        for (query, size) in lists.iter().chain(&everything) {
            for user in self.harness.users {
                let list = self.harness.oracle.list(user, query);
                check_walk(&snapshot, user, query, *size, &list);
            }
        }
    }

    /// The name of a user's assistant.
    ///
    /// # Panics
    /// The id is not one of [`assistants`](crate::generators::assistants).
    pub fn assistant_name(&self, user: UserId, id: AssistantId) -> &str {
        let second = user == self.harness.users[1];
        &self.names[usize::from(second)][number_of(id) - 1]
    }

    fn check_snapshots(&mut self) {
        for (snapshot, oracle, query) in self.snapshots.drain(..) {
            for user in self.harness.users {
                let rows =
                    snapshot.conversations(user, &crate::page_walk::first_page_request(&query, 5));
                let rows: Vec<Conversation> = rows.map(Result::unwrap).collect();
                assert_eq!(rows, oracle.list(user, &query), "a snapshot changed");
            }
        }
    }

    fn check_accounts(&self) {
        let snapshot = self.harness.store.snapshot();
        assert_eq!(snapshot.users().unwrap().len(), 2);
        for (at, user) in self.harness.users.into_iter().enumerate() {
            let assistants = snapshot.assistants(user, 0, 9).unwrap();
            let names: Vec<&str> = assistants.iter().map(|bot| bot.name.as_str()).collect();
            assert_eq!(names, self.names[at]);
            assert_eq!(snapshot.assistant_count(user).unwrap(), 3);
            for bot in &assistants {
                assert_eq!(snapshot.assistant(user, bot.id).unwrap().as_ref(), Some(bot));
                let numbered = snapshot.assistant_by_number(user, bot.number).unwrap();
                assert_eq!(numbered.as_ref(), Some(bot));
                let mut name = String::new();
                assert!(snapshot.assistant_name(user, bot.id, &mut name).unwrap());
                assert_eq!(name, bot.name.as_str());
            }
            if let Some(token) = &self.tokens[at] {
                let access = snapshot.authenticate(token, Timestamp::MIN).unwrap();
                assert_eq!(access.map(|access| access.user), Some(user));
            }
        }
        assert_eq!(snapshot.authenticate("cvdb_unknown", Timestamp::MIN).unwrap(), None);
    }

    fn rename(&mut self, second: bool, id: AssistantId, number: u8) {
        let user = self.harness.users[usize::from(second)];
        let name = format!("Bot {number}");
        self.harness.store.rename_assistant(user, id, &name).unwrap();
        self.names[usize::from(second)][number_of(id) - 1] = name;
    }

    fn replace_token(&mut self, second: bool) {
        let store = &self.harness.store;
        let user = self.harness.users[usize::from(second)];
        let token = store.create_token(user, Timestamp::MIN).unwrap();
        if let Some(old) = self.tokens[usize::from(second)].replace(token) {
            store.revoke_token(old.clone()).unwrap();
            let access = store.snapshot().authenticate(&old, Timestamp::MIN).unwrap();
            assert_eq!(access, None);
            assert!(matches!(store.revoke_token(old), Err(Error::TokenNotFound)));
        }
    }

    fn restart(&mut self, memtable_bytes: usize) {
        self.check_snapshots();
        if let Some(path) = &self.path {
            self.harness.store.clone().close().unwrap();
            self.harness.store = open(path, memtable_bytes);
        }
    }

    fn crash(&mut self, memtable_bytes: usize) {
        self.check_snapshots();
        if let Some(path) = &mut self.path {
            *path = copy_crashed_files(path);
            self.harness.store = open(path, memtable_bytes);
        }
    }
}

/// The number of an assistant, which is the value of its id.
fn number_of(id: AssistantId) -> usize {
    usize::try_from(id.uuid().as_u128()).unwrap()
}

fn open(path: &Path, memtable_limit: usize) -> Store {
    let options = StoreOptions::new().memtable_bytes(memtable_limit).cache_bytes(16 << 20);
    let options = options.indexes(IndexFamilies::ALL);
    Store::open_with(path, &options).unwrap()
}

/// Bulk-loads with a budget of a few rows, so that most rows are sorted on disk.
fn bulk_load(harness: &mut Harness, user: UserId, rows: Vec<(Conversation, Vec<Message>)>) {
    let options = BulkOptions { budget_bytes: 1_000, ..BulkOptions::default() };
    let mut loader = harness.store.bulk_load(options);
    let (mut inserted, mut present, mut message_count) = (0, 0, 0);
    for (mut conversation, messages) in rows {
        let count = u32::try_from(messages.len()).unwrap();
        conversation.message_count = conversation.message_count.max(count);
        loader.push(user, &conversation, &messages).unwrap();
        if harness.oracle.insert(user, conversation, messages) {
            inserted += 1;
            message_count += u64::from(count);
        } else {
            present += 1;
        }
    }
    let report = loader.finish().unwrap();
    let skipped = report.present + report.repeated;
    assert_eq!((report.inserted, skipped, report.messages), (inserted, present, message_count));
}

/// Runs one transaction of several writes, and the same writes on the oracle.
fn batch(
    harness: &mut Harness,
    user: UserId,
    rows: Vec<Conversation>,
    id: ConversationId,
    message: &Message,
) {
    let (of_write, said) = (rows.clone(), message.clone());
    let written = harness.store.write(move |transaction| {
        let mut inserted = Vec::new();
        for row in &of_write {
            if transaction.conversation(user, row.id)?.is_none() {
                transaction.insert(user, row.clone(), Vec::new())?;
                inserted.push(row.id);
            }
        }
        // An operation that fails inside a transaction does not abort the transaction.
        let deleted = transaction.delete(user, id).is_ok();
        let appended = match inserted.first() {
            Some(first) => transaction.append_message(user, *first, &said).is_ok(),
            None => false,
        };
        Ok::<_, Error>((inserted, deleted, appended))
    });
    let mut inserted = Vec::new();
    for row in rows {
        let id = row.id;
        if harness.oracle.insert(user, row, Vec::new()) {
            inserted.push(id);
        }
    }
    let deleted = harness.oracle.delete(user, id);
    let first = inserted.first().copied();
    let appended = first.is_some_and(|first| harness.oracle.append(user, first, message));
    assert_eq!(written.unwrap(), (inserted, deleted, appended));
}

/// Runs a transaction whose closure fails at the end: none of its writes may remain.
fn aborted(
    harness: &mut Harness,
    user: UserId,
    conversation: Conversation,
    id: ConversationId,
    message: Message,
) {
    let outcome: Result<(), Error> = harness.store.write(move |transaction| {
        let _ = transaction.insert(user, conversation.clone(), Vec::new());
        let _ = transaction.append_message(user, conversation.id, &message);
        let _ = transaction.append_message(user, id, &message);
        let _ = transaction.update(user, id, Timestamp::MIN, |row| {
            row.ai_enabled = !row.ai_enabled;
            Ok(())
        });
        let _ = transaction.delete(user, id);
        transaction.create_user("three", conversation.created_at)?;
        Err(Error::UserNotFound)
    });
    assert!(matches!(outcome, Err(Error::UserNotFound)), "{outcome:?}");
}

/// Attempts invalid writes: each must fail with the error of its cause.
fn rejected(harness: &Harness, user: UserId, row: &Conversation, message: &Message) {
    let store = &harness.store;
    let stranger = AssistantId::new(Uuid::from_u128(77));
    let nobody = UserId::new(77);
    let unused = ConversationId::new(Uuid::from_u128(7_777));
    let foreign = Conversation { id: unused, assistant: stranger, ..row.clone() };
    assert!(matches!(store.insert(user, foreign, Vec::new()), Err(Error::AssistantNotFound)));
    let of_nobody = store.insert(nobody, Conversation { id: unused, ..row.clone() }, Vec::new());
    assert!(matches!(of_nobody, Err(Error::UserNotFound)));
    let few = Conversation { id: unused, message_count: 0, ..row.clone() };
    let too_many = store.insert(user, few, vec![message.clone()]);
    assert!(matches!(too_many, Err(Error::Invalid { field: "message_count", .. })));
    let absent = store.append_message(user, unused, message.clone());
    assert!(matches!(absent, Err(Error::ConversationNotFound)));
    if harness.oracle.conversation(user, row.id).is_some() {
        let renamed = store.update(user, row.id, Timestamp::MIN, move |row| {
            row.id = unused;
            Ok(())
        });
        assert!(matches!(renamed, Err(Error::Invalid { field: "id", .. })));
    }
    let again = store.create_user("one", Timestamp::MIN);
    assert!(matches!(again, Err(Error::DuplicateUser)));
    let twice = store.create_assistant(user, crate::generators::assistants()[0], "one");
    assert!(matches!(twice, Err(Error::DuplicateAssistant(_))));
}
