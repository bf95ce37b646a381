//! I/O faults of a disk that has power: one failing call at any position, and a full disk.

use std::time::{Duration, Instant};

use convodb::{
    Channel, Conversation, ConversationId, Durability, Error, Store, StoreOptions, StoreState,
    Timestamp,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::Counts;
use crate::generators::assistants;
use crate::oracle::Oracle;
use crate::simulation::checker::{CheckError, check_state};
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::fault::{InjectedFault, Schedule};
use crate::simulation::runner::{RECOVERY_TIMEOUT, await_open, open, random_options};
use crate::simulation::workload::{Step, WriteOperation, user, workload};

/// Seeds below this have short workloads, so that one trial for each kind of fault, once and
/// lasting, fits into the time of a build.
const SHORT_WORKLOADS: u64 = 10;

/// Runs a workload again and again, with one fault at the n-th call for every n, until it ends
/// before the fault occurs. The seed selects the kind of fault, and whether it lasts. No
/// acknowledged write is lost, rejected writes leave nothing, reads return correct data or an
/// error, and the store recovers by itself.
///
/// # Errors
/// A violation.
pub fn io_faults(seed: u64) -> Result<Counts, String> {
    let number = usize::try_from(seed).unwrap_or(0);
    let fault = InjectedFault::ALL[number % InjectedFault::ALL.len()];
    let lasts = (seed / InjectedFault::ALL.len() as u64) % 2 == 1;
    let mut counts = Counts::new();
    for skipped_calls in 0.. {
        let schedule = match lasts {
            true => Schedule::lasting(fault, skipped_calls),
            false => Schedule::once(fault, skipped_calls),
        };
        let mut run = FaultRun::new(seed, schedule.clone());
        if let Err(violation) = run.run() {
            return Err(format!(
                "seed {seed}, {schedule:?}: {violation}\n{:?}\n{:#?}\n{}",
                run.options,
                run.steps,
                run.disk.trace()
            ));
        }
        *counts.entry("runs").or_default() += 1;
        for (outcome, count) in run.counts {
            *counts.entry(outcome).or_default() += count;
        }
        if !run.fault_occurred {
            break;
        }
    }
    Ok(counts)
}

/// A workload on a disk with an injected fault.
struct FaultRun {
    disk: SimulatedDisk,
    options: StoreOptions,
    steps: Vec<Step>,
    random: ChaCha8Rng,
    /// The expected state of the store.
    state: Oracle,
    /// Whether the users exist.
    set_up: bool,
    fault_occurred: bool,
    counts: Counts,
}

impl FaultRun {
    fn new(seed: u64, schedule: Schedule) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let options = random_options(&mut random, Durability::Immediate);
        let steps = workload(&mut random, if seed < SHORT_WORKLOADS { 8 } else { 24 });
        let disk = SimulatedDisk::new(random.random());
        disk.inject(schedule);
        Self {
            disk,
            options,
            steps,
            random,
            state: Oracle::default(),
            set_up: false,
            fault_occurred: false,
            counts: Counts::new(),
        }
    }

    fn count(&mut self, outcome: &'static str) {
        *self.counts.entry(outcome).or_default() += 1;
    }

    /// Ends the fault. An error is a violation if no fault occurred.
    fn clear_fault(&mut self, error: &Error) -> Result<(), String> {
        self.fault_occurred |= self.disk.clear_faults();
        match self.fault_occurred {
            true => Ok(()),
            false => Err(format!("error on a working disk: {error}")),
        }
    }

    /// Opens the store. If that fails, opens it again without the fault.
    fn open(&mut self) -> Result<Store, String> {
        match open(&self.disk, &self.options) {
            Ok(store) => Ok(store),
            Err(error) => {
                self.count("failed opens");
                self.clear_fault(&error)?;
                open(&self.disk, &self.options)
                    .map_err(|error| format!("open failed after the fault ended: {error}"))
            }
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut store = self.open()?;
        for step in self.steps.clone() {
            if matches!(step, Step::Restart) {
                if let Err(error) = store.close() {
                    self.count("failed closes");
                    self.clear_fault(&error)?;
                }
                store = self.open()?;
            } else {
                self.step(&mut store, &step)?;
            }
            if self.random.random_bool(0.3) {
                self.check_reads(&store)?;
            }
        }
        self.fault_occurred |= self.disk.clear_faults();
        await_open(&store)?;
        self.check(&store)?;
        // All acknowledged writes must be durable.
        let disk = self.disk.worst_power_cut();
        drop(store);
        let store = open(&disk, &self.options)
            .map_err(|error| format!("open failed after a power cut: {error}"))?;
        self.check(&store)
    }

    /// Runs a step until it succeeds or its outcome is unknown.
    fn step(&mut self, store: &mut Store, step: &Step) -> Result<(), String> {
        let mut after = self.state.clone();
        step.apply(&mut after);
        for _ in 0..3 {
            let Err(error) = step.run(store) else {
                self.set_up |= matches!(step, Step::SetUp);
                self.state = after;
                return Ok(());
            };
            let unknown = matches!(error, Error::CommitUnknown { .. });
            self.check_after_error(store, unknown)?;
            if self.random.random_bool(0.3) {
                // The process ends before the store has recovered, and another one starts.
                let _ = store.clone().close();
                self.clear_fault(&error)?;
                *store = self.open()?;
            } else {
                self.clear_fault(&error)?;
            }
            await_open(store)?;
            let mut candidates = vec![self.state.clone()];
            if unknown {
                self.count("writes with unknown outcome");
                candidates.push(after.clone());
            } else {
                self.count("rejected writes");
            }
            let snapshot = store.snapshot();
            let found = check_state(&snapshot, &candidates, !self.set_up).map_err(String::from)?;
            let users = snapshot.users().map_err(|error| error.to_string())?.len();
            if matches!(step, Step::SetUp) && users == 2 {
                self.set_up = true;
                return Ok(());
            }
            if unknown && !matches!(step, Step::SetUp) {
                self.state = candidates.swap_remove(found);
                return Ok(());
            }
        }
        Err("a working disk rejects the same write three times".to_owned())
    }

    /// While the fault lasts, writes fail at once, and reads return correct data or an error. Skips
    /// the reads if the outcome of the last write is unknown, because its data may exist or not.
    fn check_after_error(&mut self, store: &Store, unknown: bool) -> Result<(), String> {
        if !unknown {
            self.check_reads(store)?;
        }
        if store.state() == StoreState::Reopening {
            self.count("writes rejected while reopening");
            let began = Instant::now();
            let rejected = Step::Write(Vec::new()).run(store);
            if began.elapsed() > RECOVERY_TIMEOUT {
                return Err(format!("a write waited for the recovery: {rejected:?}"));
            }
        }
        Ok(())
    }

    /// Successful reads return correct data. Reads may fail only after the fault has occurred.
    fn check_reads(&mut self, store: &Store) -> Result<(), String> {
        match check_state(&store.snapshot(), std::slice::from_ref(&self.state), !self.set_up) {
            Ok(_) => Ok(()),
            Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated)
                if self.disk.fault_has_occurred() || self.fault_occurred =>
            {
                self.count("failed reads");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check(&self, store: &Store) -> Result<(), String> {
        let candidates = std::slice::from_ref(&self.state);
        check_state(&store.snapshot(), candidates, false).map(drop).map_err(String::from)
    }
}

/// Writes to a disk with little free space. Reads succeed, and writes fail with `StorageFull`. Once
/// there is space, writes succeed again without a restart. No acknowledged write is lost.
///
/// # Errors
/// A violation.
pub fn full_disk(seed: u64) -> Result<Counts, String> {
    let mut run = FaultRun::new(seed, Schedule::once(InjectedFault::DiskFull, u64::MAX));
    fill_disk(&mut run).map_err(|violation| {
        format!("seed {seed}: {violation}\n{:?}\n{}", run.options, run.disk.trace())
    })?;
    Ok(run.counts)
}

fn fill_disk(run: &mut FaultRun) -> Result<(), String> {
    let mut store = run.open()?;
    run.step(&mut store, &Step::SetUp)?;
    // A store reserves a thousand pages if it can query the free space.
    let reported = run.random.random_bool(0.5);
    let pages = run.random.random_range(0..60) + if reported { 1_000 } else { 0 };
    run.disk.limit_free_pages(pages, reported);
    let mut full = false;
    for step in run.steps.clone().into_iter().cycle().take(200) {
        if matches!(step, Step::Write(_)) {
            full |= write_to_full_disk(run, &store, &step)?;
        }
    }
    run.count(if full { "full disks" } else { "disks with enough space" });
    run.disk.clear_faults();
    await_open(&store)?;
    let since = Instant::now();
    let operation = one_more_insert();
    let step = Step::Write(vec![operation.clone()]);
    while let Err(error) = step.run(&store) {
        if since.elapsed() > RECOVERY_TIMEOUT {
            return Err(format!("writes fail although the disk has space: {error}"));
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    operation.apply(&mut run.state);
    run.check(&store)?;
    store.close().map_err(|error| error.to_string())?;
    store = run.open()?;
    run.check(&store)
}

/// Runs a step. Returns whether the disk was full.
fn write_to_full_disk(run: &mut FaultRun, store: &Store, step: &Step) -> Result<bool, String> {
    let deletes = matches!(step, Step::Write(operations)
        if operations.iter().all(|one| matches!(one, WriteOperation::Delete(..))));
    let mut after = run.state.clone();
    step.apply(&mut after);
    let Err(error) = step.run(store) else {
        run.count(if deletes { "accepted deletes" } else { "accepted writes" });
        run.state = after;
        return Ok(false);
    };
    if error.io_kind() != std::io::ErrorKind::StorageFull {
        return Err(format!("expected StorageFull, got {error:?}"));
    }
    run.count(if deletes { "rejected deletes" } else { "rejected writes" });
    let mut candidates = vec![run.state.clone()];
    if matches!(error, Error::CommitUnknown { .. }) {
        candidates.push(after);
    }
    // Opening and reading need no space. If the disk does not report its free space, a checkpoint
    // may fail during the check, which invalidates the snapshot.
    let since = Instant::now();
    let found = loop {
        await_open(store)?;
        match check_state(&store.snapshot(), &candidates, false) {
            Ok(found) => break found,
            Err(CheckError::SnapshotInvalidated) if since.elapsed() < RECOVERY_TIMEOUT => {
                run.count("invalidated snapshots");
            }
            Err(error) => return Err(error.into()),
        }
    };
    run.state = candidates.swap_remove(found);
    Ok(true)
}

fn one_more_insert() -> WriteOperation {
    let id = ConversationId::new(Uuid::from_u128(999));
    let row = Conversation::new(id, assistants()[0], Channel::Widget, Timestamp::MIN);
    WriteOperation::Insert(user(0), row, Vec::new())
}
