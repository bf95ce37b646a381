//! Trials: each makes a disk, a store and a script from its seed, lets the disk fail, and checks what
//! the store then holds. An error is a violation of what the store promises, and tells the seed, the
//! script and what was done to the disk.

use convodb::{Channel, Conversation, ConversationId, Durability, Store, StoreOptions, Timestamp};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::Counts;
use crate::generators::assistants;
use crate::oracle::Oracle;
use crate::simulation::checker::{CheckError, check_state};
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{Memory, Played, open, options, play};
use crate::simulation::workload::{Operation, Step, script, user};

/// What a trial of this seed is made of.
pub(super) struct Trial {
    seed: u64,
    pub(super) random: ChaCha8Rng,
    pub(super) options: StoreOptions,
    pub(super) steps: Vec<Step>,
    pub(super) disk: SimulatedDisk,
    pub(super) counts: Counts,
}

impl Trial {
    pub(super) fn new(seed: u64, durability: Durability) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = options(&mut random, durability);
        let steps = script(&mut random, 24);
        // One in eight with checkpoints that are written beside, which no seed repeats exactly.
        let disk = SimulatedDisk::new(random.random(), random.random_bool(0.125));
        Self { seed, random, options, steps, disk, counts: Counts::new() }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A number of changes, of which small ones are as likely as great ones.
    pub(super) fn some_changes(&mut self) -> u64 {
        let most = [8, 40, 160, 640][self.random.random_range(0..4)];
        self.random.random_range(0..most)
    }

    pub(super) fn violation(&self, disk: &SimulatedDisk, why: &str) -> String {
        format!(
            "seed {}: {why}\n{:?}\n{:#?}\nthe last disk:\n{}",
            self.seed,
            self.options,
            self.steps,
            disk.trace()
        )
    }

    pub(super) fn open(&self, disk: &SimulatedDisk) -> Result<Store, String> {
        open(disk, &self.options).map_err(|error| {
            self.violation(disk, &format!("it does not open: {error}; {}", self.disk.trace()))
        })
    }

    /// Turns the power off, on, and up to twice off again while the store is opened.
    pub(super) fn cut(&mut self, played: &mut Played) -> SimulatedDisk {
        self.count(if self.disk.is_off() { "cuts within a change" } else { "cuts at rest" });
        let mut disk = self.disk.power_cut();
        played.store = None;
        for _ in 0..self.random.random_range(0..3) {
            disk.cut_at(self.random.random_range(0..50));
            // Whatever comes of it, the next opening must go well.
            let opened = open(&disk, &self.options);
            if disk.is_off() {
                self.count("cuts while opening");
            }
            let next = disk.power_cut();
            drop(opened);
            disk = next;
        }
        disk
    }

    /// The store goes on: one more write is there, whatever the next power cut does. Gives the disk
    /// after that, and what is on it.
    pub(super) fn go_on(
        &self,
        store: Store,
        disk: &SimulatedDisk,
        mut state: Oracle,
    ) -> Result<(SimulatedDisk, Oracle), String> {
        let at = Timestamp::from_millis(1_737_900_000_000).unwrap_or(Timestamp::MIN);
        let id = ConversationId::new(Uuid::from_u128(999));
        let row = Conversation::new(id, assistants()[0], Channel::Widget, at);
        let step = Step::Write(vec![Operation::Insert(user(0), row, Vec::new())]);
        step.apply(&mut state);
        let done = step.run(&store).and_then(|()| match self.options.durability {
            Durability::Deferred => store.clone().close(),
            Durability::Immediate => Ok(()),
        });
        done.map_err(|error| self.violation(disk, &format!("it does not go on: {error}")))?;
        let last = disk.worst_cut();
        drop(store);
        let store = self.open(&last)?;
        let judged = check_state(&store.snapshot(), std::slice::from_ref(&state), false);
        judged.map_err(|fault| self.violation(disk, &String::from(fault)))?;
        Ok((last, state))
    }
}

/// A power cut at any change: creation, groups, checkpoints, loads, growth, closing, opening; and
/// again while the store is opened. Everything that was acknowledged is there, and what was being
/// written is there whole or not at all.
///
/// # Errors
/// A violation.
pub fn power_cut(seed: u64) -> Result<Counts, String> {
    cut_and_check(Trial::new(seed, Durability::Immediate), Memory::Acknowledged)
}

/// The same where writes are acknowledged before they are durable: the store is in one of the states
/// that it was in since it was last closed.
///
/// # Errors
/// A violation.
pub fn power_cut_deferred(seed: u64) -> Result<Counts, String> {
    cut_and_check(Trial::new(seed, Durability::Deferred), Memory::SinceClosed)
}

fn cut_and_check(mut trial: Trial, memory: Memory) -> Result<Counts, String> {
    let cut_at = trial.some_changes();
    trial.disk.cut_at(cut_at);
    let played = play(&trial.disk, &trial.options, &trial.steps, memory);
    let mut played = played.map_err(|why| trial.violation(&trial.disk, &why))?;
    let disk = trial.cut(&mut played);
    let store = trial.open(&disk)?;
    let found = check_state(&store.snapshot(), &played.candidates, played.may_be_empty)
        .map_err(|fault| trial.violation(&trial.disk, &String::from(fault)))?;
    let (rows, last) =
        (played.candidates[found].conversations().count(), played.candidates.len() - 1);
    trial.count(if found == last { "the last state" } else { "a state before" });
    *trial.counts.entry("rows").or_default() += rows as u64;
    let has_users = store.snapshot().users().is_ok_and(|users| !users.is_empty());
    if has_users {
        trial.go_on(store, &disk, played.candidates.swap_remove(found))?;
    }
    Ok(trial.counts)
}

/// From some change on, the disk says that it has synced and has not; then the power goes. A store
/// that is checked when it is opened is in one of the states that it was in, or tells of the damage.
///
/// # Errors
/// A violation.
pub fn lost_sync(seed: u64) -> Result<Counts, String> {
    let mut trial = Trial::new(seed, Durability::Immediate);
    trial.options.check_on_open = true;
    let (lies_from, cut_at) = (trial.some_changes(), trial.some_changes());
    trial.disk.lies_from(lies_from);
    trial.disk.cut_at(lies_from + cut_at);
    let played = play(&trial.disk, &trial.options, &trial.steps, Memory::All);
    let mut played = played.map_err(|why| trial.violation(&trial.disk, &why))?;
    let disk = trial.disk.power_cut();
    played.store = None;
    match open(&disk, &trial.options) {
        Err(_) => trial.count("told when opened"),
        Ok(store) => match check_state(&store.snapshot(), &played.candidates, true) {
            Ok(found) if found + 1 == played.candidates.len() => trial.count("the last state"),
            Ok(_) => trial.count("a state before"),
            Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated) => {
                trial.count("told by the audit")
            }
            Err(CheckError::Mismatch(why)) => return Err(trial.violation(&trial.disk, &why)),
        },
    }
    Ok(trial.counts)
}
