//! Maintenance under failures: compaction, backup during writes, and restore.
//!
//! The power goes off, a call fails, or syncs are dropped during the operation. Afterwards the
//! store contains exactly the acknowledged writes, whether the old or the new file has its name. A
//! backup or a restored store that has its final name is complete.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use convodb::vfs::Vfs;
use convodb::{
    BackupReport, ChecksumPolicy, CompactReport, Durability, Error, MaintenanceOptions, Store,
    StoreOptions, checksum_path, compact_with, restore_with,
};
use rand::RngExt;

use super::Counts;
use crate::oracle::Oracle;
use crate::simulation::checker::{CheckError, check_state};
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::fault::{InjectedFault, Schedule};
use crate::simulation::runner::{
    OldestState, PATH, Run, Trial, await_open, open, open_at, require_power_off, run_workload,
};
use crate::simulation::workload::{Step, workload};

/// The path of backups.
const BACKUP: &str = "/backup";
/// The path to which backups are restored for a check.
const RESTORED: &str = "/restored";

/// Cuts the power during any change of a compaction, and up to two more times while the store is
/// opened or compacted again. The store is unchanged and accepts writes, and the next compaction
/// removes leftover files.
///
/// # Errors
/// A violation.
pub fn compaction_power_cut(seed: u64) -> Result<Counts, String> {
    let (undisturbed, _) = trial_with_store(seed)?;
    let changes = undisturbed.count_changes("compaction", |disk| compact(disk).map(drop))?;

    let (mut trial, state) = trial_with_store(seed)?;
    trial.power_off_within(changes);
    let compacted = compact(&trial.disk);
    trial.check_power_cut("compaction", &compacted)?;
    let disk = trial.disk.power_cut();
    if let Ok(report) = &compacted {
        trial.check_compacted_file(&disk, report)?;
    }
    let disk = trial.cut_power_again(disk, changes, |disk, compacts| match compacts {
        true => compact(disk).map(drop),
        false => Ok(()),
    })?;
    let (store, _) = trial.open_and_check(&disk, std::slice::from_ref(&state))?;
    let (disk, state) = trial.check_writable(store, &disk, state)?;
    trial.check_compaction(&disk, &state)?;
    Ok(trial.counts)
}

/// Cuts the power during any change of a backup with concurrent writes. The store contains the
/// acknowledged writes; the backup is missing, or complete and of the moment of its snapshot.
///
/// # Errors
/// A violation.
pub fn backup_power_cut(seed: u64) -> Result<Counts, String> {
    let (mut undisturbed, state) = trial_with_store(seed)?;
    let writes = BackupWrites::new(&mut undisturbed);
    let before = undisturbed.disk.changes();
    back_up_during_writes(&undisturbed, &state, &writes)?;
    let changes = undisturbed.disk.changes() - before;

    let (mut trial, state) = trial_with_store(seed)?;
    let writes = BackupWrites::new(&mut trial);
    trial.power_off_within(changes);
    let mut backed_up = back_up_during_writes(&trial, &state, &writes)?;
    if let Some(backup) = &backed_up.backup {
        trial.check_power_cut("backup", backup)?;
    }
    let disk = trial.cut_power_again(trial.disk.power_cut(), changes, |_, _| Ok(()))?;
    backed_up.run.store = None;
    let mut candidates = backed_up.run.candidates;
    let (store, found) = trial.open_and_check(&disk, &candidates)?;
    let (disk, _) = trial.check_writable(store, &disk, candidates.swap_remove(found))?;
    let complete = trial.check_backup(&disk, &state)?;
    trial.count(if complete { "complete backups" } else { "missing backups" });
    if matches!(backed_up.backup, Some(Ok(_))) && !complete {
        return Err(trial.violation(&disk, "a finished backup is missing"));
    }
    Ok(trial.counts)
}

