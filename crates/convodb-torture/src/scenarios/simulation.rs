//! Rows 2, 3, 4 and 9: a disk in memory that loses its power, lies about syncs, fails or is full. Each
//! trial is one of the test kit's, a function of its seed.

use convodb_testkit::simulation::scenarios::{
    Counts, backup_power_cut, compaction_power_cut, concurrent_writers, full_disk, io_faults,
    lost_sync, maintenance_io_fault, maintenance_lost_sync, power_cut, power_cut_deferred,
    restore_power_cut, upgrade_io_faults, upgrade_lost_sync, upgrade_power_cut,
};

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation};

pub(super) const POWER: Scenario = Scenario {
    name: "power",
    row: 2,
    promise: "Whenever the power goes, the store opens again, has all that was acknowledged, and \
              what was being written whole or not at all.",
    trial: "up to 25 writes, a power cut, and up to two more while it is opened",
    trials: Trials { smoke: 20, ci: 20_000, release: 1_000_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, power_cut),
};

pub(super) const DEFERRED: Scenario = Scenario {
    name: "deferred",
    row: 2,
    promise: "Of writes that are acknowledged before they are durable, a power cut leaves a \
              beginning.",
    trial: "as of power, with deferred writes",
    trials: Trials { smoke: 10, ci: 5_000, release: 250_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, power_cut_deferred),
};

pub(super) const WRITERS: Scenario = Scenario {
    name: "writers",
    row: 2,
    promise: "Whenever the power goes while several threads write, each has all that was \
              acknowledged to it, and the write that it waited for whole or not at all.",
    trial: "four threads of up to 24 writes each, a power cut, and up to two more while it is opened",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, concurrent_writers),
};

pub(super) const UPKEEP: Scenario = Scenario {
    name: "upkeep",
    row: 2,
    promise: "Whenever the power goes while a store is compacted, backed up or restored, it has all \
              that was acknowledged, and what has a final name is whole.",
    trial: "a compaction, a backup under writes, or restoring one; a power cut, and up to two more",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| {
        let of = [compaction_power_cut, backup_power_cut, restore_power_cut];
        tried(trial, of[usize::try_from(trial.seed % 3)?])
    },
};

pub(super) const UPKEEP_FAULTS: Scenario = Scenario {
    name: "upkeep-faults",
    row: 3,
    promise: "Whichever call of the disk fails while a store is compacted, backed up or restored, \
              it is what it was, and what has a final name is whole.",
    trial: "a compaction, a backup or restoring one, with a fault at one of its calls",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, maintenance_io_fault),
};

pub(super) const FAULTS: Scenario = Scenario {
    name: "faults",
    row: 3,
    promise: "Whichever call of the disk fails, once or until it is lifted, nothing acknowledged is \
              lost, nothing refused is there, and the store heals by itself.",
    trial: "a workload, with one kind of fault at each of its calls in turn",
    trials: Trials { smoke: 1, ci: 10, release: 50 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, io_faults),
};

pub(super) const NO_ROOM: Scenario = Scenario {
    name: "no-room",
    row: 3,
    promise: "A simulated disk that is full refuses writes as such, lets reads go on, and is written \
              to again without a restart.",
    trial: "200 writes on a disk that is full or nearly so",
    trials: Trials { smoke: 3, ci: 100, release: 5_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, full_disk),
};

pub(super) const LOST_SYNC: Scenario = Scenario {
    name: "lost-sync",
    row: 4,
    promise: "After a disk said that it had synced and had not, the store is as it once was, or \
              says that it is damaged.",
    trial: "up to 25 writes, lies from some change on, a power cut",
    trials: Trials { smoke: 20, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, lost_sync),
};

pub(super) const UPKEEP_LOST_SYNC: Scenario = Scenario {
    name: "upkeep-lost-sync",
    row: 4,
    promise: "After a disk lost a sync while a store was compacted, backed up or restored, the store \
              is in a state that it was in, or says that it is damaged, at the latest in its audit; a \
              damaged backup is not restored.",
    trial: "a compaction, a backup or restoring one, lies from some change on, a power cut",
    trials: Trials { smoke: 10, ci: 1_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, maintenance_lost_sync),
};

pub(super) const UPGRADE: Scenario = Scenario {
    name: "upgrade",
    row: 9,
    promise: "A store of an older format is brought to this one's whenever the power goes \
              meanwhile, and is what it was.",
    trial: "one to three power cuts while the store of format 1 is opened",
    trials: Trials { smoke: 10, ci: 1_000, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, upgrade_power_cut),
};

pub(super) const UPGRADE_LOST_SYNC: Scenario = Scenario {
    name: "upgrade-lost-sync",
    row: 9,
    promise: "Where the disk loses a sync while a store of an older format is opened, the store is as \
              it once was, or says that it is damaged.",
    trial: "lies from some change on while the store of format 1 is opened, then a power cut",
    trials: Trials { smoke: 10, ci: 1_000, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, upgrade_lost_sync),
};

pub(super) const UPGRADE_FAULTS: Scenario = Scenario {
    name: "upgrade-faults",
    row: 9,
    promise: "Whichever call of the disk fails while a store of an older format is opened, the store \
              is what it was once the disk is well.",
    trial: "a store of format 1, with one kind of fault at each call of its opening in turn",
    trials: Trials { smoke: 1, ci: 10, release: 100 },
    parallelism: Parallelism::PerCore,
    run: |trial| tried(trial, upgrade_io_faults),
};

/// One trial of the test kit's, with its counts.
fn tried(trial: &mut Trial, of: fn(u64) -> Result<Counts, String>) -> Result<(), Violation> {
    for (what, count) in of(trial.seed).map_err(Violation::new)? {
        trial.add(what, count);
    }
    Ok(())
}
