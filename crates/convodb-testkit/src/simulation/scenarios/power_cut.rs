//! Power cuts during any change of the disk, and syncs that the disk drops before a power cut.

use convodb::Durability;

use super::Counts;
use crate::simulation::checker::{CheckError, check_state};
use crate::simulation::runner::{OldestState, Trial, open, run_workload};

/// Cuts the power during any change of the disk, be it of creation, a WAL append, a checkpoint, a
/// bulk load, growth of the file, close or open, and again while the store is opened. All
/// acknowledged writes survive; the write in progress survives completely or not at all.
///
/// # Errors
/// A violation.
pub fn power_cut(seed: u64) -> Result<Counts, String> {
    cut_and_check(Trial::new(seed, Durability::Immediate), OldestState::Acknowledged)
}

/// As [`power_cut`], with writes that are acknowledged before they are durable. The store has one
/// of its states since it was last closed.
///
/// # Errors
/// A violation.
pub fn power_cut_deferred(seed: u64) -> Result<Counts, String> {
    cut_and_check(Trial::new(seed, Durability::Deferred), OldestState::Closed)
}

fn cut_and_check(mut trial: Trial, oldest: OldestState) -> Result<Counts, String> {
    let cut_at = trial.random_change();
    trial.disk.power_off_at(cut_at);
    let run = run_workload(&trial.disk, &trial.options, &trial.steps, oldest);
    let mut run = run.map_err(|violation| trial.violation(&trial.disk, &violation))?;
    let disk = trial.cut_power(&mut run);
    let store = trial.open(&disk)?;
    let found = trial.check(&trial.disk, &store, &run.candidates, run.may_be_empty)?;
    let (rows, last) = (run.candidates[found].conversations().count(), run.candidates.len() - 1);
    trial.count(if found == last { "last state" } else { "earlier state" });
    trial.add("rows", rows as u64);
    let has_users = store.snapshot().users().is_ok_and(|users| !users.is_empty());
    if has_users {
        trial.check_writable(store, &disk, run.candidates.swap_remove(found))?;
    }
    Ok(trial.counts)
}

/// From some change on, the disk reports successful syncs that it drops; then the power is cut. A
/// store with `check_on_open` has one of its earlier states, or reports the damage.
///
/// # Errors
/// A violation.
pub fn lost_sync(seed: u64) -> Result<Counts, String> {
    let mut trial = Trial::new(seed, Durability::Immediate);
    trial.options = trial.options.check_on_open(true);
    let (dropped_from, cut_at) = (trial.random_change(), trial.random_change());
    trial.disk.drop_syncs_from(dropped_from);
    trial.disk.power_off_at(dropped_from + cut_at);
    let run = run_workload(&trial.disk, &trial.options, &trial.steps, OldestState::Any);
    let mut run = run.map_err(|violation| trial.violation(&trial.disk, &violation))?;
    let disk = trial.disk.power_cut();
    run.store = None;
    match open(&disk, &trial.options) {
        Err(_) => trial.count("damage reported by open"),
        Ok(store) => match check_state(&store.snapshot(), &run.candidates, true) {
            Ok(found) if found + 1 == run.candidates.len() => trial.count("last state"),
            Ok(_) => trial.count("earlier state"),
            Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated) => {
                trial.count("damage reported by verify");
            }
            Err(CheckError::Mismatch(mismatch)) => {
                return Err(trial.violation(&trial.disk, &mismatch));
            }
        },
    }
    Ok(trial.counts)
}
