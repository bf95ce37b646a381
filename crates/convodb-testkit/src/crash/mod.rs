//! The crash disk, and trials on it: power cuts, lost syncs, faults of input and output. Each trial
//! is a function of a seed; an error is a violation, with all that is needed to look into it.

mod disk;
mod fault;
mod faults;
mod image;
mod judge;
mod names;
mod play;
mod script;
mod trial;
mod upgrade;
mod upkeep;
mod upkeep_cuts;
mod upkeep_faults;
mod writers;

pub use disk::CrashDisk;
pub use fault::{Fault, Schedule};
pub use faults::{fault_schedule, full_disk};
pub use trial::{Counts, lost_sync, power_cut, power_cut_deferred};
pub use upgrade::{upgrade, upgrade_faults, upgrade_lost_sync};
pub use upkeep_cuts::{backup_cut, compaction_cut, restore_cut};
pub use upkeep_faults::{upkeep_fault, upkeep_lost_sync};
pub use writers::writers;
