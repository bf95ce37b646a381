//! One call that fails, any of those that a compaction, a backup or restoring one makes; and syncs
//! that are lost meanwhile.

use std::path::Path;

use convodb::{Checksum, Error, Store, checksum_path};
use rand::RngExt;

use super::Counts;
use super::io_faults::await_open;
use super::maintenance::{
    BACKUP, RESTORED, back_up, backed_up, compact, has_store, is_there, open_and_back_up, restore,
    restore_to, shared, stored, stored_since,
};
use super::power_cut::Trial;
use crate::oracle::Oracle;
use crate::simulation::checker::{CheckError, check_state};
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::fault::{InjectedFault, Schedule};
use crate::simulation::runner::{Memory, PATH, expected};

/// A fault at any one call of a compaction, a backup or of restoring one; the seed says which. It is
/// done all the same or an error; the store is what it was, then and after a power cut that keeps
/// nothing; what has a final name is whole; and it can be done again.
///
/// # Errors
/// A violation.
pub fn maintenance_io_fault(seed: u64) -> Result<Counts, String> {
    let fault =
        InjectedFault::ALL[usize::try_from(seed / 3).unwrap_or(0) % InjectedFault::ALL.len()];
    match seed % 3 {
        0 => compaction_fault(seed, fault),
        1 => backup_fault(seed, fault),
        _ => restore_fault(seed, fault),
    }
}

fn compaction_fault(seed: u64, fault: InjectedFault) -> Result<Counts, String> {
    let (twin, _) = stored(seed)?;
    let calls = twin.calls(fault, || compact(&twin.disk).map(drop))?;
    let (mut trial, state) = stored(seed)?;
    trial.fail_within(fault, calls);
    let done = compact(&trial.disk).map(drop);
    trial.check_told("compacting", &done)?;
    let states = std::slice::from_ref(&state);
    let (store, _) = trial.held(&trial.disk, states)?;
    let disk = trial.disk.worst_cut();
    drop(store);
    let (store, _) = trial.held(&disk, states)?;
    let (disk, state) = trial.go_on(store, &disk, state)?;
    trial.check_compaction(&disk, &state)?;
    Ok(trial.counts)
}

fn backup_fault(seed: u64, fault: InjectedFault) -> Result<Counts, String> {
    let (twin, _) = stored(seed)?;
    let store = twin.open(&twin.disk)?;
    let calls = twin.calls(fault, || back_up(&store, &twin.disk))?;
    let (mut trial, state) = stored(seed)?;
    let store = trial.open(&trial.disk)?;
    trial.fail_within(fault, calls);
    let done = back_up(&store, &trial.disk);
    trial.check_told("a backup", &done)?;
    // A read of the store that failed is healed, as in every other use.
    await_open(&store).map_err(|why| trial.violation(&trial.disk, &why))?;
    let states = std::slice::from_ref(&state);
    check_state(&store.snapshot(), states, false)
        .map_err(|fault| trial.violation(&trial.disk, &String::from(fault)))?;
    let backup = Path::new(BACKUP);
    let left = is_there(&trial.disk, backup)? || is_there(&trial.disk, &checksum_path(backup))?;
    if done.is_err() && left {
        return Err(trial.violation(&trial.disk, "a backup that failed is there"));
    }
    let disk = trial.disk.worst_cut();
    drop(store);
    let (store, _) = trial.held(&disk, states)?;
    drop(store);
    let whole = trial.check_backup(&disk, &state)?;
    if done.is_ok() && !whole {
        return Err(trial.violation(&disk, "a backup that was made is not there"));
    }
    Ok(trial.counts)
}

fn restore_fault(seed: u64, fault: InjectedFault) -> Result<Counts, String> {
    let (twin, _) = backed_up(seed)?;
    let calls = twin.calls(fault, || restore(&twin.disk))?;
    let (mut trial, state) = backed_up(seed)?;
    trial.fail_within(fault, calls);
    let done = restore(&trial.disk);
    trial.check_told("restoring", &done)?;
    if has_store(&trial.disk)? {
        trial.held(&trial.disk, std::slice::from_ref(&state))?;
    }
    let disk = trial.disk.worst_cut();
    let was_there = trial.check_restored(&disk, &state)?;
    if done.is_ok() && !was_there {
        return Err(trial.violation(&disk, "a store that was restored is not there"));
    }
    Ok(trial.counts)
}

