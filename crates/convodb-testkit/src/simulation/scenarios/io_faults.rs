//! I/O faults of a disk that has power: one failing call at any position, and a full disk.

use std::time::{Duration, Instant};

use convodb::{
    Channel, Conversation, ConversationId, Durability, Error, Message, Role, Store, StoreOptions,
    StoreState, Timestamp,
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
use crate::simulation::runner::{
    RECOVERY_TIMEOUT, await_open, await_readable, open, random_options,
};
use crate::simulation::workload::{Step, WriteOperation, user, workload};

/// Seeds below this have short workloads, so that one trial for each kind of fault, once and
/// lasting, fits into the time of a build.
const SHORT_WORKLOADS: u64 = 14;

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
    run_without_fault(seed, fill_disk)
}

/// Runs a trial that limits the space of its disk itself.
fn run_without_fault(
    seed: u64,
    trial: fn(&mut FaultRun) -> Result<(), String>,
) -> Result<Counts, String> {
    let mut run = FaultRun::new(seed, Schedule::once(InjectedFault::DiskFull, u64::MAX));
    trial(&mut run).map_err(|violation| {
        format!("seed {seed}: {violation}\n{:?}\n{}", run.options, run.disk.trace())
    })?;
    Ok(run.counts)
}

fn fill_disk(run: &mut FaultRun) -> Result<(), String> {
    let mut store = run.open()?;
    run.step(&mut store, &Step::SetUp)?;
    let reported = run.random.random_bool(0.5);
    run.disk.limit_free_pages(run.random.random_range(0..60), reported);
    // The workload deletes what it inserts. These rows stay, until nothing more fits.
    let mut number = 0;
    while !write_to_full_disk(run, &store, &Step::Write(vec![large_insert(number)]))? {
        number += 1;
        if number > 1_000 {
            return Err("the disk is never full".to_owned());
        }
    }
    run.count("full disks");
    for step in run.steps.clone().into_iter().cycle().take(200) {
        if matches!(step, Step::Write(_)) {
            write_to_full_disk(run, &store, &step)?;
        }
    }
    run.disk.clear_faults();
    let operation = one_more_insert();
    accept_again(&store, &operation)?;
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
        await_readable(store)?;
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

/// An insert whose message takes several pages.
fn large_insert(number: u128) -> WriteOperation {
    let id = ConversationId::new(Uuid::from_u128(10_000 + number));
    let row = Conversation::new(id, assistants()[0], Channel::Widget, Timestamp::MIN);
    let message = Message::new(Role::User, "m".repeat(60_000), Timestamp::MIN);
    let message = message.unwrap_or_else(|_| unreachable!("60,000 characters are not too long"));
    WriteOperation::Insert(user(0), Conversation { message_count: 1, ..row }, vec![message])
}

fn one_more_insert() -> WriteOperation {
    let id = ConversationId::new(Uuid::from_u128(999));
    let row = Conversation::new(id, assistants()[0], Channel::Widget, Timestamp::MIN);
    WriteOperation::Insert(user(0), row, Vec::new())
}

/// How a disk refuses writes.
const REFUSALS: [InjectedFault; 5] = [
    InjectedFault::DiskFull,
    InjectedFault::Sync,
    InjectedFault::SyncDropsChanges,
    InjectedFault::ReadOnly,
    InjectedFault::Write,
];

/// Writes to a disk that at some point refuses writes, or syncs. From then on the store serves reads
/// and refuses writes at once, and so it does after a restart; closing it succeeds. When the disk
/// accepts writes again, so does the store, without a restart. No acknowledged write is lost.
///
/// # Errors
/// A violation.
pub fn refused_writes(seed: u64) -> Result<Counts, String> {
    let mut run = FaultRun::new(seed, Schedule::once(InjectedFault::DiskFull, u64::MAX));
    let fault = REFUSALS[usize::try_from(seed).unwrap_or(0) % REFUSALS.len()];
    refuse_writes(&mut run, fault).map_err(|violation| {
        format!("seed {seed}, {fault:?}: {violation}\n{:?}\n{}", run.options, run.disk.trace())
    })?;
    Ok(run.counts)
}

fn refuse_writes(run: &mut FaultRun, fault: InjectedFault) -> Result<(), String> {
    let mut store = run.open()?;
    run.step(&mut store, &Step::SetUp)?;
    let mut steps = run.steps.clone().into_iter().filter(|step| matches!(step, Step::Write(_)));
    for step in steps.by_ref().take(6) {
        run.step(&mut store, &step)?;
    }
    run.disk.inject(Schedule::lasting(fault, run.random.random_range(0..20)));
    let mut candidates = write_until_refused(run, &store)?;
    await_readable(&store)?;
    let found = reads_continue(run, &store, &mut candidates)?;

    // The process ends and another one starts while the disk refuses writes.
    store.close().map_err(|error| format!("close lost nothing, and failed: {error}"))?;
    store = open(&run.disk, &run.options)
        .map_err(|error| format!("open failed although the files can be read: {error}"))?;
    check_readable(&store, &candidates[found..=found])?;
    run.count(match store.state() {
        StoreState::ReadOnly => "read-only opens",
        _ => "opens that need no write",
    });

    run.disk.clear_faults();
    run.state = candidates[found].clone();
    let operation = one_more_insert();
    accept_again(&store, &operation)?;
    operation.apply(&mut run.state);
    run.check(&store)?;
    let disk = run.disk.worst_power_cut();
    drop(store);
    let store = open(&disk, &run.options).map_err(|error| error.to_string())?;
    run.check(&store)
}

/// Inserts until a write is refused. Returns the states that the store may have.
fn write_until_refused(run: &mut FaultRun, store: &Store) -> Result<Vec<Oracle>, String> {
    for number in 0..1_000 {
        let operation = large_insert(number);
        let mut after = run.state.clone();
        operation.apply(&mut after);
        match Step::Write(vec![operation]).run(store) {
            Ok(()) => run.state = after,
            Err(Error::CommitUnknown { .. }) => {
                run.count("writes with unknown outcome");
                return Ok(vec![run.state.clone(), after]);
            }
            Err(Error::WriteAborted { .. }) => {
                run.count("rejected writes");
                return Ok(vec![run.state.clone()]);
            }
            Err(error) => return Err(format!("a refused write: {error:?}")),
        }
    }
    Err("a disk that refuses writes accepts them".to_owned())
}

/// Reads for a while, and writes, which is refused. Returns which of the states the store has. The
/// outcome of one write may be unknown: if the first one failed before its sync.
fn reads_continue(
    run: &mut FaultRun,
    store: &Store,
    candidates: &mut Vec<Oracle>,
) -> Result<usize, String> {
    let mut unknown = candidates.len() > 1;
    let mut snapshot = store.snapshot();
    let mut found = None;
    let mut invalidated = 0;
    for _ in 0..run.random.random_range(4..12) {
        let began = Instant::now();
        // What the WAL has reserved is too small for it, too.
        let operation = large_insert(20_000);
        match Step::Write(vec![operation.clone()]).run(store) {
            Err(Error::WriteAborted { .. }) => {}
            Err(Error::CommitUnknown { .. }) if !unknown => {
                unknown = true;
                let mut after = candidates[0].clone();
                operation.apply(&mut after);
                candidates.push(after);
                await_readable(store)?;
                (snapshot, found) = (store.snapshot(), None);
            }
            written => return Err(format!("a disk that refuses writes: {written:?}")),
        }
        if began.elapsed() > RECOVERY_TIMEOUT {
            return Err("a refused write waited for the recovery".to_owned());
        }
        match check_state(&snapshot, &*candidates, false) {
            Ok(state) if found.is_none_or(|found| found == state) => found = Some(state),
            Ok(_) => return Err("the store changed although writes are refused".to_owned()),
            // A write of the log failed first, and then one of the tables.
            Err(CheckError::SnapshotInvalidated) if invalidated < 2 => {
                invalidated += 1;
                await_readable(store)?;
                snapshot = store.snapshot();
            }
            Err(error) => {
                return Err(format!("a read while writes are refused: {}", String::from(error)));
            }
        }
        std::thread::park_timeout(Duration::from_millis(run.random.random_range(0..4)));
    }
    await_readable(store)?;
    if store.state() != StoreState::ReadOnly {
        return Err(format!("the state is {:?} while writes are refused", store.state()));
    }
    run.count("reads while writes are refused");
    found.ok_or("no read succeeded while writes are refused".to_owned())
}

/// Checks the state of a store that a fault may make reopen its files, for which its snapshots are
/// invalidated, a few times at most.
fn check_readable(store: &Store, expected: &[Oracle]) -> Result<(), String> {
    for _ in 0..4 {
        match check_state(&store.snapshot(), expected, false) {
            Ok(_) => return Ok(()),
            Err(CheckError::SnapshotInvalidated) => await_readable(store)?,
            Err(error) => return Err(error.into()),
        }
    }
    Err("snapshots are invalidated again and again".to_owned())
}

/// Repeats a write until the store accepts it.
fn accept_again(store: &Store, operation: &WriteOperation) -> Result<(), String> {
    let since = Instant::now();
    while let Err(error) = Step::Write(vec![operation.clone()]).run(store) {
        if since.elapsed() > RECOVERY_TIMEOUT {
            return Err(format!("writes fail although the disk accepts them: {error}"));
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Ok(())
}

/// Others fill the disk to the last page, at any moment. Reads go on, and deletes succeed from the
/// reserve in the file, before and after a restart; what does not fit is refused. Once there is
/// space, writes are accepted without a restart, or a write that finds out.
///
/// # Errors
/// A violation.
pub fn filled_disk(seed: u64) -> Result<Counts, String> {
    run_without_fault(seed, delete_on_filled_disk)
}

fn delete_on_filled_disk(run: &mut FaultRun) -> Result<(), String> {
    let mut store = run.open()?;
    run.step(&mut store, &Step::SetUp)?;
    let rows = run.random.random_range(4..20);
    for number in 0..rows {
        run.step(&mut store, &Step::Write(vec![large_insert(number)]))?;
    }
    let reported = run.random.random_bool(0.5);
    run.disk.limit_free_pages(0, reported);
    for number in 0..rows {
        if number == rows / 2 {
            store.close().map_err(|error| format!("close on a filled disk: {error}"))?;
            store = open(&run.disk, &run.options)
                .map_err(|error| format!("open on a filled disk: {error}"))?;
        }
        let insert = Step::Write(vec![large_insert(1_000 + number)]);
        let mut after = run.state.clone();
        insert.apply(&mut after);
        match insert.run(&store) {
            Ok(()) => run.state = after,
            Err(error @ Error::WriteAborted { .. }) if error.is_storage_full() => {
                run.count("rejected writes");
                if store.state() != StoreState::ReadOnly {
                    return Err(format!("the state is {:?} on a filled disk", store.state()));
                }
            }
            Err(error) => return Err(format!("a write to a filled disk: {error:?}")),
        }
        run.check(&store)?;
        let id = ConversationId::new(Uuid::from_u128(10_000 + number));
        let delete = WriteOperation::Delete(user(0), id);
        Step::Write(vec![delete.clone()])
            .run(&store)
            .map_err(|error| format!("delete {number} of {rows} on a filled disk: {error:?}"))?;
        delete.apply(&mut run.state);
        run.count("accepted deletes");
        run.check(&store)?;
    }
    run.disk.clear_faults();
    // No write shows the store that there is space.
    await_open(&store)?;
    let operation = one_more_insert();
    accept_again(&store, &operation)?;
    operation.apply(&mut run.state);
    run.check(&store)?;
    let disk = run.disk.worst_power_cut();
    drop(store);
    let store = open(&disk, &run.options).map_err(|error| error.to_string())?;
    run.check(&store)
}
