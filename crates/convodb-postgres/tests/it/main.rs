//! A store on PostgreSQL beside the embedded store that it was imported from.
//!
//! The tests need a server: `.ci/postgres` starts one, and names it to them. Each test has a schema of
//! its own, which it creates anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod bulkhead;
mod damage;
mod differential;
mod erasure;
mod export;
mod faults;
mod frozen;
mod health;
mod http;
mod plans;
mod proxy;
mod reads;
mod replica;
#[cfg(feature = "tls")]
mod tls;
mod writes;

use convodb::Store;
use convodb_postgres::{Cluster, ClusterOptions};
use tokio_postgres::{Client, NoTls};

/// The database of the tests.
fn url() -> String {
    let url = std::env::var("CONVODB_TEST_POSTGRES");
    url.expect("CONVODB_TEST_POSTGRES names a PostgreSQL database, as `.ci/postgres` starts one")
}

/// Whether the tables of each test are distributed over the workers of Citus, which the database needs.
fn is_distributed() -> bool {
    std::env::var_os("CONVODB_TEST_CITUS").is_some()
}

/// The sessions that wait for a lock, or for a worker of Citus.
const WAITS: &str = "(wait_event_type = 'Lock' or state = 'active' and wait_event = 'ClientRead')";

/// The options of a store that is made in a schema.
fn new_store(url: &str, schema: &str) -> ClusterOptions {
    let options = ClusterOptions::new(url).unwrap().schema(schema).unwrap();
    if is_distributed() { options.distributed() } else { options }
}

/// The options of an empty schema of this name.
async fn empty_schema(name: &str) -> ClusterOptions {
    let client = connect().await;
    client.batch_execute(&format!("drop schema if exists {name} cascade")).await.unwrap();
    new_store(&url(), name).connections(2).unwrap()
}

/// Imports the store into a schema of this name.
async fn imported(name: &str, store: &Store) -> (ClusterOptions, Cluster) {
    let options = empty_schema(name).await;
    Cluster::import(&options, store, |_| {}).await.unwrap();
    let cluster = Cluster::open(&options).await.unwrap();
    (options, cluster)
}

/// A connection that can change anything.
async fn connect() -> Client {
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Runs SQL in a schema.
async fn execute(schema: &str, sql: &str) {
    let client = connect().await;
    client.batch_execute(&format!("set search_path = {schema}")).await.unwrap();
    client.batch_execute(sql).await.unwrap();
}
