//! Erasure check: after erasure and compaction no byte of the erased data is in any file.
//!
//! A trial writes a unique marker into every text of the data that it will erase: phone numbers,
//! names, identifiers, variables, messages, assistants. Then it erases a customer and a user,
//! compacts the store, and searches the raw bytes of all files for the marker and for the ids of
//! erased conversations. All other data must be unchanged.
//!
//! The change feed retains the ids of an erased customer's conversations until the changes expire,
//! because followers must see the deletions. Some trials expire the changes first; the others do
//! not search for those ids.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Filter, IndexFamilies,
    ListRequest, Message, Retention, Role, Store, StoreOptions, Timestamp, UserId, Variables,
    compact,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Prefix of every text that is not erased.
const KEPT: &str = "kept-";
const START_MILLIS: u64 = 1_737_800_000_000;

/// The result of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of erased ids that were searched for.
    pub erased: usize,
    /// Number of remaining conversations.
    pub remaining: usize,
    /// Number of searched bytes.
    pub searched_bytes: usize,
}

/// Runs one trial. Everything follows from the seed, except the store's own secrets.
///
/// # Errors
/// The violation, after the seed.
pub fn trial(seed: u64) -> Result<Outcome, String> {
    run(seed).map_err(|violation| format!("seed {seed}: {violation}"))
}

/// Converts an error to text: a trial reports errors and handles none.
fn text(error: impl Display) -> String {
    error.to_string()
}

/// A user with an assistant and conversations.
struct TestUser {
    user: UserId,
    assistant: AssistantId,
    rows: BTreeMap<Uuid, Conversation>,
}

struct Trial {
    random: ChaCha8Rng,
    store: Store,
    /// The marker: part of every text that will be erased.
    mark: String,
    now_millis: u64,
}

fn run(seed: u64) -> Result<Outcome, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let directory = tempfile::tempdir().map_err(text)?;
    let path = directory.path().join("store.convodb");
    let options = StoreOptions::new()
        .memtable_bytes(1 << random.random_range(10..20))
        .fast_recovery(random.random())
        .indexes(IndexFamilies::ALL)
        .cache_bytes(8 << 20);
    let open = || Store::open_with(&path, &options).map_err(text);
    let mark = format!("{:020}", random.random_range(10_u64.pow(18)..10_u64.pow(19)));
    let mut trial = Trial { random, store: open()?, mark, now_millis: START_MILLIS };
    let erased_name = format!("user {}", trial.mark);
    let (mut kept, mut doomed) = (trial.create_user("kept")?, trial.create_user(&erased_name)?);
    let rounds = trial.random.random_range(40..200);
    for _ in 0..rounds {
        let test_user = if trial.random.random_bool(0.5) { &mut kept } else { &mut doomed };
        trial.change(test_user, &erased_name)?;
        if trial.random.random_bool(0.02) {
            trial.store.clone().close().map_err(text)?;
            trial.store = open()?;
        }
    }
    if !search(directory.path(), trial.mark.as_bytes(), &HashSet::new())?.found {
        return Err("no file contains the marker before the erasure".to_owned());
    }
    let mut erased = trial.erase(&mut kept, &doomed)?;
    let expires_changes = trial.random.random();
    let Trial { store, now_millis, .. } = trial;
    if expires_changes {
        expire_changes(&store, now_millis)?;
    } else {
        erased.retain(|id| doomed.rows.contains_key(&Uuid::from_bytes(*id)));
    }
    store.close().map_err(text)?;
    compact(&path).map_err(text)?;

    let Search { found, searched_bytes } =
        search(directory.path(), trial.mark.as_bytes(), &erased)?;
    if found {
        return Err("a file contains erased data".to_owned());
    }
    let remaining = kept.rows.len();
    if remaining > 0 && !search(directory.path(), KEPT.as_bytes(), &HashSet::new())?.found {
        return Err("no file contains the data that was not erased".to_owned());
    }
    check(&open()?, &kept, doomed.user)?;
    Ok(Outcome { erased: erased.len(), remaining, searched_bytes })
}

