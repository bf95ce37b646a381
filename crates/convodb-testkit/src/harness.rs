//! A store and the oracle beside it, told the same things. What differs panics, as in a test.

#![expect(clippy::unwrap_used, reason = "a proof fails by panicking")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::generators::assistants;
use crate::oracle::Oracle;
use convodb::{
    Channel, Conversation, ConversationId, CostSum, Day, Error, Message, Period, ReportRequest,
    Store, Timestamp, UserId, Volume,
};
use proptest::prelude::*;
use uuid::Uuid;

/// A store with two users, each with the same assistants, and what the oracle knows of it.
pub struct Harness {
    /// The store.
    pub store: Store,
    /// What it must hold.
    pub oracle: Oracle,
    /// Its users.
    pub users: [UserId; 2],
}

impl Harness {
    /// Of a store without users.
    pub fn new(store: Store) -> Self {
        let users = ["one", "two"].map(|name| {
            let user = store.create_user(name.parse().unwrap(), Timestamp::MIN).unwrap().id;
            for id in assistants() {
                store.create_assistant(user, id, "Bot".parse().unwrap()).unwrap();
            }
            user
        });
        Self { store, oracle: Oracle::default(), users }
    }

    /// In memory.
    pub fn in_memory() -> Self {
        Self::new(Store::in_memory().unwrap())
    }

    /// With these conversations of the first user's; ids that repeat are refused.
    pub fn containing(rows: Vec<Conversation>) -> Self {
        let mut harness = Self::in_memory();
        for conversation in rows {
            harness.insert(harness.users[0], conversation);
        }
        harness
    }

    /// `count` conversations of the first user on the widget, one second apart, oldest first.
    pub fn with_conversations(count: u64) -> Self {
        Self::containing((1..=count).map(plain_conversation).collect())
    }

    /// Inserts a conversation that has no messages yet.
    #[track_caller]
    pub fn insert(&mut self, user: UserId, conversation: Conversation) {
        self.insert_with_messages(user, conversation, Vec::new());
    }

    /// Inserts a conversation with messages, of which it counts at least as many.
    #[track_caller]
    pub fn insert_with_messages(
        &mut self,
        user: UserId,
        mut conversation: Conversation,
        history: Vec<Message>,
    ) {
        let known = u32::try_from(history.len()).unwrap();
        conversation.message_count = conversation.message_count.max(known);
        let (stored, messages) = (conversation.clone(), history.clone());
        let inserted =
            self.store.write(move |transaction| transaction.insert(user, &stored, &messages));
        let id = conversation.id;
        match (inserted, self.oracle.insert(user, conversation, history)) {
            (Ok(()), true) => {}
            (Err(Error::DuplicateConversation(refused)), false) => assert_eq!(refused, id.uuid()),
            (outcome, expected) => panic!("{outcome:?} where the oracle says {expected}"),
        }
    }

    /// Deletes a conversation.
    #[track_caller]
    pub fn delete(&mut self, user: UserId, id: ConversationId) {
        let deleted = self.store.delete(user, id);
        agree(&deleted, self.oracle.delete(user, id));
    }

    /// Changes a conversation.
    #[track_caller]
    pub fn update(
        &mut self,
        user: UserId,
        id: ConversationId,
        change: impl Fn(&mut Conversation) + Send + Clone + 'static,
    ) {
        let updated = self.store.update(user, id, change.clone());
        agree(&updated, self.oracle.update(user, id, change));
    }

    /// Appends a message.
    #[track_caller]
    pub fn append(&mut self, user: UserId, id: ConversationId, message: &Message) {
        let appended = self.store.append_message(user, id, message.clone());
        agree(&appended, self.oracle.append(user, id, message));
    }

