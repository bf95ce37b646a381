//! Recovery time of a large store after SIGKILL, up to the first page.

use std::time::{Duration, Instant};

use convodb::{Store, StoreOptions};
use convodb_testkit::dataset;
use convodb_testkit::http_client::HttpClient;

use crate::clients::http_writers::HttpWriters;
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scale, Scenario, Trial, Trials, Violation, ensure};

pub(super) const RESTART: Scenario = Scenario {
    name: "restart",
    row: 7,
    promise: "After SIGKILL a store of ten million rows serves a page within a second.",
    trial: "20,000, 1M or 10M rows, killed three times under 8 clients",
    trials: Trials { smoke: 1, ci: 1, release: 3 },
    parallelism: Parallelism::Single,
    run,
};

const LIMIT: Duration = Duration::from_secs(1);

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let rows = match trial.scale {
        Scale::Smoke => 20_000,
        Scale::Ci => 1_000_000,
        Scale::Release => 10_000_000,
    };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.convodb");
    let store = Store::open_with(&path, &StoreOptions::default())?;
    dataset::load(&store, trial.seed, rows, |_| {})?;
    let mut writers = HttpWriters::with_new_user(&store, trial.seed)?;
    store.close()?;
    trial.add("rows", rows);
    let mut server = ServerProcess::start(&path)?;
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let (acknowledged, ()) =
            writers.write_until(server, Duration::from_millis(700), ServerProcess::kill)?;
        trial.add("acknowledged", acknowledged);
        let began = Instant::now();
        server = ServerProcess::start(&path)?;
        let mut client = HttpClient::connect(server.address, writers.token())?;
        client.get("/api/user/conversations")?;
        longest = longest.max(began.elapsed());
        writers.check(&server)?;
        trial.count("kills");
    }
    trial.figure("first page after ms", longest.as_secs_f64() * 1e3);
    ensure(longest < LIMIT || trial.scale == Scale::Smoke, || {
        format!("first page after {longest:?}, limit is {LIMIT:?}")
    })
}
