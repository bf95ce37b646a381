//! Every proof that `convodb-prove` runs, one file each.

mod crash;
mod crowd;
mod damage;
mod erasure;
mod filters;
mod full;
mod isolation;
mod kill;
mod model;
mod originals;
mod restart;
mod stop;
mod tamper;
mod walks;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::proof::Proof;

/// All of them, in the order in which they are run.
pub(crate) const ALL: &[Proof] = &[
    model::MODEL,
    crash::POWER,
    crash::DEFERRED,
    crash::WRITERS,
    crash::UPKEEP,
    crash::FAULTS,
    crash::UPKEEP_FAULTS,
    crash::NO_ROOM,
    crash::LOST_SYNC,
    crash::UPKEEP_LOST_SYNC,
    crash::UPGRADE,
    crash::UPGRADE_LOST_SYNC,
    crash::UPGRADE_FAULTS,
    walks::WALKS,
    isolation::ISOLATION,
    tamper::TAMPER,
    damage::DAMAGE,
    kill::KILL,
    stop::STOP,
    full::FULL,
    restart::RESTART,
    filters::FILTERS,
    crowd::CROWD,
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