/// Cuts the power during any change of a restore, and up to two more times while the result is
/// opened or the backup restored again. There is no store, or a complete one; the backup is
/// unchanged.
///
/// # Errors
/// A violation.
pub fn restore_power_cut(seed: u64) -> Result<Counts, String> {
    let (undisturbed, _) = trial_with_backup(seed)?;
    let changes = undisturbed.count_changes("restore", restore)?;

    let (mut trial, state) = trial_with_backup(seed)?;
    trial.power_off_within(changes);
    let restored = restore(&trial.disk);
    trial.check_power_cut("restore", &restored)?;
    let disk =
        trial.cut_power_again(trial.disk.power_cut(), changes, |disk, _| {
            match has_store(disk) {
                Ok(false) => restore(disk),
                _ => Ok(()),
            }
        })?;
    let existed = trial.check_restored(&disk, &state)?;
    trial.count(if existed { "restored stores" } else { "missing stores" });
    if restored.is_ok() && !existed {
        return Err(trial.violation(&disk, "a restored store is missing"));
    }
    Ok(trial.counts)
}

/// Injects one fault at any call of a compaction, a backup or a restore; the seed selects both. The
/// operation succeeds or returns an error. The store is unchanged, then and after the worst power
/// cut; files with a final name are complete; and the operation can be repeated.
///
/// # Errors
/// A violation.
pub fn maintenance_io_fault(seed: u64) -> Result<Counts, String> {
    let faults = InjectedFault::ALL;
    let fault = faults[usize::try_from(seed / 3).unwrap_or(0) % faults.len()];
    match seed % 3 {
        0 => compaction_fault(seed, fault),
        1 => backup_fault(seed, fault),
        _ => restore_fault(seed, fault),
    }
}

fn compaction_fault(seed: u64, fault: InjectedFault) -> Result<Counts, String> {
    let (undisturbed, _) = trial_with_store(seed)?;
    let calls = undisturbed.count_calls(fault, || compact(&undisturbed.disk).map(drop))?;
    let (mut trial, state) = trial_with_store(seed)?;
    trial.inject_within(fault, calls);
    let compacted = compact(&trial.disk).map(drop);
    trial.clear_fault("compaction", &compacted)?;
    let states = std::slice::from_ref(&state);
    let (store, _) = trial.open_and_check(&trial.disk, states)?;
    let disk = trial.disk.worst_power_cut();
    drop(store);
    let (store, _) = trial.open_and_check(&disk, states)?;
    let (disk, state) = trial.check_writable(store, &disk, state)?;
    trial.check_compaction(&disk, &state)?;
    Ok(trial.counts)
}

fn backup_fault(seed: u64, fault: InjectedFault) -> Result<Counts, String> {
    let (undisturbed, _) = trial_with_store(seed)?;
    let store = undisturbed.open(&undisturbed.disk)?;
    let calls = undisturbed.count_calls(fault, || back_up(&store, &undisturbed.disk))?;
    let (mut trial, state) = trial_with_store(seed)?;
    let store = trial.open(&trial.disk)?;
    trial.inject_within(fault, calls);
    let backed_up = back_up(&store, &trial.disk);
    trial.clear_fault("backup", &backed_up)?;
    // The store recovers from a failed read, as in all other cases.
    await_open(&store).map_err(|violation| trial.violation(&trial.disk, &violation))?;
    let states = std::slice::from_ref(&state);
    trial.check(&trial.disk, &store, states, false)?;
    let backup = Path::new(BACKUP);
    let left = exists(&trial.disk, backup)? || exists(&trial.disk, &checksum_path(backup))?;
    if backed_up.is_err() && left {
        return Err(trial.violation(&trial.disk, "a failed backup left files"));
    }
    let disk = trial.disk.worst_power_cut();
    drop(store);
    let (store, _) = trial.open_and_check(&disk, states)?;
    drop(store);
    let complete = trial.check_backup(&disk, &state)?;
    if backed_up.is_ok() && !complete {
        return Err(trial.violation(&disk, "a finished backup is missing"));
    }
    Ok(trial.counts)
}

