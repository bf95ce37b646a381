//! Random histories of a store over all that its public surface offers, against the oracle: writes,
//! writes that fail, bulk loads, accounts, pages that are walked meanwhile, restarts and crashes.
//! What differs panics.

#![expect(clippy::unwrap_used, reason = "a proof fails by panicking")]

use std::path::{Path, PathBuf};

use convodb::{
    AssistantId, BulkOptions, Channel, Conversation, ConversationId, Error, Message, Snapshot,
    Store, StoreOptions, Timestamp, UserId,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::generators::{assistant, channel, conversation, conversation_id, list_query, message};
use crate::harness::{Harness, copy_crashed_files};
use crate::live_walk::LiveWalk;
use crate::oracle::{ListQuery, Oracle};
use crate::page_walk::check_walk;

/// One thing that happens to a store. A `bool` says which of its two users does it.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A new conversation with messages.
    Insert(bool, Conversation, Vec<Message>),
    /// Another channel, assistant and switch.
    Change(bool, ConversationId, Channel, AssistantId, bool),
    /// One more message.
    Append(bool, ConversationId, Message),
    /// Gone, with its messages.
    Delete(bool, ConversationId),
    /// A bulk load.
    Bulk(bool, Vec<(Conversation, Vec<Message>)>),
    /// Several in one write: those that are not there yet, a deletion, a message.
    Together(bool, Vec<Conversation>, ConversationId, Message),
    /// Does all of it in one write, then fails.
    TakenBack(bool, Conversation, ConversationId, Message),
    /// What is refused, and changes nothing.
    Refused(bool, Conversation, Message),
    /// An assistant's new name.
    Rename(bool, AssistantId, u8),
    /// A new token, and the revocation of the one before it.
    Tokens(bool),
    /// A new key for cursors.
    Rotate,
    /// The first page of a list that is walked while all else goes on.
    Open(bool, ListQuery, usize),
    /// The page after or before, of as many rows as before or another number.
    Turn(bool, Option<usize>),
    /// Keeps a snapshot, which must not change.
    Freeze(ListQuery),
    /// Closes the store and opens it, with this much room for its log.
    Restart(usize),
    /// Goes on from a copy of the files as a crash would leave them.
    Crash(usize),
}

/// Any [`Operation`], the common ones often.
pub fn operation() -> impl Strategy<Value = Operation> {
    let user = any::<bool>;
    let messages = || prop::collection::vec(message(), 0..4);
    let size = 1..8_usize;
    prop_oneof![
        6 => (user(), conversation(), messages()).prop_map(|(u, c, m)| Operation::Insert(u, c, m)),
        4 => (user(), conversation_id(), channel(), assistant(), any::<bool>())
            .prop_map(|(u, id, c, a, ai)| Operation::Change(u, id, c, a, ai)),
        4 => (user(), conversation_id(), message()).prop_map(|(u, id, m)| Operation::Append(u, id, m)),
        3 => (user(), conversation_id()).prop_map(|(u, id)| Operation::Delete(u, id)),
        1 => (user(), prop::collection::vec((conversation(), messages()), 0..12))
            .prop_map(|(u, rows)| Operation::Bulk(u, rows)),
        2 => (user(), prop::collection::vec(conversation(), 0..6), conversation_id(), message())
            .prop_map(|(u, rows, id, m)| Operation::Together(u, rows, id, m)),
        2 => (user(), conversation(), conversation_id(), message())
            .prop_map(|(u, c, id, m)| Operation::TakenBack(u, c, id, m)),
        1 => (user(), conversation(), message()).prop_map(|(u, c, m)| Operation::Refused(u, c, m)),
        1 => (user(), assistant(), 0..4_u8).prop_map(|(u, a, n)| Operation::Rename(u, a, n)),
        1 => user().prop_map(Operation::Tokens),
        1 => Just(Operation::Rotate),
        2 => (user(), list_query(), size.clone()).prop_map(|(u, a, n)| Operation::Open(u, a, n)),
        6 => (any::<bool>(), prop::option::weighted(0.2, size))
            .prop_map(|(back, n)| Operation::Turn(back, n)),
        1 => list_query().prop_map(Operation::Freeze),
        1 => tail_bytes().prop_map(Operation::Restart),
        1 => tail_bytes().prop_map(Operation::Crash),
    ]
}

/// From a checkpoint for each write to hardly ever one.
fn tail_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 500..5_000_usize, Just(1 << 20)]
}

/// A store to which a history happens.
pub struct History {
    /// The store and the oracle.
    pub harness: Harness,
    /// Where the store is; in memory nothing is restarted.
    path: Option<PathBuf>,
    walk: Option<LiveWalk>,
    /// Snapshots, and what they must show.
    frozen: Vec<(Snapshot, Oracle, ListQuery)>,
    /// The names of the users' assistants, by their numbers from 1.
    names: [[String; 3]; 2],
    /// The token that each user has.
    tokens: [Option<String>; 2],
}

