//! Simulated disk failures: power cuts, lost syncs, I/O faults and full disks.
//!
//! The number of trials fits a build. `convodb-torture` runs hundreds of thousands before a
//! release.

use convodb_testkit::simulation::scenarios::{
    Counts, backup_power_cut, compaction_power_cut, concurrent_writers, erasure_interrupted,
    erasure_killed_at_each_change, filled_disk, full_disk, io_faults, lost_sync,
    maintenance_io_fault, maintenance_lost_sync, power_cut, power_cut_deferred, refused_writes,
    restore_power_cut, unreadable_page, upgrade_io_faults, upgrade_lost_sync, upgrade_power_cut,
};

/// Runs a trial for each seed. Each of the `expected` outcomes must occur at least once.
#[track_caller]
fn check(
    trial: fn(u64) -> Result<Counts, String>,
    seeds: impl IntoIterator<Item = u64>,
    expected: &[&str],
) {
    let mut all = Counts::new();
    for seed in seeds {
        for (outcome, count) in trial(seed).unwrap_or_else(|violation| panic!("{violation}")) {
            *all.entry(outcome).or_default() += count;
        }
    }
    for outcome in expected {
        assert!(all.contains_key(outcome), "{outcome} did not occur: {all:?}");
    }
}

#[test]
fn acknowledged_writes_survive_power_cuts() {
    let expected = [
        "power cuts during a change",
        "power cuts between changes",
        "power cuts during open",
        "earlier state",
    ];
    check(power_cut, 0..250, &expected);
}

#[test]
fn a_prefix_of_deferred_writes_survives_power_cuts() {
    check(power_cut_deferred, 0..100, &["earlier state", "last state"]);
}

#[test]
fn lost_syncs_are_harmless_or_reported() {
    // The last two seeds once lost a bulk load although later writes survived.
    let seeds = (0..150).chain([102_161, 108_422]);
    check(lost_sync, seeds, &["damage reported by open", "earlier state"]);
}

#[test]
fn the_store_recovers_from_one_failed_call() {
    let expected = ["rejected writes", "writes with unknown outcome", "failed opens"];
    check(io_faults, 0..7, &expected);
}

#[test]
fn the_store_recovers_from_a_lasting_fault() {
    check(io_faults, 7..14, &["writes rejected while reopening", "failed opens"]);
}

#[test]
fn a_full_disk_rejects_writes_until_it_has_space() {
    check(full_disk, 0..12, &["full disks", "rejected writes", "accepted deletes"]);
}

#[test]
fn an_upgrade_survives_power_cuts() {
    check(upgrade_power_cut, 0..60, &["power cuts during upgrade"]);
}

#[test]
fn lost_syncs_during_an_upgrade_are_harmless_or_reported() {
    check(upgrade_lost_sync, 0..60, &["damage reported by open", "unchanged"]);
}

#[test]
fn an_upgrade_succeeds_after_an_io_fault() {
    // The fifth seed lost the store when the new tables were created in a one-phase commit.
    check(upgrade_io_faults, (0..56).step_by(5), &["failed opens", "successful opens"]);
}

#[test]
fn a_power_cut_during_compaction_leaves_the_old_or_the_new_file() {
    let expected =
        ["power cuts during a change", "power cuts between changes", "repeated power cuts"];
    check(compaction_power_cut, 0..60, &expected);
}

#[test]
fn a_power_cut_during_backup_leaves_a_complete_backup_or_none() {
    let expected = [
        "power cuts during a change",
        "power cuts between changes",
        "complete backups",
        "missing backups",
    ];
    check(backup_power_cut, 0..60, &expected);
}

#[test]
fn a_power_cut_during_restore_leaves_a_complete_store_or_none() {
    let expected = ["repeated power cuts", "restored stores", "missing stores"];
    check(restore_power_cut, 0..60, &expected);
}

#[test]
fn an_interrupted_erasure_is_reported_and_finished() {
    let expected = ["not reported", "erased again", "finished by compaction"];
    check(erasure_interrupted, 0..40, &expected);
}

/// The seeds erase a user and a customer.
#[test]
fn an_erasure_that_is_killed_at_any_step_can_be_finished() {
    let expected = ["not reported", "erased again", "finished by compaction", "finished before"];
    check(erasure_killed_at_each_change, 0..2, &expected);
}

#[test]
fn an_io_fault_during_maintenance_is_reported_and_harmless() {
    // In 875, a sync that fails takes the copy of a restore with it.
    check(maintenance_io_fault, (0..90).chain([875; 4]), &["reported faults", "harmless faults"]);
}

#[test]
fn lost_syncs_during_maintenance_are_harmless_or_reported() {
    let expected = ["damage reported by open", "damage reported by restore", "last state"];
    check(maintenance_lost_sync, 0..120, &expected);
}

#[test]
fn acknowledged_writes_of_concurrent_writers_survive_power_cuts() {
    let expected =
        ["power cuts with several writes in progress", "power cuts during open", "acknowledged"];
    check(concurrent_writers, 0..100, &expected);
}

#[test]
fn a_disk_that_refuses_writes_is_read() {
    let expected = [
        "reads while writes are refused",
        "read-only opens",
        "writes with unknown outcome",
        "rejected writes",
    ];
    check(refused_writes, 0..30, &expected);
}

#[test]
fn deletes_succeed_on_a_disk_that_others_filled() {
    check(filled_disk, 0..20, &["accepted deletes", "rejected writes"]);
}

#[test]
fn an_unreadable_page_fails_only_its_reads() {
    let expected = ["failed reads", "writes beside the page", "failed flushes"];
    check(unreadable_page, 0..40, &expected);
}