fn restore_fault(seed: u64, fault: InjectedFault) -> Result<Counts, String> {
    let (undisturbed, _) = trial_with_backup(seed)?;
    let calls = undisturbed.count_calls(fault, || restore(&undisturbed.disk))?;
    let (mut trial, state) = trial_with_backup(seed)?;
    trial.inject_within(fault, calls);
    let restored = restore(&trial.disk);
    trial.clear_fault("restore", &restored)?;
    if has_store(&trial.disk)? {
        trial.open_and_check(&trial.disk, std::slice::from_ref(&state))?;
    }
    let disk = trial.disk.worst_power_cut();
    let existed = trial.check_restored(&disk, &state)?;
    if restored.is_ok() && !existed {
        return Err(trial.violation(&disk, "a restored store is missing"));
    }
    Ok(trial.counts)
}

/// From some change of a compaction, a backup or a restore on, the disk drops syncs; then the power
/// is cut. A store with `check_on_open` has one of its earlier states, or reports the damage. A
/// backup with its checksum is complete, or cannot be restored.
///
/// # Errors
/// A violation.
pub fn maintenance_lost_sync(seed: u64) -> Result<Counts, String> {
    let operation: fn(&SimulatedDisk) -> Result<(), Error> = match seed % 3 {
        0 => |disk| compact(disk).map(drop),
        1 => open_and_back_up,
        _ => restore,
    };
    let has_store_before = seed % 3 < 2;
    let new_trial = |seed| match has_store_before {
        true => trial_with_states(seed, OldestState::Any),
        false => trial_with_backup(seed).map(|(trial, state)| (trial, vec![state])),
    };
    let (undisturbed, _) = new_trial(seed)?;
    let changes = undisturbed.count_changes("maintenance", operation)?;

    let (mut trial, states) = new_trial(seed)?;
    trial.options = trial.options.check_on_open(true);
    let dropped_from = trial.random.random_range(0..changes);
    trial.disk.drop_syncs_from(dropped_from);
    trial.disk.power_off_at(trial.random.random_range(dropped_from..=changes));
    if let Err(error) = operation(&trial.disk) {
        require_power_off(&trial.disk, "maintenance", &error)
            .map_err(|violation| trial.violation(&trial.disk, &violation))?;
    }
    let disk = trial.disk.power_cut();
    if has_store(&disk)? {
        trial.check_state_or_damage(&disk, PATH, &states)?;
    } else if has_store_before {
        return Err(trial.violation(&disk, "the store is missing"));
    }
    let backup = Path::new(BACKUP);
    if exists(&disk, backup)? && exists(&disk, &checksum_path(backup))? {
        match restore_to(&disk, RESTORED, ChecksumPolicy::Required) {
            Ok(()) => trial.check_state_or_damage(&disk, RESTORED, &states[states.len() - 1..])?,
            Err(_) => trial.count("damage reported by restore"),
        }
    }
    Ok(trial.counts)
}

/// A trial whose disk has a store, either closed or after a power cut, and the state of the store.
fn trial_with_store(seed: u64) -> Result<(Trial, Oracle), String> {
    let (trial, mut states) = trial_with_states(seed, OldestState::Acknowledged)?;
    Ok((trial, states.pop().unwrap_or_default()))
}

/// As [`trial_with_store`], with the earlier states to which the store may return.
fn trial_with_states(seed: u64, oldest: OldestState) -> Result<(Trial, Vec<Oracle>), String> {
    let mut trial = Trial::new(seed, Durability::Immediate);
    let run = run_workload(&trial.disk, &trial.options, &trial.steps, oldest);
    let mut run = run.map_err(|violation| trial.violation(&trial.disk, &violation))?;
    if let Some(store) = run.store.take() {
        if trial.random.random() {
            store.close().map_err(|error| trial.unexpected(&trial.disk, "close", &error))?;
        } else {
            trial.disk = trial.disk.power_cut();
        }
    }
    Ok((trial, run.candidates))
}

