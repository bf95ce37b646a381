//! SIGKILL: the real server, killed under eight writers.

use std::time::Duration;

use rand::RngExt;

use crate::clients::http_writers::HttpWriters;
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation};

pub(super) const KILL: Scenario = Scenario {
    name: "kill",
    row: 6,
    promise: "After SIGKILL of the server the store has every acknowledged write, and every other \
              write completely or not at all.",
    trial: "one or five kills of one store under 8 clients",
    trials: Trials { smoke: 2, ci: 50, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run,
};

/// The number of kills in a trial with several of them.
const KILLS: u64 = 5;

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let mut writers = HttpWriters::with_new_store(&path, trial.seed)?;
    // Most trials kill once. One in five also kills the recovered store.
    let kills = if trial.seed.is_multiple_of(KILLS) { KILLS } else { 1 };
    let mut server = ServerProcess::start(&path)?;
    for _ in 0..kills {
        let after = Duration::from_millis(trial.random.random_range(20..300));
        let (acknowledged, ()) = writers.write_until(server, after, ServerProcess::kill)?;
        trial.add("acknowledged", acknowledged);
        trial.count("kills");
        server = ServerProcess::start(&path)?;
        trial.figure("restarted in s", server.started_in.as_secs_f64());
        writers.check(&server)?;
    }
    server.stop_and_verify(&path)
}
