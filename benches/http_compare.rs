//! Comparison benchmark over HTTP: the same lists from convodb, PocketBase and Datasette.
//!
//! Each server has 100,000 rows and runs on one core; the load generator runs on another. The first
//! run installs the two others below `target/` and loads them with `http_compare.py`, with an index
//! for each list. The servers serve different purposes; compared is a page of 15 rows at any depth.

use std::net::SocketAddr;
use std::time::Duration;

use convodb_benches::load_generator::{Load, Outcome, Requests, fetch, run_load};
use convodb_benches::measurement::{Rounds, report};
use convodb_benches::other_servers::{OtherServer, OtherServers, ROWS};
use convodb_benches::server_process::{
    ListTargets, ServerProcess, pin_to_client_core, role, serve_store,
};
use serde_json::Value;
use tokio::runtime::Builder;

const PAGE: u64 = 15;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 3;
const DURATION: Duration = Duration::from_secs(2);
const LISTS: [&str; 4] = ["unfiltered", "type", "assistant", "customer"];

fn main() -> Outcome<()> {
    if role().is_some() {
        return serve_store(ROWS);
    }
    let others = OtherServers::prepare()?;
    Builder::new_current_thread().enable_all().build()?.block_on(compare(&others))
}

async fn compare(others: &OtherServers) -> Outcome<()> {
    let convodb = ServerProcess::start("convodb")?;
    let data = format!("--dir={}", others.data.join("pocketbase").display());
    let pocketbase = OtherServer::start(
        &others.program("pocketbase"),
        &["serve", "--http=127.0.0.1:18091", &data],
        18091,
    )?;
    let database = others.data.join("datasette.db");
    let database = database.to_str().ok_or("the path of the database is not UTF-8")?;
    let immutable = ["serve", "--port=18092", "-i", database];
    let datasette = OtherServer::start(&others.program("datasette"), &immutable, 18092)?;
    pin_to_client_core()?;

    let targets: Value = serde_json::from_slice(&std::fs::read(others.data.join("targets.json"))?)?;
    let mut rows = Vec::new();
    for list in LISTS {
        for depth in ["first", "deep"] {
            let own = convodb.lists.iter().find(|own| {
                (own.list.as_str(), own.depth.as_str(), own.page_size) == (list, depth, PAGE)
            });
            let mut servers = Vec::new();
            if let Some(ListTargets { targets, .. }) = own {
                let token = Some(convodb.token.clone());
                let load = load(convodb.address, token, targets.clone());
                // Without its cache of responses: each page is read.
                servers.push(("convodb", Load { requests: Requests::Unique, ..load }));
            }
            for (name, address) in [
                ("pocketbase", pocketbase.address),
                ("pocketbase, page number", pocketbase.address),
                ("datasette", datasette.address),
            ] {
                let targets = texts(&targets[name][list][depth]);
                if !targets.is_empty() {
                    servers.push((name, load(address, None, targets)));
                }
            }
            let mut found = Vec::new();
            for (_, load) in &servers {
                wait_until_ready(load).await?;
                found.push(Rounds::new()?);
            }
            for _ in 0..ROUNDS {
                for ((_, load), rounds) in servers.iter().zip(&mut found) {
                    rounds.add(&run_load(load).await?)?;
                }
            }
            for ((name, _), rounds) in servers.iter().zip(&found) {
                rows.push(rounds.measurement(name, (list, depth), PAGE, CONNECTIONS));
            }
        }
    }
    report("http_compare", &rows)
}

fn load(address: SocketAddr, token: Option<String>, targets: Vec<String>) -> Load {
    let requests = Requests::default();
    Load { address, token, targets, connections: CONNECTIONS, duration: DURATION, requests }
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Waits until the server returns a page of the right size.
async fn wait_until_ready(load: &Load) -> Outcome<()> {
    let mut left = 200;
    let body = loop {
        match fetch(load, &load.targets[0]).await {
            Ok(body) => break body,
            Err(error) if left == 0 => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        left -= 1;
    };
    let page: Value = serde_json::from_slice(body.body())?;
    let rows = ["data", "items", "rows"].iter().find_map(|name| page[name].as_array());
    match rows.map(Vec::len) {
        Some(rows) if rows as u64 == PAGE => Ok(()),
        rows => Err(format!("expected {PAGE} rows, got {rows:?}, for {}", load.targets[0]).into()),
    }
}