/// As [`trial_with_store`], but the store exists only as a backup.
fn trial_with_backup(seed: u64) -> Result<(Trial, Oracle), String> {
    let (trial, state) = trial_with_store(seed)?;
    let store = trial.open(&trial.disk)?;
    back_up(&store, &trial.disk)
        .and_then(|()| store.close())
        .map_err(|error| trial.unexpected(&trial.disk, "backup", &error))?;
    let removed = file_names(&trial.disk).and_then(|names| {
        for path in names.iter().filter(|path| path.to_string_lossy().starts_with(PATH)) {
            trial.disk.remove(path)?;
        }
        Ok(trial.disk.sync_directory(Path::new("/"))?)
    });
    removed.map_err(|error| trial.unexpected(&trial.disk, "removal of the store", &error))?;
    Ok((trial, state))
}

fn options_on<'a>(disk: &SimulatedDisk) -> MaintenanceOptions<'a> {
    MaintenanceOptions::new().vfs(Arc::new(disk.clone()))
}

fn compact(disk: &SimulatedDisk) -> Result<CompactReport, Error> {
    compact_with(PATH, options_on(disk))
}

fn back_up(store: &Store, disk: &SimulatedDisk) -> Result<(), Error> {
    store.snapshot().backup_with(BACKUP, options_on(disk)).map(drop)
}

/// Opens the store, backs it up, and closes it.
fn open_and_back_up(disk: &SimulatedDisk) -> Result<(), Error> {
    let store = open(disk, &StoreOptions::new())?;
    back_up(&store, disk)?;
    store.close()
}

/// Restores the backup to the path of the store.
fn restore(disk: &SimulatedDisk) -> Result<(), Error> {
    restore_to(disk, PATH, ChecksumPolicy::Required)
}

fn restore_to(disk: &SimulatedDisk, target: &str, checksum: ChecksumPolicy) -> Result<(), Error> {
    let verified = restore_with(BACKUP, target, options_on(disk).checksum(checksum))?;
    match verified.is_clean() {
        true => Ok(()),
        false => Err(Error::Storage(format!("restored store has {:?}", verified.findings))),
    }
}

fn file_names(disk: &SimulatedDisk) -> Result<Vec<PathBuf>, Error> {
    Ok(disk.list(Path::new("/"))?)
}

fn exists(disk: &SimulatedDisk, path: &Path) -> Result<bool, String> {
    disk.exists(path).map_err(|error| error.to_string())
}

fn has_store(disk: &SimulatedDisk) -> Result<bool, String> {
    exists(disk, Path::new(PATH))
}

/// Writes before, during and after a backup.
struct BackupWrites {
    before: Vec<Step>,
    during: Vec<Step>,
    after: Vec<Step>,
}

impl BackupWrites {
    fn new(trial: &mut Trial) -> Self {
        let mut writes = |max_steps| {
            let mut steps = workload(&mut trial.random, max_steps);
            steps.retain(|step| !matches!(step, Step::SetUp | Step::Restart));
            steps
        };
        Self { before: writes(4), during: writes(2), after: writes(4) }
    }
}

/// The results of a backup during writes.
struct BackedUp {
    /// The store, and the states that it may have.
    run: Run,
    /// The result of the backup, or `None` if the store could not be opened.
    backup: Option<Result<BackupReport, Error>>,
}

