//! Workload runner: runs a trial on a simulated disk until the workload ends or the power goes off.
//!
//! The runner also tracks the states that the store may have afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use convodb::{
    Channel, Conversation, ConversationId, Durability, Error, IndexFamilies, Store, StoreOptions,
    StoreState, Timestamp,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::checker::check_state;
use super::disk::SimulatedDisk;
use super::scenarios::Counts;
use super::workload::{Step, WriteOperation, user, workload};
use crate::generators::assistants;
use crate::oracle::Oracle;

/// The path of the store on every disk.
pub(super) const PATH: &str = "/store";

/// How long a store may take to recover once the disk works again.
pub(super) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens the store of a disk.
pub(super) fn open(disk: &SimulatedDisk, options: &StoreOptions) -> Result<Store, Error> {
    open_at(disk, PATH, options)
}

/// Opens the store at a path of a disk.
pub(super) fn open_at(
    disk: &SimulatedDisk,
    path: &str,
    options: &StoreOptions,
) -> Result<Store, Error> {
    let options = options.clone().vfs(Arc::new(disk.clone()));
    Store::open_with(path, &options.background_checkpoints(disk.background_checkpoints()))
}

/// Random options with small caches and memtables, so that few rows fill them, and all optional
/// indexes.
pub(super) fn random_options(random: &mut ChaCha8Rng, durability: Durability) -> StoreOptions {
    StoreOptions::new()
        .cache_bytes([64 << 10, 1 << 20][random.random_range(0..2)])
        .memtable_bytes([0, 1_000, 6_000, 1 << 20][random.random_range(0..4)])
        .fast_recovery(random.random_bool(0.7))
        .durability(durability)
        .indexes(IndexFamilies::ALL)
}

