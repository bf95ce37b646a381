//! One call that fails, any of those that a compaction, a backup or restoring one makes.

use std::path::Path;

use convodb::{Error, checksum_path};
use rand::RngExt;

use super::fault::{Fault, Schedule};
use super::faults::await_open;
use super::judge::judge;
use super::trial::{Counts, Trial};
use super::upkeep::{BACKUP, back_up, backed_up, compact, has_store, is_there, restore, stored};

/// A fault at any one call of a compaction, a backup or of restoring one; the seed says which. It is
/// done all the same or an error; the store is what it was, then and after a power cut that keeps
/// nothing; what has a final name is whole; and it can be done again.
///
/// # Errors
/// A violation.
pub fn upkeep_fault(seed: u64) -> Result<Counts, String> {
    let fault = Fault::ALL[usize::try_from(seed / 3).unwrap_or(0) % Fault::ALL.len()];
    match seed % 3 {
        0 => compaction_fault(seed, fault),
        1 => backup_fault(seed, fault),
        _ => restore_fault(seed, fault),
    }
}

fn compaction_fault(seed: u64, fault: Fault) -> Result<Counts, String> {
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

fn backup_fault(seed: u64, fault: Fault) -> Result<Counts, String> {
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
    judge(&store.snapshot(), states, false)
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

fn restore_fault(seed: u64, fault: Fault) -> Result<Counts, String> {
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

impl Trial {
    /// How many calls `work` makes that a fault concerns.
    fn calls(&self, fault: Fault, work: impl FnOnce() -> Result<(), Error>) -> Result<u64, String> {
        self.disk.fail(Schedule::once(fault, u64::MAX));
        work().map_err(|error| self.failed(&self.disk, "the undisturbed one", &error))?;
        Ok(self.disk.concerned())
    }

    /// One of so many calls fails.
    fn fail_within(&mut self, fault: Fault, calls: u64) {
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
}
