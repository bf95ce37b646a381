//! Power cuts at any change of a compaction, of a backup under writes, and of restoring one.

use convodb::{Error, Store};
use rand::RngExt;

use super::Counts;
use super::maintenance::{Writes, back_up_beside, backed_up, compact, has_store, restore, stored};
use super::power_cut::Trial;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{expected, open};

/// A power cut at any change within a compaction, and up to two more while the store is opened or
/// compacted again. It is what it was, whichever of its files has the name; it goes on, and the
/// next compaction removes what was left behind.
///
/// # Errors
/// A violation.
pub fn compaction_power_cut(seed: u64) -> Result<Counts, String> {
    let (twin, _) = stored(seed)?;
    let before = twin.disk.changes();
    compact(&twin.disk).map_err(|error| twin.failed(&twin.disk, "compacting", &error))?;
    let changes = twin.disk.changes() - before;

    let (mut trial, state) = stored(seed)?;
    trial.cut_within(changes);
    let done = compact(&trial.disk);
    trial.check_cut("compacting", &done)?;
    let disk = trial.disk.power_cut();
    if let Ok(done) = &done {
        trial.check_compacted(&disk, done)?;
    }
    let disk = trial.cut_again(disk, changes, |disk, coin| match coin {
        true => compact(disk).map(drop),
        false => Ok(()),
    })?;
    let (store, _) = trial.held(&disk, std::slice::from_ref(&state))?;
    let (disk, state) = trial.go_on(store, &disk, state)?;
    trial.check_compaction(&disk, &state)?;
    Ok(trial.counts)
}

/// A power cut at any change while a store is backed up and written to. The store has what was
/// acknowledged; the backup is absent, or whole and of its one moment.
///
/// # Errors
/// A violation.
pub fn backup_power_cut(seed: u64) -> Result<Counts, String> {
    let (mut twin, state) = stored(seed)?;
    let writes = Writes::new(&mut twin);
    let before = twin.disk.changes();
    back_up_beside(&twin, &state, &writes)?;
    let changes = twin.disk.changes() - before;

    let (mut trial, state) = stored(seed)?;
    let writes = Writes::new(&mut trial);
    trial.cut_within(changes);
    let mut backed = back_up_beside(&trial, &state, &writes)?;
    if let Some(backup) = &backed.backup {
        trial.check_cut("a backup", backup)?;
    }
    let disk = trial.cut_again(trial.disk.power_cut(), changes, |_, _| Ok(()))?;
    backed.played.store = None;
    let mut candidates = backed.played.candidates;
    let (store, found) = trial.held(&disk, &candidates)?;
    let (disk, _) = trial.go_on(store, &disk, candidates.swap_remove(found))?;
    let whole = trial.check_backup(&disk, &state)?;
    trial.count(if whole { "backups" } else { "no backup" });
    if matches!(backed.backup, Some(Ok(_))) && !whole {
        return Err(trial.violation(&disk, "a backup that was made is not there"));
    }
    Ok(trial.counts)
}

/// A power cut at any change while a backup is restored, and up to two more while what is found is
/// opened or restored again. There is no store, or a whole one; the backup is what it was.
///
/// # Errors
/// A violation.
pub fn restore_power_cut(seed: u64) -> Result<Counts, String> {
    let (twin, _) = backed_up(seed)?;
    let before = twin.disk.changes();
    restore(&twin.disk).map_err(|error| twin.failed(&twin.disk, "restoring", &error))?;
    let changes = twin.disk.changes() - before;

    let (mut trial, state) = backed_up(seed)?;
    trial.cut_within(changes);
    let done = restore(&trial.disk);
    trial.check_cut("restoring", &done)?;
    let disk =
        trial.cut_again(trial.disk.power_cut(), changes, |disk, _| match has_store(disk) {
            Ok(false) => restore(disk),
            _ => Ok(()),
        })?;
    let was_there = trial.check_restored(&disk, &state)?;
    trial.count(if was_there { "restored" } else { "not restored" });
    if done.is_ok() && !was_there {
        return Err(trial.violation(&disk, "a store that was restored is not there"));
    }
    Ok(trial.counts)
}

impl Trial {
    /// The power goes at one of so many changes, or after the last; often at one of the last, where
    /// names are given.
    fn cut_within(&mut self, changes: u64) {
        let last = [10, 40, changes][self.random.random_range(0..3)].min(changes);
        self.disk.cut_at(self.random.random_range(changes - last..=changes));
    }

    /// Nothing fails before the power goes.
    fn check_cut<T>(&mut self, what: &str, done: &Result<T, Error>) -> Result<(), String> {
        self.count(if self.disk.is_off() { "cuts within a change" } else { "cuts at rest" });
        match done {
            Ok(_) => Ok(()),
            Err(error) => {
                expected(&self.disk, what, error).map_err(|why| self.violation(&self.disk, &why))
            }
        }
    }

    /// Cuts the power up to twice more while `again` is done, with a coin, and the store opened if
    /// there is one.
    fn cut_again(
        &mut self,
        mut disk: SimulatedDisk,
        changes: u64,
        again: impl Fn(&SimulatedDisk, bool) -> Result<(), Error>,
    ) -> Result<SimulatedDisk, String> {
        for _ in 0..self.random.random_range(0..3) {
            disk.cut_at(self.random.random_range(0..=changes));
            let coin = self.random.random();
            let done = again(&disk, coin).and_then(|()| match has_store(&disk) {
                Ok(true) => open(&disk, &self.options).map(Some),
                _ => Ok(None::<Store>),
            });
            if disk.is_off() {
                self.count("cuts after a cut");
            }
            if let Err(error) = &done {
                expected(&disk, "after a cut, it", error)
                    .map_err(|why| self.violation(&disk, &why))?;
            }
            let next = disk.power_cut();
            drop(done);
            disk = next;
        }
        Ok(disk)
    }
}
