//! The proof of erasure: whatever was written of a customer or of a user, and however it got to the
//! disk, after erasing and compacting no byte of it is in any file of the store, and all else is
//! there as it was.
//!
//! A trial plants a mark of its own in every text of those who will be erased: phones, names,
//! identifiers, variables, messages, assistants. Then it looks for the mark, and for the ids of what
//! was erased, in the raw bytes of all files. Ids of an erased customer's conversations stay in the
//! feed until its changes are forgotten, so that who follows it hears of the erasure; some trials wait
//! for that, the others do not look for those ids.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Filter, ListRequest, Message,
    Retention, Role, Store, StoreOptions, Timestamp, UserId, Variables, compact,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// What the marks of what stays begin with.
const KEPT: &str = "kept-";
const START_MILLIS: u64 = 1_737_800_000_000;

/// What a trial did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Conversations that were erased.
    pub erased: usize,
    /// Conversations that stayed.
    pub kept: usize,
    /// Bytes that were searched.
    pub searched: usize,
}

/// One trial: everything about it follows from the seed, but for the store's own secrets.
///
/// # Errors
/// What does not hold, in words that begin with the seed.
pub fn trial(seed: u64) -> Result<Erasure, String> {
    run(seed).map_err(|why| format!("seed {seed}: {why}"))
}

/// An error as a text, because a trial is told, not handled.
fn told(error: impl Display) -> String {
    error.to_string()
}

/// Who has data in the store.
struct Party {
    user: UserId,
    assistant: AssistantId,
    rows: BTreeMap<Uuid, Conversation>,
}

struct Trial {
    random: ChaCha8Rng,
    store: Store,
    /// Stands in all that is to be erased.
    mark: String,
    now: u64,
}

fn run(seed: u64) -> Result<Erasure, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let directory = tempfile::tempdir().map_err(told)?;
    let path = directory.path().join("store.convodb");
    let options = StoreOptions {
        memtable_bytes: 1 << random.random_range(10..20),
        fast_recovery: random.random(),
        cache_bytes: 8 << 20,
        ..StoreOptions::default()
    };
    let open = || Store::open_with(&path, &options).map_err(told);
    let mark = format!("{:020}", random.random_range(10_u64.pow(18)..10_u64.pow(19)));
    let mut trial = Trial { random, store: open()?, mark, now: START_MILLIS };
    let gone = format!("user {}", trial.mark);
    let (mut stays, mut goes) = (trial.party("stays")?, trial.party(&gone)?);
    let rounds = trial.random.random_range(40..200);
    for _ in 0..rounds {
        let party = if trial.random.random_bool(0.5) { &mut stays } else { &mut goes };
        trial.change(party, &gone)?;
        if trial.random.random_bool(0.02) {
            trial.store.clone().close().map_err(told)?;
            trial.store = open()?;
        }
    }
    if !find(directory.path(), trial.mark.as_bytes(), &HashSet::new())?.found {
        return Err("the mark is in no file before it is erased".to_owned());
    }
    let mut erased = trial.erase(&mut stays, &goes)?;
    let waits = trial.random.random();
    let Trial { store, now, .. } = trial;
    if waits {
        forget_changes(&store, now)?;
    } else {
        erased.retain(|id| goes.rows.contains_key(&Uuid::from_bytes(*id)));
    }
    store.close().map_err(told)?;
    compact(&path, |_, _| {}).map_err(told)?;

    let Found { found, searched } = find(directory.path(), trial.mark.as_bytes(), &erased)?;
    if found {
        return Err("something of what was erased is left in a file".to_owned());
    }
    let kept = stays.rows.len();
    if kept > 0 && !find(directory.path(), KEPT.as_bytes(), &HashSet::new())?.found {
        return Err("what stays is in no file".to_owned());
    }
    check(&open()?, &stays, goes.user)?;
    Ok(Erasure { erased: erased.len(), kept, searched })
}

