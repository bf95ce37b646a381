//! Every proof that `convodb-prove` runs, one file each.

mod damage;
mod erasure;
mod filters;
mod full;
mod isolation;
mod kill;
mod model;
mod restart;
mod simulation;
mod slow_clients;
mod stop;
mod tamper;
mod walks;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::scenario::Scenario;

/// All of them, in the order in which they are run.
pub(crate) const ALL: &[Scenario] = &[
    model::MODEL,
    simulation::POWER,
    simulation::DEFERRED,
    simulation::WRITERS,
    simulation::UPKEEP,
    simulation::FAULTS,
    simulation::UPKEEP_FAULTS,
    simulation::NO_ROOM,
    simulation::LOST_SYNC,
    simulation::UPKEEP_LOST_SYNC,
    simulation::UPGRADE,
    simulation::UPGRADE_LOST_SYNC,
    simulation::UPGRADE_FAULTS,
    walks::WALKS,
    isolation::ISOLATION,
    tamper::TAMPER,
    damage::DAMAGE,
    kill::KILL,
    stop::STOP,
    full::FULL,
    restart::RESTART,
    filters::FILTERS,
    slow_clients::CROWD,
    erasure::ERASURE,
];

/// What a process does that a proof has started.
pub(crate) fn take_part(out: &mut dyn Write, name: &str, part: &str, directory: &Path) -> ExitCode {
    let taken = match name {
        "damage" => damage::take_part(out, part, directory),
        _ => return ExitCode::from(2),
    };
    let told = taken.map_err(|violation| writeln!(io::stderr(), "{violation}"));
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
