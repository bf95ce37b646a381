//! Failure scenarios: what the disk does to a store in a trial, and what must hold afterwards.

mod concurrent_writers;
mod io_faults;
mod maintenance;
mod power_cut;
mod upgrade;
mod upkeep_cuts;
mod upkeep_faults;

use std::collections::BTreeMap;

pub use concurrent_writers::concurrent_writers;
pub use io_faults::{full_disk, io_faults};
pub use power_cut::{lost_sync, power_cut, power_cut_deferred};
pub use upgrade::{upgrade_io_faults, upgrade_lost_sync, upgrade_power_cut};
pub use upkeep_cuts::{backup_power_cut, compaction_power_cut, restore_power_cut};
pub use upkeep_faults::{maintenance_io_fault, maintenance_lost_sync};

/// How often each outcome occurred, by its name.
pub type Counts = BTreeMap<&'static str, u64>;
