//! Row 7: how long a big store is away after kill -9, from the start of the process to the first
//! page.

use std::time::{Duration, Instant};

use convodb::{Store, StoreOptions};
use convodb_testkit::dataset;

use crate::clients::connection::Connection;
use crate::clients::http_writers::HttpWriters;
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scale, Scenario, Trial, Trials, Violation, ensure};

pub(super) const RESTART: Scenario = Scenario {
    name: "restart",
    row: 7,
    promise: "After kill -9 a store of ten million rows answers again within a second.",
    trial: "20,000, 1M or 10M rows, killed three times under 8 clients",
    trials: Trials { smoke: 1, ci: 1, release: 3 },
    parallelism: Parallelism::Single,
    run,
};

const MOST: Duration = Duration::from_secs(1);

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
    let mut clients = HttpWriters::of(&store, trial.seed)?;
    store.close()?;
    trial.add("rows", rows);
    let mut server = ServerProcess::start(&path)?;
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let (acknowledged, ()) =
            clients.write_until(server, Duration::from_millis(700), ServerProcess::kill)?;
        trial.add("acknowledged", acknowledged);
        let began = Instant::now();
        server = ServerProcess::start(&path)?;
        let mut connection = Connection::open(&server.address, clients.token())?;
        let reply = connection.ask("GET", "/api/user/conversations", None)?;
        longest = longest.max(began.elapsed());
        ensure(reply.status == 200, || format!("{}: {}", reply.status, reply.body))?;
        clients.check(&server)?;
        trial.count("kills");
    }
    trial.figure("first page after ms", longest.as_secs_f64() * 1e3);
    ensure(longest < MOST || trial.scale == Scale::Smoke, || {
        format!("the first page came after {longest:?}")
    })
}
