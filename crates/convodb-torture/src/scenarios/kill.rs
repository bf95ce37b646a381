//! Row 6: the real server, killed under eight clients, again and again: what it acknowledged is
//! there, and what it did not is there whole or not at all.

use std::time::Duration;

use rand::RngExt;

use crate::clients::http_writers::HttpWriters;
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation};

pub(super) const KILL: Scenario = Scenario {
    name: "kill",
    row: 6,
    promise: "After kill -9 of the server every acknowledged write is there, and every other one \
              whole or not at all.",
    trial: "kills under 8 clients, one or five of one store",
    trials: Trials { smoke: 2, ci: 50, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run,
};

/// How often one store is killed in a trial that goes on with it.
const KILLS: u64 = 5;

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let mut clients = HttpWriters::of_new_store(&path, trial.seed)?;
    // Most trials kill once. Those that go on kill what was recovered, and audit it.
    let again = if trial.seed.is_multiple_of(KILLS) { KILLS } else { 1 };
    let mut server = ServerProcess::start(&path)?;
    for _ in 0..again {
        let after = Duration::from_millis(trial.random.random_range(20..300));
        let (acknowledged, ()) = clients.write_until(server, after, ServerProcess::kill)?;
        trial.add("acknowledged", acknowledged);
        trial.count("kills");
        server = ServerProcess::start(&path)?;
        trial.figure("started again in s", server.started_in.as_secs_f64());
        clients.check(&server)?;
    }
    server.stop_and_audit(&path)
}