/// Expires all changes of the feed: the first call sets a time mark, the second one, two hours
/// later, removes what is older.
fn expire_changes(store: &Store, now_millis: u64) -> Result<(), String> {
    let keep = Retention { changes: Duration::ZERO, ..Retention::default() };
    for hours in [0, 2] {
        let at = Timestamp::from_millis(now_millis + hours * 3_600_000).map_err(text)?;
        store.expire(at, keep).map_err(text)?;
    }
    Ok(())
}

impl Trial {
    fn create_user(&mut self, name: &str) -> Result<TestUser, String> {
        let at = Timestamp::MIN;
        let user = self.store.create_user(name, at).map_err(text)?.id;
        let assistant = AssistantId::new(Uuid::from_u128(self.random.random()));
        let bot = format!("assistant of {name}");
        self.store.create_assistant(user, assistant, bot).map_err(text)?;
        self.store.create_token(user, at).map_err(text)?;
        Ok(TestUser { user, assistant, rows: BTreeMap::new() })
    }

    /// The phone number of the erased customer, who has conversations with both users.
    fn phone(&self) -> String {
        format!("+{}", self.mark)
    }

    /// A text with the marker, or with the prefix of remaining data.
    fn random_text(&mut self, marked: bool) -> String {
        let (mark, number) = (&self.mark, self.random.random_range(0..1_000_000));
        if marked { format!("{mark}-{number}") } else { format!("{KEPT}{number}") }
    }

    /// Inserts, updates, extends or deletes a conversation.
    fn change(&mut self, test_user: &mut TestUser, erased_name: &str) -> Result<(), String> {
        let (user, all_marked) = (test_user.user, self.has_name(test_user, erased_name)?);
        let known: Vec<Uuid> = test_user.rows.keys().copied().collect();
        let choice = self.random.random_range(0..10);
        if known.is_empty() || choice < 5 {
            let marked = all_marked || self.random.random_bool(0.4);
            let row = self.conversation(test_user.assistant, marked, all_marked)?;
            let message = self.message(marked)?;
            let (inserted, id) = (row.clone(), row.id);
            let insert = self.store.write(move |write| {
                write.insert(user, inserted, Vec::new())?;
                write.append_message(user, id, &message).map(|_| ())
            });
            insert.map_err(text)?;
            let row = self
                .store
                .snapshot()
                .conversation(user, id)
                .map_err(text)?
                .ok_or("an inserted conversation is missing")?;
            test_user.rows.insert(id.uuid(), row);
            return Ok(());
        }
        let id = ConversationId::new(known[self.random.random_range(0..known.len())]);
        if choice < 6 {
            self.store.delete(user, id).map_err(text)?;
            test_user.rows.remove(&id.uuid());
            return Ok(());
        }
        let marked = is_marked(&test_user.rows[&id.uuid()], &self.phone()) || all_marked;
        let message = self.message(marked)?;
        self.store.append_message(user, id, message).map_err(text)?;
        let note = self.random_text(marked);
        let changed = self.store.update(user, id, Timestamp::MIN, move |row| {
            row.variables = Variables::new(format!("{{\"note\":\"{note}\"}}")).ok();
            Ok(())
        });
        test_user.rows.insert(id.uuid(), changed.map_err(text)?);
        Ok(())
    }

    fn has_name(&self, test_user: &TestUser, name: &str) -> Result<bool, String> {
        let user =
            self.store.snapshot().user(test_user.user).map_err(text)?.ok_or("a user is missing")?;
        Ok(user.name.as_str() == name)
    }

    /// A conversation with the erased customer if `marked`, else with any other one.
    fn conversation(
        &mut self,
        assistant: AssistantId,
        marked: bool,
        any_channel: bool,
    ) -> Result<Conversation, String> {
        self.now_millis += self.random.random_range(0..3_600_000);
        let at = Timestamp::from_millis(self.now_millis).map_err(text)?;
        let id = ConversationId::new(Uuid::from_u128(self.random.random()));
        let channel = match self.random.random_range(0..3) {
            0 if any_channel || !marked => {
                let identifier = self.random_text(marked).parse().map_err(text)?;
                Channel::Api { external_identifier: Some(identifier) }
            }
            _ => {
                let phone = if marked { self.phone() } else { self.random_text(false) };
                let customer = Contact {
                    name: Some(self.random_text(marked).parse().map_err(text)?),
                    phone: Some(phone.parse().map_err(text)?),
                };
                Channel::Whatsapp { sender: Contact::default(), customer }
            }
        };
        let variables = format!("{{\"note\":\"{}\"}}", self.random_text(marked));
        let variables = Some(Variables::new(variables).map_err(text)?);
        Ok(Conversation { variables, ..Conversation::new(id, assistant, channel, at) })
    }

