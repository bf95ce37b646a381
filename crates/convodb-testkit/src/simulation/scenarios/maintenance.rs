//! What looks after a store, as trials do it: compaction, a backup under writes, and restoring one;
//! and what must hold after whatever came in between. The store is what was acknowledged, whichever
//! of its files has the name; what has the name of a backup or of a restored store is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use convodb::simulation::{Disk, compact_on, restore_on};
use convodb::{
    Backup, Checksum, Compaction, Durability, Error, Store, StoreOptions, checksum_path,
};
use rand::RngExt;

use super::power_cut::Trial;
use crate::oracle::Oracle;
use crate::simulation::checker::check_state;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::runner::{Memory, PATH, Played, open, play};
use crate::simulation::workload::{Step, script};

/// Where backups are made.
pub(super) const BACKUP: &str = "/backup";
/// Where they are restored to look at them.
pub(super) const RESTORED: &str = "/restored";

/// A trial whose disk has a store, closed or as a power cut left it, and what that holds.
pub(super) fn stored(seed: u64) -> Result<(Trial, Oracle), String> {
    let (trial, mut states) = stored_since(seed, Memory::Acknowledged)?;
    Ok((trial, states.pop().unwrap_or_default()))
}

/// The same, with the states that the store was in before, as far as this remembers.
pub(super) fn stored_since(seed: u64, memory: Memory) -> Result<(Trial, Vec<Oracle>), String> {
    let mut trial = Trial::new(seed, Durability::Immediate);
    let played = play(&trial.disk, &trial.options, &trial.steps, memory);
    let mut played = played.map_err(|why| trial.violation(&trial.disk, &why))?;
    if let Some(store) = played.store.take() {
        if trial.random.random() {
            store.close().map_err(|error| trial.failed(&trial.disk, "closing", &error))?;
        } else {
            trial.disk = trial.disk.power_cut();
        }
    }
    Ok((trial, played.candidates))
}

pub(super) fn compact(disk: &SimulatedDisk) -> Result<Compaction, Error> {
    compact_on(&shared(disk), PATH, |_, _| {})
}

