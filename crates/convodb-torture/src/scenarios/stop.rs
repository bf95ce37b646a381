//! Graceful shutdown by SIGTERM under load.

use std::time::Duration;

use rand::RngExt;
use redb::Database;

use crate::clients::http_writers::HttpWriters;
use crate::clients::server_process::{ServerProcess, Stopped};
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const STOP: Scenario = Scenario {
    name: "stop",
    row: 10,
    promise: "After SIGTERM under load no acknowledged write is lost, the exit status is 0 within \
              10 s, and the next open needs no repair.",
    trial: "one stop under 8 clients",
    trials: Trials { smoke: 1, ci: 20, release: 500 },
    parallelism: Parallelism::PerCore,
    run,
};

const LIMIT: Duration = Duration::from_secs(10);

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let mut writers = HttpWriters::with_new_store(&path, trial.seed)?;
    let server = ServerProcess::start(&path)?;
    let after = Duration::from_millis(trial.random.random_range(20..400));
    let (acknowledged, stopped) = writers.write_until(server, after, ServerProcess::stop)?;
    let Stopped { status, took, stderr } = stopped;
    trial.add("acknowledged", acknowledged);
    trial.figure("stopped in s", took.as_secs_f64());
    ensure(status.success(), || format!("server exited with {status}: {stderr}"))?;
    ensure(took < LIMIT, || format!("server stopped after {took:?}, limit is {LIMIT:?}"))?;
    // redb opens a file read-only only if it needs no repair.
    let opened = Database::builder().open_read_only(&path);
    ensure(opened.is_ok(), || format!("file needs a repair: {:?}", opened.as_ref().err()))?;
    drop(opened);
    let server = ServerProcess::start(&path)?;
    writers.check(&server)?;
    trial.count("stops");
    server.kill()
}