    fn message(&mut self, marked: bool) -> Result<Message, String> {
        let at = Timestamp::from_millis(self.now_millis).map_err(text)?;
        let length = self.random.random_range(0..2_000);
        let content = format!("{} {}", self.random_text(marked), "x".repeat(length));
        Message::new(Role::User, content, at).map_err(text)
    }

    /// Erases the customer from the data of one user, and the other user entirely. Returns the
    /// erased ids.
    fn erase(&self, kept: &mut TestUser, doomed: &TestUser) -> Result<HashSet<[u8; 16]>, String> {
        let phone = self.phone();
        let filter =
            Filter { customer_phone: Some(phone.parse().map_err(text)?), ..Filter::default() };
        let request = ListRequest { filter, ..ListRequest::default() };
        let deleted = self.store.delete_all(kept.user, &request);
        let before = kept.rows.len();
        let mut erased: HashSet<[u8; 16]> = doomed.rows.keys().map(|id| *id.as_bytes()).collect();
        kept.rows.retain(|id, row| {
            let marked = is_marked(row, &phone);
            if marked {
                erased.insert(*id.as_bytes());
            }
            !marked
        });
        let (deleted, expected) = (deleted.map_err(text)?, before - kept.rows.len());
        if deleted != expected as u64 {
            return Err(format!("deleted {deleted} of the customer's {expected} conversations"));
        }
        let report = self.store.erase_user(doomed.user, Timestamp::MIN).map_err(text)?;
        let (deleted, expected) = (report.conversations, doomed.rows.len());
        if deleted != expected as u64 {
            return Err(format!("erased {deleted} of the user's {expected} conversations"));
        }
        Ok(erased)
    }
}

fn is_marked(row: &Conversation, phone: &str) -> bool {
    row.channel.customer_phone() == Some(phone)
}

/// The result of a search.
struct Search {
    found: bool,
    searched_bytes: usize,
}

/// Searches all files of a directory and their names for the marker, and the files for any of the
/// ids.
fn search(directory: &Path, mark: &[u8], ids: &HashSet<[u8; 16]>) -> Result<Search, String> {
    let mut all = Search { found: false, searched_bytes: 0 };
    let has_mark = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    for entry in fs::read_dir(directory).map_err(text)? {
        let entry = entry.map_err(text)?;
        let bytes = match fs::read(entry.path()) {
            // A WAL segment that a checkpoint has removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(text)?,
        };
        let has_id = || {
            let mut windows = bytes.windows(16);
            windows.any(|window| window.try_into().is_ok_and(|id: [u8; 16]| ids.contains(&id)))
        };
        let name_has_mark = has_mark(entry.file_name().as_encoded_bytes());
        all.found |= name_has_mark || has_mark(&bytes) || (!ids.is_empty() && has_id());
        all.searched_bytes += bytes.len();
    }
    Ok(all)
}

/// Checks that the store contains exactly the remaining data, unchanged.
fn check(store: &Store, kept: &TestUser, erased: UserId) -> Result<(), String> {
    let snapshot = store.snapshot();
    let rows = snapshot.conversations(kept.user, &ListRequest::default());
    let rows = rows.map(|row| row.map(|row| (row.id.uuid(), row)));
    let found: BTreeMap<Uuid, Conversation> = rows.collect::<Result<_, _>>().map_err(text)?;
    if found != kept.rows {
        return Err("the remaining conversations changed".to_owned());
    }
    if snapshot.user(erased).map_err(text)?.is_some() {
        return Err("the erased user still exists".to_owned());
    }
    let verified = snapshot.verify().map_err(text)?;
    if !verified.is_clean() {
        return Err(format!("verify found {:?}", verified.findings));
    }
    Ok(())
}