/// Opens the store, takes a snapshot, and backs it up while writes run.
///
/// # Errors
/// An operation failed while the power was on.
fn back_up_during_writes(
    trial: &Trial,
    state: &Oracle,
    writes: &BackupWrites,
) -> Result<BackedUp, String> {
    let disk = &trial.disk;
    let mut run = Run::from_state(state.clone());
    match open(disk, &trial.options) {
        Ok(store) => run.store = Some(store),
        Err(_) if disk.is_off() => return Ok(BackedUp { run, backup: None }),
        Err(error) => return Err(trial.unexpected(disk, "open", &error)),
    }
    let snapshot = run.store.as_ref().map(Store::snapshot);
    let mut acknowledged = Ok(true);
    let mut write = |steps: &[Step]| {
        for step in steps {
            if matches!(acknowledged, Ok(true)) {
                acknowledged = run.run_step(disk, step, OldestState::Acknowledged);
            }
        }
    };
    write(&writes.before);
    let backup = snapshot.map(|snapshot| {
        let progress = |done, _| {
            if done == 0 {
                write(&writes.during);
            }
        };
        snapshot.backup_with(BACKUP, options_on(disk).progress(progress))
    });
    write(&writes.after);
    acknowledged.map_err(|violation| trial.violation(disk, &violation))?;
    Ok(BackedUp { run, backup })
}

impl Trial {
    /// The number of changes of an undisturbed operation.
    fn count_changes(
        &self,
        name: &str,
        operation: impl FnOnce(&SimulatedDisk) -> Result<(), Error>,
    ) -> Result<u64, String> {
        let before = self.disk.changes();
        operation(&self.disk).map_err(|error| self.unexpected(&self.disk, name, &error))?;
        Ok(self.disk.changes() - before)
    }

    /// The number of calls of an undisturbed operation that a fault affects.
    fn count_calls(
        &self,
        fault: InjectedFault,
        operation: impl FnOnce() -> Result<(), Error>,
    ) -> Result<u64, String> {
        self.disk.inject(Schedule::once(fault, u64::MAX));
        operation().map_err(|error| self.unexpected(&self.disk, "maintenance", &error))?;
        Ok(self.disk.affected_calls())
    }

    /// Sets the power to go off at one of the next `changes` changes, or after the last. The last
    /// changes are more likely, because files get their names there.
    fn power_off_within(&mut self, changes: u64) {
        let last = [10, 40, changes][self.random.random_range(0..3)].min(changes);
        self.disk.power_off_at(self.random.random_range(changes - last..=changes));
    }

    /// Makes one of the next `calls` affected calls fail.
    fn inject_within(&mut self, fault: InjectedFault, calls: u64) {
        let skipped_calls = self.random.random_range(0..calls.max(1));
        self.disk.inject(Schedule::once(fault, skipped_calls));
    }

    /// Checks that an operation failed only because the power went off.
    fn check_power_cut<T>(&mut self, name: &str, result: &Result<T, Error>) -> Result<(), String> {
        self.count_power_cut();
        match result {
            Ok(_) => Ok(()),
            Err(error) => require_power_off(&self.disk, name, error)
                .map_err(|violation| self.violation(&self.disk, &violation)),
        }
    }

    /// Ends the fault, and checks that the operation failed only if the fault occurred.
    fn clear_fault(&mut self, name: &str, result: &Result<(), Error>) -> Result<(), String> {
        let occurred = self.disk.clear_faults();
        self.count(match (occurred, result.is_ok()) {
            (false, _) => "faults that did not occur",
            (true, true) => "harmless faults",
            (true, false) => "reported faults",
        });
        match result {
            Err(error) if !occurred => Err(self.unexpected(&self.disk, name, error)),
            _ => Ok(()),
        }
    }

    /// Cuts the power up to two more times while `retry` runs, with a random `bool`, and then the
    /// store is opened if it exists.
    fn cut_power_again(
        &mut self,
        mut disk: SimulatedDisk,
        changes: u64,
        retry: impl Fn(&SimulatedDisk, bool) -> Result<(), Error>,
    ) -> Result<SimulatedDisk, String> {
        for _ in 0..self.random.random_range(0..3) {
            disk.power_off_at(self.random.random_range(0..=changes));
            let choice = self.random.random();
            let opened = retry(&disk, choice).and_then(|()| match has_store(&disk) {
                Ok(true) => open(&disk, &self.options).map(Some),
                _ => Ok(None::<Store>),
            });
            if disk.is_off() {
                self.count("repeated power cuts");
            }
            if let Err(error) = &opened {
                require_power_off(&disk, "retry after a power cut", error)
                    .map_err(|violation| self.violation(&disk, &violation))?;
            }
            let next = disk.power_cut();
            drop(opened);
            disk = next;
        }
        Ok(disk)
    }