impl History {
    /// Of a new store in this directory.
    pub fn in_directory(directory: &Path) -> Self {
        let path = directory.join("store.convodb");
        Self::of(Harness::new(open(&path, 1 << 20)), Some(path))
    }

    /// Of a new store in memory, which is never restarted.
    pub fn in_memory() -> Self {
        Self::of(Harness::in_memory(), None)
    }

    fn of(harness: Harness, path: Option<PathBuf>) -> Self {
        let names = [const { [const { String::new() }; 3] }; 2].map(|of| of.map(|_| "Bot".into()));
        Self { harness, path, walk: None, frozen: Vec::new(), names, tokens: [None, None] }
    }

    /// Lets one thing happen, and holds what the store answers against the oracle.
    pub fn run(&mut self, operation: Operation) {
        let users = self.harness.users;
        let user_of = |second: bool| users[usize::from(second)];
        let harness = &mut self.harness;
        match operation {
            Operation::Insert(user, conversation, history) => {
                harness.insert_with_messages(user_of(user), conversation, history);
            }
            Operation::Change(user, id, channel, assistant, ai_enabled) => {
                harness.update(user_of(user), id, move |row| {
                    row.channel = channel.clone();
                    row.assistant = assistant;
                    row.ai_enabled = ai_enabled;
                });
            }
            Operation::Append(user, id, message) => harness.append(user_of(user), id, &message),
            Operation::Delete(user, id) => harness.delete(user_of(user), id),
            Operation::Bulk(user, rows) => bulk(harness, user_of(user), rows),
            Operation::Together(user, rows, id, message) => {
                together(harness, user_of(user), rows, id, &message);
            }
            Operation::TakenBack(user, conversation, id, message) => {
                taken_back(harness, user_of(user), conversation, id, message);
            }
            Operation::Refused(user, conversation, message) => {
                refused(harness, user_of(user), &conversation, &message);
            }
            Operation::Rename(user, id, number) => self.rename(user, id, number),
            Operation::Tokens(user) => self.exchange_token(user),
            Operation::Rotate => harness.store.rotate_cursor_key().unwrap(),
            Operation::Open(user, asked, size) => {
                self.walk = Some(LiveWalk::begin(harness, user_of(user), asked, size));
            }
            Operation::Turn(back, size) => {
                if let Some(walk) = &mut self.walk {
                    walk.turn(harness, back, size);
                }
            }
            Operation::Freeze(asked) => {
                self.frozen.truncate(2);
                self.frozen.push((harness.store.snapshot(), harness.oracle.clone(), asked));
            }
            Operation::Restart(tail_bytes) => self.restart(tail_bytes),
            Operation::Crash(tail_bytes) => self.crash(tail_bytes),
        }
    }

    /// All that can be asked is as the oracle says, and the audit is clean.
    pub fn check(&mut self, lists: &[(ListQuery, usize)]) {
        self.check_frozen();
        self.harness.check_conversations();
        self.harness.check_stats();
        self.check_accounts();
        let snapshot = self.harness.store.snapshot();
        let everything = [(ListQuery::default(), 3)];
        for (asked, size) in lists.iter().chain(&everything) {
            for user in self.harness.users {
                let list = self.harness.oracle.list(user, asked);
                check_walk(&snapshot, user, asked, *size, &list);
            }
        }
    }

    /// What the user's assistant is called.
    ///
    /// # Panics
    /// When it is not one of those that every user has.
    pub fn assistant_name(&self, user: UserId, id: AssistantId) -> &str {
        let second = user == self.harness.users[1];
        &self.names[usize::from(second)][number_of(id) - 1]
    }

    fn check_frozen(&mut self) {
        for (snapshot, oracle, asked) in self.frozen.drain(..) {
            for user in self.harness.users {
                let rows = snapshot.rows(user, &crate::page_walk::request(&asked, 5));
                let rows: Vec<Conversation> = rows.map(Result::unwrap).collect();
                assert_eq!(rows, oracle.list(user, &asked), "a snapshot is frozen");
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
                assert_eq!(numbered, Some(bot.id));
                let mut name = String::new();
                assert!(snapshot.assistant_name(user, bot.id, &mut name).unwrap());
                assert_eq!(name, bot.name.as_str());
            }
            if let Some(token) = &self.tokens[at] {
                assert_eq!(snapshot.authenticate(token).unwrap(), Some(user));
            }
        }
        assert_eq!(snapshot.authenticate("cvdb_nobody").unwrap(), None);
    }

    fn rename(&mut self, second: bool, id: AssistantId, number: u8) {
        let user = self.harness.users[usize::from(second)];
        let name = format!("Bot {number}");
        self.harness.store.rename_assistant(user, id, name.parse().unwrap()).unwrap();
        self.names[usize::from(second)][number_of(id) - 1] = name;
    }

