//! Row 19: no byte of what was erased is left in any file. A trial is one of the test kit's.

use convodb_testkit::erasure;

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const ERASURE: Scenario = Scenario {
    name: "erasure",
    row: 19,
    promise: "Of a customer or a user who was erased, no byte is in any file of the compacted store, \
              and all else is as it was.",
    trial: "up to 200 writes, an erasure, and a search of all bytes",
    trials: Trials { smoke: 2, ci: 40, release: 1_000 },
    parallelism: Parallelism::PerCore,
    run,
};

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let done = erasure::trial(trial.seed).map_err(Violation::new)?;
    ensure(done.searched > 0, || "no byte was searched")?;
    trial.add("ids erased", done.erased as u64);
    trial.add("conversations kept", done.kept as u64);
    trial.add("bytes searched", done.searched as u64);
    Ok(())
}
