//! Erasure of a customer and a user, and a search of all files for their data.

use convodb_testkit::erasure;

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const ERASURE: Scenario = Scenario {
    name: "erasure",
    row: 19,
    promise: "After erasure and compaction no file contains a byte of the erased customer or user, \
              and all other data is unchanged.",
    trial: "up to 200 writes, an erasure, and a search of all bytes",
    trials: Trials { smoke: 2, ci: 40, release: 1_000 },
    parallelism: Parallelism::PerCore,
    run,
};

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let outcome = erasure::trial(trial.seed).map_err(Violation::new)?;
    ensure(outcome.searched_bytes > 0, || "no byte was searched")?;
    trial.add("erased ids", outcome.erased as u64);
    trial.add("remaining conversations", outcome.remaining as u64);
    trial.add("searched bytes", outcome.searched_bytes as u64);
    Ok(())
}
