//! A cluster of three nodes with etcd, Patroni and PostgreSQL, under faults while it is written to.

mod api_client;
mod application;
mod application_clients;
mod cell;
mod compare;
mod database_faults;
mod faults;
mod health;
mod network;
mod nodes;
mod operator;
mod transcript;
mod writers;

use std::time::Duration;

use convodb::{AssistantId, Store, Timestamp};
use convodb_postgres::{Cluster, ClusterOptions};
use tokio::runtime::Builder;
use uuid::Uuid;

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};
use crate::scenarios::cluster::application::Application;
use crate::scenarios::cluster::cell::Cell;
pub(crate) use crate::scenarios::cluster::compare::{Comparison, Size};
use crate::scenarios::cluster::faults::FAULTS;
use crate::scenarios::cluster::nodes::{Nodes, missing, url};
use crate::scenarios::cluster::operator::{Operator, STORE_ROLE, SUPERUSER};
use crate::scenarios::cluster::writers::{Writers, within};

pub(super) const CLUSTER: Scenario = Scenario {
    name: "cluster",
    row: 32,
    promise: "While nodes of a PostgreSQL cluster with strict quorum fail, every acknowledged write \
              is stored once, every other one at most once, and a follower of the feed reads the \
              stored state without a hole.",
    trial: "16 writers, a follower and clients of the API on three nodes, through each fault in turn",
    trials: Trials { smoke: 0, ci: 1, release: 20 },
    parallelism: Parallelism::Single,
    run,
};

/// The most bytes on disk at the end of a trial.
const MAX_DISK_BYTES: u64 = 2 << 30;

fn run(trial: &mut Trial) -> Result<(), Violation> {
    if let Some(why) = missing() {
        trial.skip(why);
        return Ok(());
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let nodes = Nodes::start()?;
    let operator = Operator::connect(&url(SUPERUSER))?;
    operator.create_store_role()?;
    let compared = compare::run(&nodes, &Size::QUICK)?;
    trial.add("pages compared", compared.compared_pages());
    let url = url(STORE_ROLE);
    let application = Application::move_to(&url)?;
    application.check_put_back(&operator)?;
    drop(operator);
    // A failover takes 20 s and more; within the timeout a write is repeated.
    let options = ClusterOptions::new(&url)?.schema("torture")?;
    let options = options.write_timeout(Duration::from_secs(60));
    let store = Store::in_memory()?;
    let user = store.create_user("Acme", Timestamp::now())?.id;
    let bot = AssistantId::new(Uuid::from_u128(1));
    store.create_assistant(user, bot, "Bot")?;
    within(&runtime, "the import", Cluster::import(&options, &store, |_| {}))??;
    let writers = Writers::start(&runtime, &options, user, bot)?;
    let mut cell = Cell { nodes, writers, application, runtime };
    for fault in &FAULTS {
        let inflicted = cell.inflict(fault, trial);
        trial.transcript = cell.application.transcript();
        inflicted?;
    }
    let Cell { nodes, writers, application, runtime } = cell;
    application.stop()?;
    let [landed, not_written, lost_connections] = writers.doubts();
    trial.add("doubts landed", landed);
    trial.add("doubts run again", not_written);
    trial.add("lost connections", lost_connections);
    let seen = writers.stop_and_check(&runtime, &options)?;
    trial.add("acknowledged", seen.acknowledged);
    trial.add("in doubt at the end", seen.in_doubt);
    trial.add("not written", seen.not_written);
    trial.add("conversations", seen.conversations);
    trial.add("changes", seen.changes);
    let bytes = nodes.disk_bytes()?;
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    trial.figure("MiB on disk", (bytes >> 20) as f64);
    ensure(bytes <= MAX_DISK_BYTES, || format!("the nodes take {bytes} bytes on disk"))
}

/// Compares an embedded store, one PostgreSQL server and three nodes: `convodb-torture cluster --compare`.
///
/// # Errors
/// A violation if this machine cannot run it, or a store differs.
pub(crate) fn compare(size: &Size) -> Result<Comparison, Violation> {
    if let Some(why) = missing() {
        return Err(Violation::new(why));
    }
    let nodes = Nodes::start()?;
    Operator::connect(&url(SUPERUSER))?.create_store_role()?;
    compare::run(&nodes, size)
}