/// Forgets all changes there are, as a server does in time.
fn forget_changes(store: &Store, now: u64) -> Result<(), String> {
    let keep = Retention { changes: Duration::ZERO, ..Retention::default() };
    for hours in [0, 2] {
        let at = Timestamp::from_millis(now + hours * 3_600_000).map_err(told)?;
        store.expire(at, keep).map_err(told)?;
    }
    Ok(())
}

impl Trial {
    fn party(&mut self, name: &str) -> Result<Party, String> {
        let at = Timestamp::MIN;
        let user = self.store.create_user(name.parse().map_err(told)?, at).map_err(told)?.id;
        let assistant = AssistantId::new(Uuid::from_u128(self.random.random()));
        let bot = format!("assistant of {name}").parse().map_err(told)?;
        self.store.create_assistant(user, assistant, bot).map_err(told)?;
        self.store.create_token(user, at).map_err(told)?;
        Ok(Party { user, assistant, rows: BTreeMap::new() })
    }

    /// The phone of the customer that is erased, of all users.
    fn phone(&self) -> String {
        format!("+{}", self.mark)
    }

    /// A text that stays, or one that must not.
    fn text(&mut self, marked: bool) -> String {
        let (mark, number) = (&self.mark, self.random.random_range(0..1_000_000));
        if marked { format!("{mark}-{number}") } else { format!("{KEPT}{number}") }
    }

    /// Inserts, changes, continues or deletes a conversation.
    fn change(&mut self, party: &mut Party, gone: &str) -> Result<(), String> {
        let (user, all_marked) = (party.user, self.is(party, gone)?);
        let known: Vec<Uuid> = party.rows.keys().copied().collect();
        let choice = self.random.random_range(0..10);
        if known.is_empty() || choice < 5 {
            let marked = all_marked || self.random.random_bool(0.4);
            let row = self.conversation(party.assistant, marked, all_marked)?;
            let said = self.message(marked)?;
            let (inserted, id) = (row.clone(), row.id);
            let insert = self.store.write(move |write| {
                write.insert(user, &inserted, &[])?;
                write.append_message(user, id, &said).map(|_| ())
            });
            insert.map_err(told)?;
            let row = self
                .store
                .snapshot()
                .conversation(user, id)
                .map_err(told)?
                .ok_or("a row is gone")?;
            party.rows.insert(id.uuid(), row);
            return Ok(());
        }
        let id = ConversationId::new(known[self.random.random_range(0..known.len())]);
        if choice < 6 {
            self.store.delete(user, id).map_err(told)?;
            party.rows.remove(&id.uuid());
            return Ok(());
        }
        let marked = is_marked(&party.rows[&id.uuid()], &self.phone()) || all_marked;
        let said = self.message(marked)?;
        self.store.append_message(user, id, said).map_err(told)?;
        let text = self.text(marked);
        let changed = self.store.update(user, id, move |row| {
            row.variables = Variables::new(format!("{{\"note\":\"{text}\"}}")).ok();
        });
        party.rows.insert(id.uuid(), changed.map_err(told)?);
        Ok(())
    }

    fn is(&self, party: &Party, name: &str) -> Result<bool, String> {
        let user = self.store.snapshot().user(party.user).map_err(told)?.ok_or("a user is gone")?;
        Ok(user.name.as_str() == name)
    }

    /// A conversation of the customer that is erased, where it is marked, or of anybody.
    fn conversation(
        &mut self,
        assistant: AssistantId,
        marked: bool,
        any_channel: bool,
    ) -> Result<Conversation, String> {
        self.now += self.random.random_range(0..3_600_000);
        let at = Timestamp::from_millis(self.now).map_err(told)?;
        let id = ConversationId::new(Uuid::from_u128(self.random.random()));
        let channel = match self.random.random_range(0..3) {
            0 if any_channel || !marked => {
                let identifier = self.text(marked).parse().map_err(told)?;
                Channel::Api { external_identifier: Some(identifier) }
            }
            _ => {
                let phone = if marked { self.phone() } else { self.text(false) };
                let customer = Contact {
                    name: Some(self.text(marked).parse().map_err(told)?),
                    phone: Some(phone.parse().map_err(told)?),
                };
                Channel::Whatsapp { sender: Contact::default(), customer }
            }
        };
        let variables = format!("{{\"note\":\"{}\"}}", self.text(marked));
        let variables = Some(Variables::new(variables).map_err(told)?);
        Ok(Conversation { variables, ..Conversation::new(id, assistant, channel, at) })
    }