    /// Every conversation and history is the oracle's, and the audit is clean.
    #[track_caller]
    pub fn check_conversations(&self) {
        let snapshot = self.store.snapshot();
        let mut count = 0;
        for (user, conversation) in self.oracle.conversations() {
            let id = conversation.id;
            assert_eq!(snapshot.get(user, id).unwrap().as_ref(), Some(conversation));
            let history = snapshot.history(user, id).unwrap();
            assert_eq!(history.as_deref(), self.oracle.messages(user, id));
            count += 1;
        }
        let audit = snapshot.verify(|_, _| {}).unwrap();
        assert!(audit.is_clean(), "{:?}", audit.faults);
        assert_eq!(audit.conversations, count);
    }

    /// The report of all time, by type, is a sum over the oracle's rows; so is one over few days.
    #[track_caller]
    pub fn check_stats(&self) {
        for user in self.users {
            for (from, to) in
                [(Day::new(0), Day::new(u32::MAX)), (Day::new(20_000), Day::new(20_113))]
            {
                let request = ReportRequest {
                    by_kind: true,
                    period: Some(Period::Month),
                    ..ReportRequest::new(from, to)
                };
                let report = self.store.snapshot().report(user, &request).unwrap();
                let volume = |of: &dyn Fn(&Conversation) -> bool| {
                    let rows: Vec<&Conversation> = self
                        .oracle
                        .conversations()
                        .filter(|(owner, row)| {
                            *owner == user && (from..to).contains(&row.created_at.day()) && of(row)
                        })
                        .map(|(_, row)| row)
                        .collect();
                    Volume {
                        conversations: rows.len() as u64,
                        messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
                        cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
                    }
                };
                assert_eq!(report.total, volume(&|_| true));
                for row in &report.rows {
                    let counted = volume(&|conversation: &Conversation| {
                        Some(conversation.channel.kind()) == row.kind
                            && Some(conversation.created_at.day().month_start()) == row.period
                    });
                    assert_eq!(row.volume, counted);
                }
                let sum: u64 = report.rows.iter().map(|row| row.volume.conversations).sum();
                assert_eq!(sum, report.total.conversations);
            }
        }
    }
}

#[track_caller]
fn agree<T: std::fmt::Debug>(outcome: &Result<T, Error>, expected: bool) {
    match (outcome, expected) {
        (Ok(_), true) | (Err(Error::ConversationNotFound), false) => {}
        _ => panic!("{outcome:?} where the oracle says {expected}"),
    }
}

/// The id of the n-th plain row.
pub fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(u128::from(number)))
}

/// The n-th plain row: on the widget, one second after the one before.
pub fn plain_conversation(number: u64) -> Conversation {
    let at = Timestamp::from_millis(1_737_800_000_000 + number * 1_000).unwrap();
    Conversation::new(id(number), assistants()[0], Channel::Widget, at)
}

/// The runner of property tests: a number of cases that the environment can raise
/// (`PROPTEST_CASES`), failures not written to files but printed with their seed.
pub fn cases(count: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(count),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Copies the files of an open store that nobody writes to, as a crash would leave them, and gives
/// the path of the copy.
///
/// A checkpoint may go on meanwhile: it writes where the last commit has nothing, and ends by
/// writing the first page. Should it end while the file or the log is copied, the copy would be of
/// no one moment, so another one is made.
pub fn copy_crashed_files(path: &Path) -> PathBuf {
    let mut names = (0..).map(|number| path.with_file_name(format!("{number}.convodb")));
    let copy = names.find(|name| !name.exists()).unwrap();
    loop {
        let before = log_of(path);
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
        let same = first_page(path) == head && log_of(path) == before;
        if same && copied.len() == before.len() {
            return copy;
        }
        copied.iter().for_each(|segment| fs::remove_file(segment).unwrap());
    }
}

/// What names the last commit of a store's file.
fn first_page(path: &Path) -> Vec<u8> {
    let mut page = Vec::new();
    fs::File::open(path).unwrap().take(4096).read_to_end(&mut page).unwrap();
    page
}

/// The segments of a store's log.
fn log_of(path: &Path) -> Vec<PathBuf> {
    let prefix = format!("{}-log.", path.file_name().unwrap().to_str().unwrap());
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = entries
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix))
        .collect();
    segments.sort();
    segments
}
