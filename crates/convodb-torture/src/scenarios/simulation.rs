//! Simulated disk: power cuts, I/O faults, full disks and lost syncs.
//!
//! Each trial is a function of the test kit from a seed to counts.

use convodb_testkit::simulation::scenarios::{
    Counts, backup_power_cut, compaction_power_cut, concurrent_writers, erasure_interrupted,
    erasure_killed_at_each_change, filled_disk, full_disk, io_faults, lost_sync,
    maintenance_io_fault, maintenance_lost_sync, power_cut, power_cut_deferred, refused_writes,
    restore_power_cut, unreadable_page, upgrade_io_faults, upgrade_lost_sync, upgrade_power_cut,
};

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation};

pub(super) const POWER: Scenario = Scenario {
    name: "power",
    row: 2,
    promise: "After a power cut at any moment the store opens, has all acknowledged writes, and \
              has the write in progress completely or not at all.",
    trial: "up to 25 writes, a power cut, and up to two more during open",
    trials: Trials { smoke: 20, ci: 20_000, release: 1_000_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, power_cut),
};

pub(super) const DEFERRED: Scenario = Scenario {
    name: "deferred",
    row: 2,
    promise: "A power cut leaves a prefix of the writes that are acknowledged before they are \
              durable.",
    trial: "as power, with deferred durability",
    trials: Trials { smoke: 10, ci: 5_000, release: 250_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, power_cut_deferred),
};

pub(super) const WRITERS: Scenario = Scenario {
    name: "writers",
    row: 2,
    promise: "After a power cut while several threads write, the store has all acknowledged writes \
              of each thread, and its write in progress completely or not at all.",
    trial: "four threads with up to 24 writes each, a power cut, and up to two more during open",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, concurrent_writers),
};

pub(super) const MAINTENANCE: Scenario = Scenario {
    name: "maintenance",
    row: 2,
    promise: "After a power cut during compaction, backup or restore, the store has all \
              acknowledged writes, and every file with a final name is complete.",
    trial: "compaction, backup during writes, or restore; a power cut, and up to two more",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| {
        let of = [compaction_power_cut, backup_power_cut, restore_power_cut];
        simulate(trial, of[usize::try_from(trial.seed % 3)?])
    },
};

pub(super) const ERASURE_KILLED: Scenario = Scenario {
    name: "erasure-killed",
    row: 25,
    promise: "An erasure that is killed or cut off at any step is reported by the store, and erasing \
              again or compacting finishes it: no byte is left, and no other file.",
    trial: "an erasure, interrupted at one change, and up to two attempts to finish it likewise; \
            one in fifty: killed at each change in turn",
    trials: Trials { smoke: 10, ci: 1_000, release: 50_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| match trial.seed % 50 {
        0 => simulate(trial, erasure_killed_at_each_change),
        _ => simulate(trial, erasure_interrupted),
    },
};

pub(super) const MAINTENANCE_FAULTS: Scenario = Scenario {
    name: "maintenance-faults",
    row: 3,
    promise: "Whichever call of the disk fails during compaction, backup or restore, the store is \
              unchanged, and every file with a final name is complete.",
    trial: "compaction, backup or restore, with a fault at one of its calls",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, maintenance_io_fault),
};

pub(super) const FAULTS: Scenario = Scenario {
    name: "faults",
    row: 3,
    promise: "Whichever call of the disk fails, once or for a while, no acknowledged write is \
              lost, no rejected write remains, and the store recovers by itself.",
    trial: "a workload, repeated with one kind of fault at each of its calls",
    trials: Trials { smoke: 1, ci: 10, release: 50 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, io_faults),
};

pub(super) const FULL_DISK: Scenario = Scenario {
    name: "full-disk",
    row: 3,
    promise: "On a full simulated disk writes fail with StorageFull and reads succeed; once there \
              is space, writes succeed without a restart.",
    trial: "200 writes to a disk that is full or nearly full",
    trials: Trials { smoke: 3, ci: 100, release: 5_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, full_disk),
};