/// Waits until the store accepts writes.
///
/// # Errors
/// It does not within [`RECOVERY_TIMEOUT`].
pub(super) fn await_open(store: &Store) -> Result<(), String> {
    let since = Instant::now();
    while store.state() != StoreState::Open {
        if since.elapsed() > RECOVERY_TIMEOUT {
            return Err(format!("store did not recover: {:?}", store.state()));
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    Ok(())
}

/// Waits until the store serves reads from its files.
///
/// # Errors
/// It does not within [`RECOVERY_TIMEOUT`].
pub(super) fn await_readable(store: &Store) -> Result<(), String> {
    let since = Instant::now();
    while !matches!(store.state(), StoreState::Open | StoreState::ReadOnly) {
        if since.elapsed() > RECOVERY_TIMEOUT {
            return Err(format!("store does not serve reads: {:?}", store.state()));
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    Ok(())
}

/// Accepts an error if the power is off.
///
/// # Errors
/// The power is on: the operation must not fail.
pub(super) fn require_power_off(
    disk: &SimulatedDisk,
    operation: &str,
    error: &Error,
) -> Result<(), String> {
    match disk.is_off() {
        true => Ok(()),
        false => Err(format!("{operation} failed on a working disk: {error}")),
    }
}

/// The oldest state that a store may have after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldestState {
    /// The last acknowledged state. The write in progress may have been added.
    Acknowledged,
    /// The state when the store was last closed.
    Closed,
    /// The initial, empty state: any state is possible.
    Any,
}

/// A workload that was run on a store, and the states that the store may have.
#[derive(Debug)]
pub(super) struct Run {
    /// The possible states, oldest first. The last one is the current state, or the state after the
    /// write in progress.
    pub(super) candidates: Vec<Oracle>,
    /// Whether the users may be missing, because their creation may be lost.
    pub(super) may_be_empty: bool,
    /// The store, unless it could not be opened.
    pub(super) store: Option<Store>,
}

impl Run {
    /// A run that begins with a store in a known state.
    pub(super) fn from_state(state: Oracle) -> Self {
        Self { candidates: vec![state], may_be_empty: false, store: None }
    }

    fn acknowledge(&mut self, step: &Step, state: Oracle, oldest: OldestState) {
        if oldest == OldestState::Acknowledged {
            self.candidates.clear();
            self.may_be_empty &= !matches!(step, Step::SetUp);
        }
        self.candidates.push(state);
    }

    /// Runs a step on the store. Returns whether it was acknowledged.
    ///
    /// # Errors
    /// The step failed while the power was on.
    pub(super) fn run_step(
        &mut self,
        disk: &SimulatedDisk,
        step: &Step,
        oldest: OldestState,
    ) -> Result<bool, String> {
        let Some(store) = &self.store else { return Ok(false) };
        let mut after = self.candidates.last().cloned().unwrap_or_default();
        step.apply(&mut after);
        match step.run(store) {
            Ok(()) => {
                self.acknowledge(step, after, oldest);
                Ok(true)
            }
            Err(error) => {
                require_power_off(disk, "write", &error)?;
                if !matches!(error, Error::WriteAborted { .. }) {
                    self.candidates.push(after);
                }
                Ok(false)
            }
        }
    }

    /// A closed store is durable: it can no longer return to earlier states.
    fn close(&mut self, oldest: OldestState) {
        if oldest == OldestState::Closed {
            let first = self.candidates.len() - 1;
            self.candidates.drain(..first);
            self.may_be_empty = false;
        }
    }
}

/// Runs a workload on the store of a disk.
///
/// # Errors
/// An operation failed while the power was on.
pub(super) fn run_workload(
    disk: &SimulatedDisk,
    options: &StoreOptions,
    steps: &[Step],
    oldest: OldestState,
) -> Result<Run, String> {
    let mut run = Run { candidates: vec![Oracle::default()], may_be_empty: true, store: None };
    match open(disk, options) {
        Ok(store) => run.store = Some(store),
        Err(error) => return require_power_off(disk, "open", &error).map(|()| run),
    }
    for step in steps {
        let Some(store) = &run.store else { break };
        if matches!(step, Step::Restart) {
            let closed = store.clone().close();
            run.store = None;
            match closed.and_then(|()| {
                run.close(oldest);
                open(disk, options)
            }) {
                Ok(store) => run.store = Some(store),
                Err(error) => require_power_off(disk, "close or open", &error)?,
            }
            continue;
        }
        if !run.run_step(disk, step, oldest)? {
            break;
        }
    }
    Ok(run)
}

/// The input of a trial, which follows from its seed, and its results.
pub(super) struct Trial {
    seed: u64,
    pub(super) random: ChaCha8Rng,
    pub(super) options: StoreOptions,
    durability: Durability,
    pub(super) steps: Vec<Step>,
    pub(super) disk: SimulatedDisk,
    pub(super) counts: Counts,
}

impl Trial {
    pub(super) fn new(seed: u64, durability: Durability) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = random_options(&mut random, durability);
        let steps = workload(&mut random, 24);
        // One trial in eight writes checkpoints in the background: its seed does not repeat the
        // order of the calls.
        let disk = SimulatedDisk::new(random.random())
            .with_background_checkpoints(random.random_bool(0.125));
        Self { seed, random, options, durability, steps, disk, counts: Counts::new() }
    }

    pub(super) fn count(&mut self, outcome: &'static str) {
        self.add(outcome, 1);
    }

    pub(super) fn add(&mut self, outcome: &'static str, count: u64) {
        *self.counts.entry(outcome).or_default() += count;
    }

    /// A random number of changes of the disk. Small numbers are as likely as large ones.
    pub(super) fn random_change(&mut self) -> u64 {
        let limit = [8, 40, 160, 640][self.random.random_range(0..4)];
        self.random.random_range(0..limit)
    }

    /// The text of a violation: the seed, the options, the workload, and the trace of a disk.
    pub(super) fn violation(&self, disk: &SimulatedDisk, violation: &str) -> String {
        format!(
            "seed {}: {violation}\n{:?}\n{:#?}\nlast disk:\n{}",
            self.seed,
            self.options,
            self.steps,
            disk.trace()
        )
    }

    /// The violation that an operation failed without a fault of the disk.
    pub(super) fn unexpected(
        &self,
        disk: &SimulatedDisk,
        operation: &str,
        error: &Error,
    ) -> String {
        self.violation(disk, &format!("{operation} failed on a working disk: {error}"))
    }

    /// Opens the store of a disk, which must succeed.
    pub(super) fn open(&self, disk: &SimulatedDisk) -> Result<Store, String> {
        open(disk, &self.options).map_err(|error| {
            self.violation(disk, &format!("open failed: {error}; {}", self.disk.trace()))
        })
    }

    /// Checks that a store has one of these states. Returns the index of the state.
    pub(super) fn check(
        &self,
        disk: &SimulatedDisk,
        store: &Store,
        states: &[Oracle],
        may_be_empty: bool,
    ) -> Result<usize, String> {
        check_state(&store.snapshot(), states, may_be_empty)
            .map_err(|error| self.violation(disk, &String::from(error)))
    }

    /// Opens the store of a disk, which must have one of these states. Returns the index of the
    /// state.
    pub(super) fn open_and_check(
        &self,
        disk: &SimulatedDisk,
        states: &[Oracle],
    ) -> Result<(Store, usize), String> {
        let store = self.open(disk)?;
        let found = self.check(disk, &store, states, false)?;
        Ok((store, found))
    }

    /// Cuts the power, and up to two more times while the store is opened again.
    pub(super) fn cut_power(&mut self, run: &mut Run) -> SimulatedDisk {
        self.count_power_cut();
        let mut disk = self.disk.power_cut();
        run.store = None;
        for _ in 0..self.random.random_range(0..3) {
            disk.power_off_at(self.random.random_range(0..50));
            // The result does not matter: the next open must succeed.
            let opened = open(&disk, &self.options);
            if disk.is_off() {
                self.count("power cuts during open");
            }
            let next = disk.power_cut();
            drop(opened);
            disk = next;
        }
        disk
    }

    /// Counts whether the power went off during a change of the disk or between two changes.
    pub(super) fn count_power_cut(&mut self) {
        let off = self.disk.is_off();
        self.count(if off { "power cuts during a change" } else { "power cuts between changes" });
    }

    /// Writes one more conversation, which must survive the worst power cut. Returns the disk after
    /// the cut and the state of its store.
    pub(super) fn check_writable(
        &self,
        store: Store,
        disk: &SimulatedDisk,
        mut state: Oracle,
    ) -> Result<(SimulatedDisk, Oracle), String> {
        let at = Timestamp::from_millis(1_737_900_000_000).unwrap_or(Timestamp::MIN);
        let id = ConversationId::new(Uuid::from_u128(999));
        let row = Conversation::new(id, assistants()[0], Channel::Widget, at);
        let step = Step::Write(vec![WriteOperation::Insert(user(0), row, Vec::new())]);
        step.apply(&mut state);
        let done = step.run(&store).and_then(|()| match self.durability {
            Durability::Deferred => store.clone().close(),
            Durability::Immediate => Ok(()),
        });
        done.map_err(|error| self.unexpected(disk, "write after recovery", &error))?;
        let last = disk.worst_power_cut();
        drop(store);
        let store = self.open(&last)?;
        self.check(disk, &store, std::slice::from_ref(&state), false)?;
        Ok((last, state))
    }
}