pub(super) fn shared(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// A trial as of [`stored`] whose store is only in a backup.
pub(super) fn backed_up(seed: u64) -> Result<(Trial, Oracle), String> {
    let (trial, state) = stored(seed)?;
    let store = trial.open(&trial.disk)?;
    back_up(&store, &trial.disk)
        .and_then(|()| store.close())
        .map_err(|error| trial.failed(&trial.disk, "a backup", &error))?;
    let removed = names(&trial.disk).and_then(|names| {
        for path in names.iter().filter(|path| path.to_string_lossy().starts_with(PATH)) {
            trial.disk.remove(path)?;
        }
        Ok(trial.disk.sync_directory(Path::new("/"))?)
    });
    removed.map_err(|error| trial.failed(&trial.disk, "removing the store", &error))?;
    Ok((trial, state))
}

/// Backs the store up.
pub(super) fn back_up(store: &Store, disk: &SimulatedDisk) -> Result<(), Error> {
    store.snapshot().backup_on(disk, BACKUP, |_, _| {}).map(drop)
}

/// The same of a store that nobody has open.
pub(super) fn open_and_back_up(disk: &SimulatedDisk) -> Result<(), Error> {
    let store = Store::open_on(shared(disk), PATH, &StoreOptions::default())?;
    back_up(&store, disk)?;
    store.close()
}

/// Restores the backup in the store's place.
pub(super) fn restore(disk: &SimulatedDisk) -> Result<(), Error> {
    restore_to(disk, PATH, Checksum::Required)
}

pub(super) fn restore_to(
    disk: &SimulatedDisk,
    target: &str,
    checksum: Checksum,
) -> Result<(), Error> {
    let audit = restore_on(&shared(disk), BACKUP, target, checksum, |_, _| {})?;
    match audit.is_clean() {
        true => Ok(()),
        false => Err(Error::Storage(format!("what was restored has {:?}", audit.faults))),
    }
}

/// All names of a disk.
pub(super) fn names(disk: &SimulatedDisk) -> Result<Vec<PathBuf>, Error> {
    Ok(disk.list(Path::new("/"))?)
}

pub(super) fn is_there(disk: &SimulatedDisk, path: &Path) -> Result<bool, String> {
    disk.exists(path).map_err(|error| error.to_string())
}

/// Whether there is a store at its place.
pub(super) fn has_store(disk: &SimulatedDisk) -> Result<bool, String> {
    is_there(disk, Path::new(PATH))
}

/// Writes before, while and after a backup is made.
pub(super) struct Writes {
    before: Vec<Step>,
    within: Vec<Step>,
    after: Vec<Step>,
}

impl Writes {
    pub(super) fn new(trial: &mut Trial) -> Self {
        let mut some = |most| {
            let mut steps = script(&mut trial.random, most);
            steps.retain(|step| !matches!(step, Step::SetUp | Step::Restart));
            steps
        };
        Self { before: some(4), within: some(2), after: some(4) }
    }
}

/// What came of a backup of a store that was written to.
pub(super) struct Backed {
    /// The store, and what it may hold.
    pub(super) played: Played,
    /// What came of the backup, if it was begun.
    pub(super) backup: Option<Result<Backup, Error>>,
}

/// Opens the store, takes a snapshot, and backs it up beside the writes. An error is a violation.
pub(super) fn back_up_beside(
    trial: &Trial,
    state: &Oracle,
    writes: &Writes,
) -> Result<Backed, String> {
    let disk = &trial.disk;
    let mut played = Played { candidates: vec![state.clone()], may_be_empty: false, store: None };
    match open(disk, &trial.options) {
        Ok(store) => played.store = Some(store),
        Err(_) if disk.is_off() => return Ok(Backed { played, backup: None }),
        Err(error) => return Err(trial.failed(disk, "opening", &error)),
    }
    let snapshot = played.store.as_ref().map(Store::snapshot);
    let mut goes_on = Ok(true);
    let mut write = |steps: &[Step]| {
        for step in steps {
            if matches!(goes_on, Ok(true)) {
                goes_on = played.take(disk, step, Memory::Acknowledged);
            }
        }
    };
    write(&writes.before);
    let backup = snapshot.map(|snapshot| {
        snapshot.backup_on(disk, BACKUP, |done, _| {
            if done == 0 {
                write(&writes.within);
            }
        })
    });
    write(&writes.after);
    goes_on.map_err(|why| trial.violation(disk, &why))?;
    Ok(Backed { played, backup })
}

impl Trial {
    pub(super) fn failed(&self, disk: &SimulatedDisk, what: &str, error: &Error) -> String {
        self.violation(disk, &format!("{what} failed while the disk was well: {error}"))
    }

    /// Opens the store of a disk, which must hold one of these states; tells which.
    pub(super) fn held(
        &self,
        disk: &SimulatedDisk,
        states: &[Oracle],
    ) -> Result<(Store, usize), String> {
        let store = self.open(disk)?;
        let found = check_state(&store.snapshot(), states, false);
        let found = found.map_err(|fault| self.violation(disk, &String::from(fault)))?;
        Ok((store, found))
    }

    /// Compacting goes well, leaves one file alone, and changes nothing.
    pub(super) fn check_compaction(
        &self,
        disk: &SimulatedDisk,
        state: &Oracle,
    ) -> Result<(), String> {
        let done = compact(disk).map_err(|error| self.failed(disk, "compacting", &error))?;
        let disk = disk.worst_cut();
        self.check_compacted(&disk, &done)?;
        self.held(&disk, std::slice::from_ref(state)).map(drop)
    }

    /// Only the new file is there.
    pub(super) fn check_compacted(
        &self,
        disk: &SimulatedDisk,
        done: &Compaction,
    ) -> Result<(), String> {
        let found = names(disk).and_then(|names| Ok((disk.size(Path::new(PATH))?, names)));
        let (size, names) = found.map_err(|error| self.failed(disk, "listing", &error))?;
        if names != [Path::new(PATH)] || size != done.bytes_after {
            let found = format!("{done:?}, and there are {names:?}, and the store has {size}");
            return Err(self.violation(disk, &found));
        }
        Ok(())
    }

    /// A backup that has its name is whole, with its checksum where it has that too; where it has
    /// none, it can be made. Tells whether it had.
    pub(super) fn check_backup(&self, disk: &SimulatedDisk, of: &Oracle) -> Result<bool, String> {
        let backup = Path::new(BACKUP);
        let checksum = match is_there(disk, &checksum_path(backup))? {
            true => Checksum::Required,
            false => Checksum::Ignored,
        };
        if !is_there(disk, backup)? {
            let store = self.open(disk)?;
            let made = back_up(&store, disk);
            let made = made.and_then(|()| restore_to(disk, RESTORED, Checksum::Required));
            made.map_err(|error| self.failed(disk, "a backup", &error))?;
            return Ok(false);
        }
        restore_to(disk, RESTORED, checksum)
            .map_err(|error| self.failed(disk, "restoring", &error))?;
        let restored = Store::open_on(shared(disk), RESTORED, &self.options);
        let restored = restored.map_err(|error| self.failed(disk, "opening", &error))?;
        let judged = check_state(&restored.snapshot(), std::slice::from_ref(of), false);
        judged.map_err(|fault| self.violation(disk, &String::from(fault)))?;
        Ok(checksum == Checksum::Required)
    }

    /// A store that was restored is whole and goes on; where there is none, it can be restored. The
    /// backup is what it was. Tells whether there was one.
    pub(super) fn check_restored(
        &self,
        disk: &SimulatedDisk,
        state: &Oracle,
    ) -> Result<bool, String> {
        let was_there = has_store(disk)?;
        if !was_there {
            restore(disk).map_err(|error| self.failed(disk, "restoring", &error))?;
        }
        let (store, _) = self.held(disk, std::slice::from_ref(state))?;
        let (disk, _) = self.go_on(store, disk, state.clone())?;
        match self.check_backup(&disk, state)? {
            true => Ok(was_there),
            false => Err(self.violation(&disk, "the backup is no longer there with its checksum")),
        }
    }
}