    fn exchange_token(&mut self, second: bool) {
        let store = &self.harness.store;
        let user = self.harness.users[usize::from(second)];
        let token = store.create_token(user, Timestamp::MIN).unwrap();
        if let Some(old) = self.tokens[usize::from(second)].replace(token) {
            store.revoke_token(old.clone()).unwrap();
            assert_eq!(store.snapshot().authenticate(&old).unwrap(), None);
            assert!(matches!(store.revoke_token(old), Err(Error::TokenNotFound)));
        }
    }

    fn restart(&mut self, tail_bytes: usize) {
        self.check_frozen();
        if let Some(path) = &self.path {
            self.harness.store.clone().close().unwrap();
            self.harness.store = open(path, tail_bytes);
        }
    }

    fn crash(&mut self, tail_bytes: usize) {
        self.check_frozen();
        if let Some(path) = &mut self.path {
            *path = copy_crashed_files(path);
            self.harness.store = open(path, tail_bytes);
        }
    }
}

/// The number that an assistant's id is made of.
fn number_of(id: AssistantId) -> usize {
    usize::try_from(id.uuid().as_u128()).unwrap()
}

fn open(path: &Path, tail_bytes: usize) -> Store {
    let options = StoreOptions { tail_bytes, cache_bytes: 16 << 20, ..StoreOptions::default() };
    Store::open_with(path, &options).unwrap()
}

/// Loads with memory for a few rows, so that most are sorted on disk.
fn bulk(harness: &mut Harness, user: UserId, rows: Vec<(Conversation, Vec<Message>)>) {
    let options = BulkOptions { budget_bytes: 1_000, ..BulkOptions::default() };
    let mut loader = harness.store.bulk_load(options);
    let (mut inserted, mut present, mut messages) = (0, 0, 0);
    for (mut conversation, history) in rows {
        let count = u32::try_from(history.len()).unwrap();
        conversation.message_count = conversation.message_count.max(count);
        loader.push(user, &conversation, &history).unwrap();
        if harness.oracle.insert(user, conversation, history) {
            inserted += 1;
            messages += u64::from(count);
        } else {
            present += 1;
        }
    }
    let report = loader.finish(|_, _| {}).unwrap();
    let skipped = report.present + report.repeated;
    assert_eq!((report.inserted, skipped, report.messages), (inserted, present, messages));
}

fn together(
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
            if transaction.get(user, row.id)?.is_none() {
                transaction.insert(user, row, &[])?;
                inserted.push(row.id);
            }
        }
        // What does not succeed inside a write is its own affair: the write goes on.
        let deleted = transaction.delete(user, id).is_ok();
        let appended = match inserted.first() {
            Some(first) => transaction.append_message(user, *first, &said).is_ok(),
            None => false,
        };
        Ok((inserted, deleted, appended))
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

fn taken_back(
    harness: &mut Harness,
    user: UserId,
    conversation: Conversation,
    id: ConversationId,
    message: Message,
) {
    let outcome: Result<(), Error> = harness.store.write(move |transaction| {
        let _ = transaction.insert(user, &conversation, &[]);
        let _ = transaction.append_message(user, conversation.id, &message);
        let _ = transaction.append_message(user, id, &message);
        let _ = transaction.update(user, id, |row| row.channel = Channel::Test);
        let _ = transaction.delete(user, id);
        transaction.create_user("three".parse()?, conversation.created_at)?;
        Err(Error::UserNotFound)
    });
    assert!(matches!(outcome, Err(Error::UserNotFound)), "{outcome:?}");
}

/// Each is refused for what it is.
fn refused(harness: &Harness, user: UserId, row: &Conversation, message: &Message) {
    let store = &harness.store;
    let stranger = AssistantId::new(Uuid::from_u128(77));
    let nobody = UserId::new(77);
    let unused = ConversationId::new(Uuid::from_u128(7_777));
    let foreign = Conversation { id: unused, assistant: stranger, ..row.clone() };
    assert!(matches!(store.insert(user, foreign), Err(Error::AssistantNotFound)));
    let of_nobody = store.insert(nobody, Conversation { id: unused, ..row.clone() });
    assert!(matches!(of_nobody, Err(Error::AssistantNotFound)));
    let few = Conversation { id: unused, message_count: 0, ..row.clone() };
    let history = [message.clone()];
    let too_many = store.write(move |transaction| transaction.insert(user, &few, &history));
    assert!(matches!(too_many, Err(Error::Invalid { field: "message_count", .. })));
    let absent = store.append_message(user, unused, message.clone());
    assert!(matches!(absent, Err(Error::ConversationNotFound)));
    if harness.oracle.conversation(user, row.id).is_some() {
        let renamed = store.update(user, row.id, move |row| row.id = unused);
        assert!(matches!(renamed, Err(Error::Invalid { field: "id", .. })));
    }
    let name = || "one".parse().unwrap();
    let again = store.create_user(name(), Timestamp::MIN);
    assert!(matches!(again, Err(Error::DuplicateUser)));
    let twice = store.create_assistant(user, crate::generators::assistants()[0], name());
    assert!(matches!(twice, Err(Error::DuplicateAssistant(_))));
}