    /// Checks that a compaction succeeds, leaves one file, and changes no data.
    fn check_compaction(&self, disk: &SimulatedDisk, state: &Oracle) -> Result<(), String> {
        let report = compact(disk).map_err(|error| self.unexpected(disk, "compaction", &error))?;
        let disk = disk.worst_power_cut();
        self.check_compacted_file(&disk, &report)?;
        self.open_and_check(&disk, std::slice::from_ref(state)).map(drop)
    }

    /// Checks that only the new file exists.
    fn check_compacted_file(
        &self,
        disk: &SimulatedDisk,
        report: &CompactReport,
    ) -> Result<(), String> {
        let found = file_names(disk).and_then(|names| Ok((disk.size(Path::new(PATH))?, names)));
        let (size, names) = found.map_err(|error| self.unexpected(disk, "list", &error))?;
        if names != [Path::new(PATH)] || size != report.bytes_after {
            let found = format!("{report:?}, but the files are {names:?}, the store has {size} B");
            return Err(self.violation(disk, &found));
        }
        Ok(())
    }

    /// Checks a backup that has its final name: it is complete, and matches its checksum if there
    /// is one. Without a backup, checks that one can be made. Returns whether both files existed.
    fn check_backup(&self, disk: &SimulatedDisk, state: &Oracle) -> Result<bool, String> {
        let backup = Path::new(BACKUP);
        let checksum = match exists(disk, &checksum_path(backup))? {
            true => ChecksumPolicy::Required,
            false => ChecksumPolicy::Ignored,
        };
        if !exists(disk, backup)? {
            let store = self.open(disk)?;
            back_up(&store, disk)
                .and_then(|()| restore_to(disk, RESTORED, ChecksumPolicy::Required))
                .map_err(|error| self.unexpected(disk, "backup", &error))?;
            return Ok(false);
        }
        restore_to(disk, RESTORED, checksum)
            .map_err(|error| self.unexpected(disk, "restore", &error))?;
        let restored = open_at(disk, RESTORED, &self.options)
            .map_err(|error| self.unexpected(disk, "open", &error))?;
        self.check(disk, &restored, std::slice::from_ref(state), false)?;
        Ok(checksum == ChecksumPolicy::Required)
    }

    /// Checks that a restored store is complete and accepts writes, or that the backup can be
    /// restored if there is no store. The backup must be unchanged. Returns whether there was a
    /// store.
    fn check_restored(&self, disk: &SimulatedDisk, state: &Oracle) -> Result<bool, String> {
        let existed = has_store(disk)?;
        if !existed {
            restore(disk).map_err(|error| self.unexpected(disk, "restore", &error))?;
        }
        let (store, _) = self.open_and_check(disk, std::slice::from_ref(state))?;
        let (disk, _) = self.check_writable(store, disk, state.clone())?;
        match self.check_backup(&disk, state)? {
            true => Ok(existed),
            false => Err(self.violation(&disk, "the backup or its checksum is missing")),
        }
    }

    /// Checks that a store on which syncs were dropped has one of these states or reports damage.
    fn check_state_or_damage(
        &mut self,
        disk: &SimulatedDisk,
        path: &str,
        states: &[Oracle],
    ) -> Result<(), String> {
        let Ok(store) = open_at(disk, path, &self.options) else {
            self.count("damage reported by open");
            return Ok(());
        };
        match check_state(&store.snapshot(), states, states.len() > 1) {
            Ok(found) if found + 1 == states.len() => self.count("last state"),
            Ok(_) => self.count("earlier state"),
            Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated) => {
                self.count("damage reported by verify");
            }
            Err(CheckError::Mismatch(mismatch)) => return Err(self.violation(disk, &mismatch)),
        }
        Ok(())
    }
}
