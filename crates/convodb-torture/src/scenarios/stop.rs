//! Row 10: SIGTERM under load: the server ends well and soon, loses nothing that it acknowledged, and
//! leaves a file that is opened without a repair.

use std::time::Duration;

use rand::RngExt;
use redb::Database;

use crate::clients::http_writers::HttpWriters;
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const STOP: Scenario = Scenario {
    name: "stop",
    row: 10,
    promise: "After SIGTERM under load nothing acknowledged is lost, the exit status is 0 within \
              10 s, and the next opening repairs nothing.",
    trial: "one stop under 8 clients",
    trials: Trials { smoke: 1, ci: 20, release: 500 },
    parallelism: Parallelism::PerCore,
    run,
};

const SOON: Duration = Duration::from_secs(10);

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let mut clients = HttpWriters::of_new_store(&path, trial.seed)?;
    let server = ServerProcess::start(&path)?;
    let after = Duration::from_millis(trial.random.random_range(20..400));
    let (acknowledged, ended) = clients.write_until(server, after, ServerProcess::stop)?;
    let (status, took, said) = ended;
    trial.add("acknowledged", acknowledged);
    trial.figure("stopped in s", took.as_secs_f64());
    ensure(status.success(), || format!("it stopped with {status}: {said}"))?;
    ensure(took < SOON, || format!("it took {took:?} to stop"))?;
    // redb opens a file for reading alone only where it needs no repair.
    let opened = Database::builder().open_read_only(&path);
    ensure(opened.is_ok(), || format!("the file needs a repair: {:?}", opened.as_ref().err()))?;
    drop(opened);
    let server = ServerProcess::start(&path)?;
    clients.check(&server)?;
    trial.count("stops");
    server.kill()
}
