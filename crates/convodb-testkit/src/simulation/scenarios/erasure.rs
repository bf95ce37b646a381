//! Erasure under failures: killed or cut off at any step, it is not forgotten and can be finished.
//!
//! A trial erases a user, or a customer of a user who stays, and compacts the store. The power goes
//! off, or the process is killed, during any change of the disk. Then the store either reports the
//! unfinished erasure, or it was not begun, or no byte of the erased data is in any file. Erasing
//! again, or compacting alone, finishes it: all other data is unchanged, and no other file is left.

use std::path::Path;
use std::sync::Arc;

use convodb::vfs::{Access, Vfs};
use convodb::{
    AssistantId, BulkOptions, Channel, Contact, Conversation, ConversationId, ErasureScope, Error,
    Filter, ListRequest, MaintenanceOptions, Message, Role, Snapshot, Store, StoreOptions,
    Timestamp, UserId, compact_with,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::Counts;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{PATH, open, random_options, require_power_off};

/// A part of every text that is erased.
const MARK: &str = "7315550100";
/// More rows than one write of an erasure deletes.
const MANY: u64 = 300;

/// What happens to the disk at the chosen change.
#[derive(Clone, Copy)]
enum Interruption {
    /// The process is killed: all of its changes remain.
    Kill,
    /// The power goes off: what was not synced remains at random.
    PowerCut,
    /// The power goes off, and nothing remains that was not synced.
    WorstPowerCut,
}

/// The input of a trial, which follows from its seed.
struct Trial {
    seed: u64,
    options: StoreOptions,
    /// Whether the user is erased; else the customer.
    scope: ErasureScope,
    /// The conversations that are erased.
    rows: u64,
    disk_seed: u64,
}

/// The users of a store: the erased one, or the one whose customer is erased, and another.
#[derive(Clone, Copy)]
struct Users {
    of_erased: UserId,
    other: UserId,
}

/// Interrupts an erasure at a random change, and up to two times the attempts to finish it.
///
/// # Errors
/// A violation.
pub fn erasure_interrupted(seed: u64) -> Result<Counts, String> {
    let (trial, mut random) = Trial::new(seed);
    let changes = trial.undisturbed()?;
    let mut counts = Counts::new();
    trial.interrupt(random.random_range(0..changes), random.random_range(0..3), &mut counts)?;
    Ok(counts)
}

/// Kills an erasure at each of its changes.
///
/// # Errors
/// A violation.
pub fn erasure_killed_at_each_change(seed: u64) -> Result<Counts, String> {
    let (trial, _) = Trial::new(seed);
    let mut counts = Counts::new();
    for change in 0..trial.undisturbed()? {
        trial.interrupt(change, 0, &mut counts)?;
    }
    Ok(counts)
}

impl Trial {
    fn new(seed: u64) -> (Self, ChaCha8Rng) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = random_options(&mut random, convodb::Durability::Immediate);
        let scope = match seed % 2 {
            0 => ErasureScope::User,
            _ => ErasureScope::Conversations,
        };
        let rows = if random.random_bool(0.2) { MANY } else { random.random_range(1..6) };
        (Self { seed, options, scope, rows, disk_seed: random.random() }, random)
    }

    fn violation(&self, violation: &str) -> String {
        format!("seed {}: {violation}; {} rows, {:?}", self.seed, self.rows, self.options)
    }

    fn unexpected(&self, operation: &str, error: &Error) -> String {
        self.violation(&format!("{operation} failed on a working disk: {error}"))
    }

    /// The number of changes of an undisturbed erasure, which is checked.
    fn undisturbed(&self) -> Result<u64, String> {
        let (disk, users) = self.disk_with_store()?;
        let before = disk.changes();
        self.erase(&disk, users).map_err(|error| self.unexpected("erasure", &error))?;
        let changes = disk.changes() - before;
        self.check_finished(&disk, users)?;
        Ok(changes)
    }

    fn interrupt(&self, change: u64, repeats: usize, counts: &mut Counts) -> Result<(), String> {
        let mut count = |outcome| *counts.entry(outcome).or_default() += 1;
        let mut random = ChaCha8Rng::seed_from_u64(self.disk_seed ^ change);
        let (mut disk, users) = self.disk_with_store()?;
        disk.power_off_at(change);
        let mut erased = self.erase(&disk, users).map(drop);
        for attempt in 0..=repeats {
            if let Err(error) = &erased {
                require_power_off(&disk, "erasure", error)
                    .map_err(|violation| self.violation(&violation))?;
            }
            disk = match [Interruption::Kill, Interruption::PowerCut, Interruption::WorstPowerCut]
                [if repeats == 0 { 0 } else { random.random_range(0..3) }]
            {
                Interruption::Kill => disk.kill(),
                Interruption::PowerCut => disk.power_cut(),
                Interruption::WorstPowerCut => disk.worst_power_cut(),
            };
            if attempt < repeats {
                disk.power_off_at(random.random_range(0..=change));
                erased = self.finish(&disk, users, random.random(), &mut count);
            }
        }
        self.check_reported(&disk, users)?;
        self.finish(&disk, users, random.random(), &mut count)
            .map_err(|error| self.unexpected("finishing the erasure", &error))?;
        self.check_finished(&disk, users)?;
        self.check_finished(&disk.worst_power_cut(), users)
    }

    /// A disk with a closed store.
    fn disk_with_store(&self) -> Result<(SimulatedDisk, Users), String> {
        let disk = SimulatedDisk::new(self.disk_seed);
        let users = self.create(&disk).map_err(|error| self.unexpected("creation", &error))?;
        if !self.finds_mark(&disk)? {
            return Err(self.violation("no file contains the mark before the erasure"));
        }
        Ok((disk, users))
    }

    fn create(&self, disk: &SimulatedDisk) -> Result<Users, Error> {
        let store = open(disk, &self.options)?;
        let erases_user = self.scope == ErasureScope::User;
        let of_erased = if erases_user { format!("user {MARK}") } else { "kept".to_owned() };
        let users = Users {
            of_erased: self.create_user(&store, &of_erased, 1)?,
            other: self.create_user(&store, "other", 2)?,
        };
        let mut loader = store.bulk_load(BulkOptions::default());
        for number in 0..self.rows {
            let (row, messages) = conversation(number, &format!("+{MARK}"), MARK)?;
            loader.push(users.of_erased, &row, &messages)?;
        }
        loader.finish()?;
        let (row, messages) = conversation(1_000, "+2", "kept")?;
        store.insert(users.other, row.clone(), messages.clone())?;
        if !erases_user {
            store.insert(users.of_erased, row, messages)?;
        }
        store.close()?;
        Ok(users)
    }

    fn create_user(&self, store: &Store, name: &str, number: u64) -> Result<UserId, Error> {
        let user = store.create_user(name, Timestamp::MIN)?.id;
        store.create_assistant(user, assistant(), format!("assistant of {name}"))?;
        if number == 1 {
            store.create_token(user, Timestamp::MIN)?;
        }
        Ok(user)
    }

    /// Erases and compacts, as the command does.
    fn erase(&self, disk: &SimulatedDisk, users: Users) -> Result<(), Error> {
        let store = open(disk, &self.options)?;
        match self.scope {
            ErasureScope::User => drop(store.erase_user(users.of_erased, Timestamp::MIN)?),
            _ => drop(store.erase_conversations(users.of_erased, &filter()?, Timestamp::MIN)?),
        }
        store.close()?;
        compact(disk)
    }

    /// Finishes an interrupted erasure: by erasing again where that is possible, or by compacting
    /// alone where the store reports it.
    fn finish(
        &self,
        disk: &SimulatedDisk,
        users: Users,
        erases_again: bool,
        count: &mut impl FnMut(&'static str),
    ) -> Result<(), Error> {
        let store = open(disk, &self.options)?;
        let snapshot = store.snapshot();
        let reported = !snapshot.unfinished_erasures()?.is_empty();
        let exists = snapshot.user(users.of_erased)?.is_some();
        drop(snapshot);
        store.close()?;
        if exists && (erases_again || !reported) {
            count(if reported { "erased again" } else { "not reported" });
            self.erase(disk, users)
        } else {
            count(if reported { "finished by compaction" } else { "finished before" });
            compact(disk)
        }
    }

    /// Checks that the store reports the erasure, or that it was not begun, or is finished.
    fn check_reported(&self, disk: &SimulatedDisk, users: Users) -> Result<(), String> {
        let read = |disk: &SimulatedDisk| -> Result<(bool, bool), Error> {
            let store = open(disk, &self.options)?;
            let snapshot = store.snapshot();
            let reported = !snapshot.unfinished_erasures()?.is_empty();
            let request = ListRequest::new().filter(filter()?);
            let rows = snapshot.conversations(users.of_erased, &request).count() as u64;
            let not_begun = snapshot.user(users.of_erased)?.is_some() && rows == self.rows;
            store.close()?;
            Ok((reported, not_begun))
        };
        let (reported, not_begun) =
            read(disk).map_err(|error| self.unexpected("reading", &error))?;
        if !reported && !not_begun && self.finds_mark(disk)? {
            return Err(self.violation("an unfinished erasure is forgotten"));
        }
        Ok(())
    }

    /// Checks that no byte of the erased data and no other file remains, and that all other data
    /// does.
    fn check_finished(&self, disk: &SimulatedDisk, users: Users) -> Result<(), String> {
        let files =
            disk.list(Path::new("/")).map_err(|error| self.violation(&error.to_string()))?;
        if files != [Path::new(PATH)] {
            return Err(self.violation(&format!("files remain: {files:?}")));
        }
        if self.finds_mark(disk)? {
            return Err(self.violation("a file contains erased data"));
        }
        let check = || -> Result<bool, Error> {
            let store = open(disk, &self.options)?;
            let snapshot = store.snapshot();
            let is_erased = match self.scope {
                ErasureScope::User => snapshot.user(users.of_erased)?.is_none(),
                _ => has_kept(&snapshot, users.of_erased)?,
            };
            let is_clean = snapshot.verify()?.is_clean();
            let is_reported = !snapshot.unfinished_erasures()?.is_empty();
            let others = has_kept(&snapshot, users.other)?;
            store.close()?;
            Ok(is_erased && is_clean && !is_reported && others)
        };
        match check().map_err(|error| self.unexpected("check", &error))? {
            true => Ok(()),
            false => Err(self.violation("the erasure is not finished, or other data changed")),
        }
    }

    /// Whether any file contains the mark.
    fn finds_mark(&self, disk: &SimulatedDisk) -> Result<bool, String> {
        let search = || -> std::io::Result<bool> {
            for path in disk.list(Path::new("/"))? {
                let file = disk.open(&path, Access::Read)?;
                let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
                // A simulated disk transfers all bytes in one call.
                file.read_at(0, &mut bytes)?;
                if bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        search().map_err(|error| self.violation(&error.to_string()))
    }
}

/// Whether the user has the one conversation that is not erased, with its message.
fn has_kept(snapshot: &Snapshot, user: UserId) -> Result<bool, Error> {
    let rows = snapshot.conversations(user, &ListRequest::default());
    let rows = rows.collect::<Result<Vec<Conversation>, Error>>()?;
    let (expected, messages) = conversation(1_000, "+2", "kept")?;
    Ok(rows == [expected.clone()] && snapshot.messages(user, expected.id)? == Some(messages))
}

fn compact(disk: &SimulatedDisk) -> Result<(), Error> {
    compact_with(PATH, MaintenanceOptions::new().vfs(Arc::new(disk.clone()))).map(drop)
}

fn filter() -> Result<Filter, Error> {
    Filter::new().customer_phone(format!("+{MARK}"))
}

fn assistant() -> AssistantId {
    AssistantId::new(Uuid::from_u128(9))
}

/// A conversation with a customer, and its messages, whose texts contain `text`.
fn conversation(
    number: u64,
    phone: &str,
    text: &str,
) -> Result<(Conversation, Vec<Message>), Error> {
    let at = Timestamp::from_millis(1_737_800_000_000 + number)?;
    let customer =
        Contact { name: Some(format!("name {text}").parse()?), phone: Some(phone.parse()?) };
    let channel = Channel::Whatsapp { sender: Contact::default(), customer };
    let id = ConversationId::new(Uuid::from_u128(u128::from(number) + 1));
    let row = Conversation::new(id, assistant(), channel, at);
    let messages = vec![Message::new(Role::User, format!("says {text}"), at)?];
    Ok((Conversation { message_count: 1, ..row }, messages))
}
