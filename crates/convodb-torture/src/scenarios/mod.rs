//! Scenarios of `convodb-torture`, one file each; those on the simulated disk share one.

mod activity;
mod authority;
#[cfg(feature = "postgres")]
mod cluster;
mod damage;
mod erasure;
mod filters;
mod full;
mod isolation;
mod kill;
mod model;
mod neighbour;
mod restart;
mod separated;
mod simulation;
mod slow_clients;
mod stop;
mod tamper;
mod walks;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::scenario::Scenario;
#[cfg(feature = "postgres")]
pub(crate) use crate::scenarios::cluster::{Size, compare};

/// All scenarios, in the order in which `all` runs them.
pub(crate) const ALL: &[Scenario] = &[
    model::MODEL,
    simulation::POWER,
    simulation::DEFERRED,
    simulation::WRITERS,
    simulation::MAINTENANCE,
    simulation::ERASURE_KILLED,
    simulation::FAULTS,
    simulation::MAINTENANCE_FAULTS,
    simulation::FULL_DISK,
    simulation::FILLED_DISK,
    simulation::REFUSED_WRITES,
    simulation::UNREADABLE_PAGE,
    simulation::LOST_SYNC,
    simulation::MAINTENANCE_LOST_SYNC,
    simulation::UPGRADE,
    simulation::UPGRADE_LOST_SYNC,
    simulation::UPGRADE_FAULTS,
    walks::WALKS,
    activity::ACTIVITY,
    isolation::ISOLATION,
    tamper::TAMPER,
    damage::DAMAGE,
    kill::KILL,
    stop::STOP,
    full::FULL,
    restart::RESTART,
    filters::FILTERS,
    slow_clients::SLOW_CLIENTS,
    neighbour::NEIGHBOUR,
    authority::AUTHORITY,
    erasure::ERASURE,
    separated::SEPARATED,
    separated::RESTORED,
    #[cfg(feature = "postgres")]
    cluster::CLUSTER,
];

/// Runs the task of a subprocess that a scenario started.
pub(crate) fn run_task(out: &mut dyn Write, name: &str, task: &str, directory: &Path) -> ExitCode {
    let result = match name {
        "damage" => damage::run_task(out, task, directory),
        _ => return ExitCode::from(2),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            let _ = writeln!(io::stderr(), "{violation}");
            ExitCode::FAILURE
        }
    }
}