/// From some change of a compaction, of a backup or of restoring one on, the disk says that it has
/// synced and has not; then the power goes. A store that is checked when it is opened is in a state
/// that it was in, or tells of the damage; a backup with its checksum is whole, or not restored.
///
/// # Errors
/// A violation.
pub fn maintenance_lost_sync(seed: u64) -> Result<Counts, String> {
    let work: fn(&SimulatedDisk) -> Result<(), Error> = match seed % 3 {
        0 => |disk| compact(disk).map(drop),
        1 => open_and_back_up,
        _ => restore,
    };
    let made = |seed| match seed % 3 < 2 {
        true => stored_since(seed, Memory::All),
        false => backed_up(seed).map(|(trial, state)| (trial, vec![state])),
    };
    let (twin, _) = made(seed)?;
    let before = twin.disk.changes();
    work(&twin.disk).map_err(|error| twin.failed(&twin.disk, "the undisturbed one", &error))?;
    let changes = twin.disk.changes() - before;

    let (mut trial, states) = made(seed)?;
    trial.options.check_on_open = true;
    let lies_from = trial.random.random_range(0..changes);
    trial.disk.lies_from(lies_from);
    trial.disk.cut_at(trial.random.random_range(lies_from..=changes));
    if let Err(error) = work(&trial.disk) {
        expected(&trial.disk, "it", &error).map_err(|why| trial.violation(&trial.disk, &why))?;
    }
    let disk = trial.disk.power_cut();
    if has_store(&disk)? {
        trial.count_told(&disk, PATH, &states)?;
    } else if seed % 3 < 2 {
        return Err(trial.violation(&disk, "the store has no name"));
    }
    let backup = Path::new(BACKUP);
    if is_there(&disk, backup)? && is_there(&disk, &checksum_path(backup))? {
        match restore_to(&disk, RESTORED, Checksum::Required) {
            Ok(()) => trial.count_told(&disk, RESTORED, &states[states.len() - 1..])?,
            Err(_) => trial.count("told when restored"),
        }
    }
    Ok(trial.counts)
}

impl Trial {
    /// How many calls `work` makes that a fault concerns.
    fn calls(
        &self,
        fault: InjectedFault,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<u64, String> {
        self.disk.fail(Schedule::once(fault, u64::MAX));
        work().map_err(|error| self.failed(&self.disk, "the undisturbed one", &error))?;
        Ok(self.disk.concerned())
    }

    /// One of so many calls fails.
    fn fail_within(&mut self, fault: InjectedFault, calls: u64) {
        let after = self.random.random_range(0..calls.max(1));
        self.disk.fail(Schedule::once(fault, after));
    }

    /// The fault is over. There is no error without one.
    fn check_told(&mut self, what: &str, done: &Result<(), Error>) -> Result<(), String> {
        let struck = self.disk.lift();
        self.count(match (struck, done.is_ok()) {
            (false, _) => "faults that did not come up",
            (true, true) => "faults that did no harm",
            (true, false) => "faults that were told",
        });
        match done {
            Err(error) if !struck => Err(self.failed(&self.disk, what, error)),
            _ => Ok(()),
        }
    }

    /// A store that lost syncs, or is of a backup that did, is in one of these states, or tells.
    fn count_told(
        &mut self,
        disk: &SimulatedDisk,
        path: &str,
        states: &[Oracle],
    ) -> Result<(), String> {
        let store = match Store::open_on(shared(disk), path, &self.options) {
            Ok(store) => store,
            Err(_) => {
                self.count("told when opened");
                return Ok(());
            }
        };
        match check_state(&store.snapshot(), states, states.len() > 1) {
            Ok(found) if found + 1 == states.len() => self.count("as it was"),
            Ok(_) => self.count("a state before"),
            Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated) => {
                self.count("told by the audit")
            }
            Err(CheckError::Mismatch(why)) => return Err(self.violation(disk, &why)),
        }
        Ok(())
    }
}