pub(super) const FILLED_DISK: Scenario = Scenario {
    name: "filled-disk",
    row: 24,
    promise: "While others fill the disk to the last page, reads and deletes succeed, also after a \
              restart; once there is space, writes are accepted again without a restart.",
    trial: "up to 20 rows, read and deleted on a full disk, with a restart",
    trials: Trials { smoke: 3, ci: 200, release: 20_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, filled_disk),
};

pub(super) const REFUSED_WRITES: Scenario = Scenario {
    name: "refused-writes",
    row: 24,
    promise: "While a disk refuses writes or syncs, reads succeed and the store opens and closes; \
              then writes are accepted again without a restart, and nothing acknowledged is lost.",
    trial: "a disk that refuses writes in one of five ways, with a restart",
    trials: Trials { smoke: 5, ci: 200, release: 20_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, refused_writes),
};

pub(super) const UNREADABLE_PAGE: Scenario = Scenario {
    name: "unreadable-page",
    row: 24,
    promise: "A page that cannot be read fails the reads that need it; other reads and writes \
              succeed, and no acknowledged write is lost.",
    trial: "an unreadable page below one message, reads and writes beside it, then a write to it",
    trials: Trials { smoke: 5, ci: 1_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, unreadable_page),
};

pub(super) const LOST_SYNC: Scenario = Scenario {
    name: "lost-sync",
    row: 4,
    promise: "After a disk dropped syncs that it reported as successful, the store has one of its \
              earlier states, or reports the damage.",
    trial: "up to 25 writes, dropped syncs from some change on, a power cut",
    trials: Trials { smoke: 20, ci: 2_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, lost_sync),
};

pub(super) const MAINTENANCE_LOST_SYNC: Scenario = Scenario {
    name: "maintenance-lost-sync",
    row: 4,
    promise: "After a disk dropped syncs during compaction, backup or restore, the store has one \
              of its earlier states, or open or verify reports the damage; a damaged backup is not \
              restored.",
    trial: "compaction, backup or restore, dropped syncs from some change on, a power cut",
    trials: Trials { smoke: 10, ci: 1_000, release: 100_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, maintenance_lost_sync),
};

pub(super) const UPGRADE: Scenario = Scenario {
    name: "upgrade",
    row: 9,
    promise: "A store of an older format is upgraded with unchanged contents, even if the power \
              goes off meanwhile.",
    trial: "one to three power cuts while a store of an earlier format is opened",
    trials: Trials { smoke: 10, ci: 1_000, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, upgrade_power_cut),
};

pub(super) const UPGRADE_LOST_SYNC: Scenario = Scenario {
    name: "upgrade-lost-sync",
    row: 9,
    promise: "After a disk dropped syncs while a store of an older format is opened, the store has \
              one of its earlier states, or reports the damage.",
    trial: "dropped syncs from some change on while an older store is opened, a power cut",
    trials: Trials { smoke: 10, ci: 1_000, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, upgrade_lost_sync),
};

pub(super) const UPGRADE_FAULTS: Scenario = Scenario {
    name: "upgrade-faults",
    row: 9,
    promise: "Whichever call of the disk fails while a store of an older format is opened, the \
              store is unchanged once the disk works.",
    trial: "a store of an earlier format, opened with one kind of fault at each call in turn",
    trials: Trials { smoke: 1, ci: 10, release: 100 },
    parallelism: Parallelism::PerCore,
    run: |trial| simulate(trial, upgrade_io_faults),
};

/// Runs one trial of the test kit, and adds its counts.
fn simulate(trial: &mut Trial, run: fn(u64) -> Result<Counts, String>) -> Result<(), Violation> {
    for (outcome, count) in run(trial.seed).map_err(Violation::new)? {
        trial.add(outcome, count);
    }
    Ok(())
}
