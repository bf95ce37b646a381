//! Trials of a disk that has power and fails: at every call in turn, once or for a while; and one
//! that is full.

use std::time::{Duration, Instant};

use convodb::{Durability, Error, Snapshot, Store, StoreOptions, StoreState};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Counts;
use crate::oracle::Oracle;
use crate::simulation::checker::{CheckError, check_state};
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::fault::{InjectedFault, Schedule};
use crate::simulation::runner::{open, options};
use crate::simulation::workload::{Operation, Step, script};

/// How long a store may take to be well again once the disk is.
const HEALED_WITHIN: Duration = Duration::from_secs(20);

/// The workloads of seeds below are short: one for each fault, once and lasting, in a build's time.
const SHORT: u64 = 10;

/// One workload, and one kind of fault at the n-th call for every n until the workload passes without
/// it; the seed says which fault, and whether it lasts. Nothing that was acknowledged is lost, what
/// was refused is not there, readers see what is right or an error, and the store heals itself.
///
/// # Errors
/// A violation.
pub fn io_faults(seed: u64) -> Result<Counts, String> {
    let number = usize::try_from(seed).unwrap_or(0);
    let fault = InjectedFault::ALL[number % InjectedFault::ALL.len()];
    let lasts = (seed / InjectedFault::ALL.len() as u64) % 2 == 1;
    let mut counts = Counts::new();
    for after in 0.. {
        let schedule = match lasts {
            true => Schedule::lasting(fault, after),
            false => Schedule::once(fault, after),
        };
        let mut run = Run::new(seed, schedule.clone());
        if let Err(why) = run.play() {
            let (options, steps, trace) = (&run.options, &run.steps, run.disk.trace());
            return Err(format!(
                "seed {seed}, {schedule:?}: {why}\n{options:?}\n{steps:#?}\n{trace}"
            ));
        }
        *counts.entry("runs").or_default() += 1;
        for (what, count) in run.counts {
            *counts.entry(what).or_default() += count;
        }
        if !run.struck {
            break;
        }
    }
    Ok(counts)
}

/// A workload on a disk that fails.
struct Run {
    disk: SimulatedDisk,
    options: StoreOptions,
    steps: Vec<Step>,
    random: ChaCha8Rng,
    /// What the store holds.
    state: Oracle,
    set_up: bool,
    struck: bool,
    counts: Counts,
}

impl Run {
    fn new(seed: u64, schedule: Schedule) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = options(&mut random, Durability::Immediate);
        let steps = script(&mut random, if seed < SHORT { 8 } else { 24 });
        let disk = SimulatedDisk::new(random.random(), false);
        disk.fail(schedule);
        let (state, counts) = (Oracle::default(), Counts::new());
        Self { disk, options, steps, random, state, set_up: false, struck: false, counts }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The fault is over. An error where there was none.
    fn lift(&mut self, error: &Error) -> Result<(), String> {
        self.struck |= self.disk.lift();
        if self.struck { Ok(()) } else { Err(format!("a disk that is well gave: {error}")) }
    }

    /// Opens the store, which may meet the fault.
    fn open(&mut self) -> Result<Store, String> {
        match open(&self.disk, &self.options) {
            Ok(store) => Ok(store),
            Err(error) => {
                self.count("openings that failed");
                self.lift(&error)?;
                open(&self.disk, &self.options).map_err(|error| format!("no more opened: {error}"))
            }
        }
    }

    fn play(&mut self) -> Result<(), String> {
        let mut store = self.open()?;
        for step in self.steps.clone() {
            if matches!(step, Step::Restart) {
                if let Err(error) = store.close() {
                    self.count("closings that failed");
                    self.lift(&error)?;
                }
                store = self.open()?;
            } else {
                self.step(&mut store, &step)?;
            }
            if self.random.random_bool(0.3) {
                self.look(&store)?;
            }
        }
        self.struck |= self.disk.lift();
        await_open(&store)?;
        self.check(&store.snapshot())?;
        // Nothing was acknowledged that was not durable.
        let disk = self.disk.worst_cut();
        drop(store);
        let store = open(&disk, &self.options).map_err(|error| format!("after a cut: {error}"))?;
        self.check(&store.snapshot())
    }

    /// Runs a step until it is done or was in doubt.
    fn step(&mut self, store: &mut Store, step: &Step) -> Result<(), String> {
        let mut after = self.state.clone();
        step.apply(&mut after);
        for _ in 0..3 {
            let Err(error) = step.run(store) else {
                self.set_up |= matches!(step, Step::SetUp);
                self.state = after;
                return Ok(());
            };
            self.refused(store, &error)?;
            if self.random.random_bool(0.3) {
                // The process ends before the store has healed, and another one begins.
                let _ = store.clone().close();
                self.lift(&error)?;
                *store = self.open()?;
            } else {
                self.lift(&error)?;
            }
            await_open(store)?;
            let mut candidates = vec![self.state.clone()];
            if matches!(error, Error::CommitFailed { .. }) {
                self.count("writes in doubt");
                candidates.push(after.clone());
            } else {
                self.count("writes refused");
            }
            let snapshot = store.snapshot();
            let found = check_state(&snapshot, &candidates, !self.set_up).map_err(String::from)?;
            let there = snapshot.users().map_err(|error| error.to_string())?.len() == 2;
            if matches!(step, Step::SetUp) && there {
                self.set_up = true;
                return Ok(());
            }
            if matches!(error, Error::CommitFailed { .. }) && !matches!(step, Step::SetUp) {
                self.state = candidates.swap_remove(found);
                return Ok(());
            }
        }
        Err("a write is refused again and again by a disk that is well".to_owned())
    }