    fn message(&mut self, marked: bool) -> Result<Message, String> {
        let at = Timestamp::from_millis(self.now).map_err(told)?;
        let length = self.random.random_range(0..2_000);
        let content = format!("{} {}", self.text(marked), "x".repeat(length));
        Message::new(Role::User, content, at).map_err(told)
    }

    /// Erases the customer of the one who stays, and the other one, and tells the ids that went.
    fn erase(&self, stays: &mut Party, goes: &Party) -> Result<HashSet<[u8; 16]>, String> {
        let phone = self.phone();
        let filter =
            Filter { customer_phone: Some(phone.parse().map_err(told)?), ..Filter::default() };
        let request = ListRequest { filter, ..ListRequest::default() };
        let deleted = self.store.delete_all(stays.user, &request, |_| ControlFlow::Continue(()));
        let before = stays.rows.len();
        let mut erased: HashSet<[u8; 16]> = goes.rows.keys().map(|id| *id.as_bytes()).collect();
        stays.rows.retain(|id, row| {
            let marked = is_marked(row, &phone);
            if marked {
                erased.insert(*id.as_bytes());
            }
            !marked
        });
        if deleted.map_err(told)? != (before - stays.rows.len()) as u64 {
            return Err("not as many conversations of the customer went as there were".to_owned());
        }
        let gone = self.store.erase_user(goes.user, |_| {}).map_err(told)?;
        if gone.conversations != goes.rows.len() as u64 {
            return Err("not as many conversations of the user went as there were".to_owned());
        }
        Ok(erased)
    }
}

fn is_marked(row: &Conversation, phone: &str) -> bool {
    row.channel.customer_phone() == Some(phone)
}

/// What a search found.
struct Found {
    found: bool,
    searched: usize,
}

/// Looks for the mark and for any of the ids in every file of the directory, names included.
fn find(directory: &Path, mark: &[u8], ids: &HashSet<[u8; 16]>) -> Result<Found, String> {
    let mut all = Found { found: false, searched: 0 };
    let has_mark = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    for entry in fs::read_dir(directory).map_err(told)? {
        let entry = entry.map_err(told)?;
        let bytes = match fs::read(entry.path()) {
            // A part of the log that a checkpoint removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(told)?,
        };
        let has_id = || {
            let mut windows = bytes.windows(16);
            windows.any(|window| window.try_into().is_ok_and(|id: [u8; 16]| ids.contains(&id)))
        };
        let named = has_mark(entry.file_name().as_encoded_bytes());
        all.found |= named || has_mark(&bytes) || (!ids.is_empty() && has_id());
        all.searched += bytes.len();
    }
    Ok(all)
}

/// The store holds what stays, as it was, and nothing else.
fn check(store: &Store, stays: &Party, gone: UserId) -> Result<(), String> {
    let snapshot = store.snapshot();
    let rows = snapshot.conversations(stays.user, &ListRequest::default());
    let rows = rows.map(|row| row.map(|row| (row.id.uuid(), row)));
    let there: BTreeMap<Uuid, Conversation> = rows.collect::<Result<_, _>>().map_err(told)?;
    if there != stays.rows {
        return Err("what stays is not what it was".to_owned());
    }
    if snapshot.user(gone).map_err(told)?.is_some() {
        return Err("the user is there".to_owned());
    }
    let audit = snapshot.verify(|_, _| {}).map_err(told)?;
    if !audit.is_clean() {
        return Err(format!("the audit finds {:?}", audit.findings));
    }
    Ok(())
}
