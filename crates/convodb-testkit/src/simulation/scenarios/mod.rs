//! Failure scenarios: what fails in a trial, and what the store must guarantee.
//!
//! Each scenario is a function from a seed to counts of outcomes. An error is a violation.

mod concurrent_writers;
mod erasure;
mod io_faults;
mod maintenance;
mod power_cut;
mod unreadable_page;
mod upgrade;

use std::collections::BTreeMap;

pub use concurrent_writers::concurrent_writers;
pub use erasure::{erasure_interrupted, erasure_killed_at_each_change};
pub use io_faults::{filled_disk, full_disk, io_faults, refused_writes};
pub use maintenance::{
    backup_power_cut, compaction_power_cut, maintenance_io_fault, maintenance_lost_sync,
    restore_power_cut,
};
pub use power_cut::{lost_sync, power_cut, power_cut_deferred};
pub use unreadable_page::unreadable_page;
pub use upgrade::{upgrade_io_faults, upgrade_lost_sync, upgrade_power_cut};

/// How often each outcome occurred, by its name.
pub type Counts = BTreeMap<&'static str, u64>;