    /// While the fault lasts, writes are refused at once, and readers are told the truth.
    fn refused(&mut self, store: &Store, error: &Error) -> Result<(), String> {
        self.look_for(store, error)?;
        if store.state() == StoreState::Reopening {
            self.count("refused while reopening");
            let asked = Instant::now();
            let refused = Step::Write(Vec::new()).run(store);
            if asked.elapsed() > HEALED_WITHIN {
                return Err(format!("a write waited: {refused:?}"));
            }
        }
        Ok(())
    }

    /// A read that goes well is right. After an error, what was in doubt may be there or not.
    fn look_for(&mut self, store: &Store, error: &Error) -> Result<(), String> {
        if matches!(error, Error::CommitFailed { .. }) {
            return Ok(());
        }
        self.look(store)
    }

    fn look(&mut self, store: &Store) -> Result<(), String> {
        match check_state(&store.snapshot(), std::slice::from_ref(&self.state), !self.set_up) {
            Ok(_) => Ok(()),
            Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated)
                if self.disk.has_struck() || self.struck =>
            {
                self.count("reads that failed");
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    fn check(&self, snapshot: &Snapshot) -> Result<(), String> {
        let candidates = std::slice::from_ref(&self.state);
        check_state(snapshot, candidates, false).map(drop).map_err(String::from)
    }
}

/// Waits until the store takes writes.
pub(super) fn await_open(store: &Store) -> Result<(), String> {
    let since = Instant::now();
    while store.state() != StoreState::Open {
        if since.elapsed() > HEALED_WITHIN {
            return Err(format!("not healed: {:?}", store.state()));
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    Ok(())
}

/// A disk that has room for little more. Reads go on, writes are refused and say why, and once there
/// is room they go on by themselves; what was acknowledged is there.
///
/// # Errors
/// A violation.
pub fn full_disk(seed: u64) -> Result<Counts, String> {
    let mut run = Run::new(seed, Schedule::once(InjectedFault::Full, u64::MAX));
    let filled = fill(&mut run);
    filled.map_err(|why| format!("seed {seed}: {why}\n{:?}\n{}", run.options, run.disk.trace()))?;
    Ok(run.counts)
}

fn fill(run: &mut Run) -> Result<(), String> {
    let mut store = run.open()?;
    run.step(&mut store, &Step::SetUp)?;
    // A store keeps a thousand pages free, if it is told how many there are.
    let tells = run.random.random_bool(0.5);
    let pages = run.random.random_range(0..60) + if tells { 1_000 } else { 0 };
    run.disk.leave_room(pages, tells);
    let mut full = false;
    for step in run.steps.clone().into_iter().cycle().take(200) {
        if matches!(step, Step::Write(_)) {
            full |= write_on_a_full_disk(run, &store, &step)?;
        }
    }
    run.count(if full { "disks that were full" } else { "disks that had room" });
    run.disk.lift();
    await_open(&store)?;
    let since = Instant::now();
    let (row, step) = extra();
    while let Err(error) = step.run(&store) {
        if since.elapsed() > HEALED_WITHIN {
            return Err(format!("writes do not go on: {error}"));
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    row.apply(&mut run.state);
    run.check(&store.snapshot())?;
    store.close().map_err(|error| error.to_string())?;
    store = run.open()?;
    run.check(&store.snapshot())
}

/// Tells whether the disk was full.
fn write_on_a_full_disk(run: &mut Run, store: &Store, step: &Step) -> Result<bool, String> {
    let removes = matches!(step, Step::Write(operations)
        if operations.iter().all(|one| matches!(one, Operation::Delete(..))));
    let mut after = run.state.clone();
    step.apply(&mut after);
    let Err(error) = step.run(store) else {
        run.count(if removes { "deletes done" } else { "writes done" });
        run.state = after;
        return Ok(false);
    };
    if error.io_kind() != std::io::ErrorKind::StorageFull {
        return Err(format!("a full disk gave: {error:?}"));
    }
    run.count(if removes { "deletes refused" } else { "writes refused" });
    let mut candidates = vec![run.state.clone()];
    if matches!(error, Error::CommitFailed { .. }) {
        candidates.push(after);
    }
    // Room or not, the files can be opened and read. On a disk that does not tell its room, a
    // checkpoint may find none while this looks.
    let since = Instant::now();
    let found = loop {
        await_open(store)?;
        match check_state(&store.snapshot(), &candidates, false) {
            Ok(found) => break found,
            Err(CheckError::SnapshotInvalidated) if since.elapsed() < HEALED_WITHIN => {
                run.count("snapshots lost");
            }
            Err(fault) => return Err(fault.into()),
        }
    };
    run.state = candidates.swap_remove(found);
    Ok(true)
}

fn extra() -> (Operation, Step) {
    let at = convodb::Timestamp::MIN;
    let id = convodb::ConversationId::new(uuid::Uuid::from_u128(999));
    let assistant = crate::generators::assistants()[0];
    let row = convodb::Conversation::new(id, assistant, convodb::Channel::Widget, at);
    let insert = Operation::Insert(crate::simulation::workload::user(0), row, Vec::new());
    (insert.clone(), Step::Write(vec![insert]))
}
