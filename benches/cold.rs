//! Benchmark of warm pages next to cold pages: how much do reads that wait for the disk slow down
//! the others?
//!
//! The servers, each on one core, differ only in where a page is read: inline on the runtime's
//! thread, inline with more threads than cores, in `spawn_blocking`, or on dedicated threads. Each
//! gets a warm load alone, then a warm and a cold load at the same time. The store's cache is
//! small, and its file is evicted from the page cache of the system ten times per second.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::get;
use convodb::{Filter, ListRequest, Store, StoreOptions, UserId};
use convodb_bench::dataset::Dataset;
use convodb_benches::load_generator::{Load, Outcome, Requests, run_load};
use convodb_benches::measurement::{Rounds, report};
use convodb_benches::server_process::{
    ServerProcess, announce, pin_to_client_core, role, shutdown_signal,
};
use convodb_benches::{file_of, store_of};
use convodb_http::{Limits, PageTokens, serve_router, write_page};
use convodb_json::AssistantNames;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

const ROWS: u64 = 1_000_000;
/// The inner pages of the B-tree and a few hundred leaves, for a file of half a gigabyte.
const CACHE_BYTES: usize = 16 << 20;
/// Customers whose rows are spread over the file.
const CUSTOMERS: usize = 20_000;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 5;
const SECONDS: u64 = 2;
/// Dedicated read threads, or runtime threads above the number of cores.
const MANY_THREADS: usize = 16;

/// The servers: name, threads of the runtime, and where pages are read.
const SERVERS: [(&str, usize, ReadOn); 4] = [
    ("inline", 1, ReadOn::Runtime),
    ("inline, 16 threads", MANY_THREADS, ReadOn::Runtime),
    ("spawn_blocking", 1, ReadOn::BlockingPool),
    ("dedicated threads", 1, ReadOn::DedicatedThreads),
];

/// Where a page is read.
#[derive(Clone, Copy)]
enum ReadOn {
    Runtime,
    BlockingPool,
    DedicatedThreads,
}

/// A read for a dedicated thread: the query string, and the channel for the body.
type Job = (Option<String>, oneshot::Sender<Option<Vec<u8>>>);

fn main() -> Outcome<()> {
    match role() {
        Some(name) => {
            let found = SERVERS.into_iter().find(|(known, ..)| *known == name);
            let (_, threads, read_on) = found.ok_or("unknown server")?;
            serve(threads, read_on)
        }
        None => Builder::new_current_thread().enable_all().build()?.block_on(compare()),
    }
}

fn serve(threads: usize, read_on: ReadOn) -> Outcome<()> {
    let options = StoreOptions::new().cache_bytes(CACHE_BYTES);
    let store = Store::open_with(file_of(ROWS)?, &options)?;
    let user = store.snapshot().users()?.first().ok_or("the store has no users")?.id;
    let queue = matches!(read_on, ReadOn::DedicatedThreads).then(|| spawn_readers(&store, user));
    let handler = async move |RawQuery(query): RawQuery| {
        let body = match (read_on, queue) {
            (ReadOn::BlockingPool, _) => {
                spawn_blocking(move || page(&store, user, query)).await.ok()
            }
            (ReadOn::DedicatedThreads, Some(queue)) => {
                let (reply, body) = oneshot::channel();
                let sent = queue.send((query, reply));
                if sent.is_ok() { body.await.ok() } else { None }
            }
            _ => Some(page(&store, user, query)),
        };
        body.flatten().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let routes = Router::new().route("/page", get(handler));
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?, "", &[])?;
        serve_router(routes, listener, Limits::default(), shutdown_signal()).await;
        Ok(())
    })
}

/// Starts the dedicated read threads and returns their queue.
fn spawn_readers(store: &Store, user: UserId) -> SyncSender<Job> {
    let (queue, jobs) = sync_channel::<Job>(1024);
    let jobs = Arc::new(Mutex::new(jobs));
    let next = |jobs: &Mutex<Receiver<Job>>| jobs.lock().ok()?.recv().ok();
    for _ in 0..MANY_THREADS {
        let (store, jobs) = (store.clone(), jobs.clone());
        std::thread::spawn(move || {
            while let Some((query, reply)) = next(&jobs) {
                let _ = reply.send(page(&store, user, query));
            }
        });
    }
    queue
}

/// The body of the first page: of all rows, or of the customer whose number is the query.
fn page(store: &Store, user: UserId, query: Option<String>) -> Option<Vec<u8>> {
    let customer = query.and_then(|number| number.parse().ok());
    let phone = customer.map(|number| Dataset::customer_phone(0, number));
    let customer_phone = phone.and_then(|phone| phone.parse().ok());
    let filter = Filter { customer_phone, ..Filter::default() };
    let snapshot = store.snapshot();
    let request = ListRequest { filter, ..ListRequest::default() };
    let page = snapshot.list(user, &request).ok()?;
    let tokens = PageTokens::of(&page, &snapshot);
    let mut body = Vec::new();
    let mut names = AssistantNames::new(snapshot, user);
    write_page(&mut body, "http://127.0.0.1/page", &page, &tokens, &mut names).ok()?;
    Some(body)
}

async fn compare() -> Outcome<()> {
    drop(store_of(ROWS)?);
    let evict = Arc::new(AtomicBool::new(false));
    let (enabled, file) = (evict.clone(), file_of(ROWS)?);
    std::thread::spawn(move || evict_file(&file, &enabled));
    pin_to_client_core()?;
    let (mut rows, mut out) = (Vec::new(), std::io::stdout());
    let mut found = Vec::new();
    for _ in SERVERS {
        found.push([Rounds::new()?, Rounds::new()?, Rounds::new()?]);
    }
    for _ in 0..ROUNDS {
        for ((name, ..), [alone, warm_rounds, cold_rounds]) in SERVERS.iter().zip(&mut found) {
            let server = ServerProcess::start(name)?;
            let warm = Load {
                address: server.address,
                token: None,
                targets: vec!["/page".to_owned()],
                connections: CONNECTIONS,
                duration: Duration::from_secs(SECONDS),
                requests: Requests::default(),
            };
            // A stride that is coprime to the number of customers visits each once.
            let scattered = (0..CUSTOMERS).map(|number| number * 7_919 % CUSTOMERS);
            let targets = scattered.map(|number| format!("/page?{number}")).collect();
            let cold = Load { targets, ..warm.clone() };
            alone.add(&run_load(&warm).await?)?;
            evict.store(true, Ordering::Relaxed);
            let (seen_warm, seen_cold) = tokio::join!(run_load(&warm), run_load(&cold));
            evict.store(false, Ordering::Relaxed);
            warm_rounds.add(&seen_warm?)?;
            cold_rounds.add(&seen_cold?)?;
        }
    }
    for ((name, ..), [alone, warm_rounds, cold_rounds]) in SERVERS.iter().zip(&found) {
        let ratio = warm_rounds.ratio(alone);
        writeln!(out, "{name}: {ratio:.2} of the warm rate next to cold pages")?;
        for (list, rounds) in [("warm alone", alone), ("warm", warm_rounds), ("cold", cold_rounds)]
        {
            rows.push(rounds.measurement(name, (list, "first"), 15, CONNECTIONS));
        }
    }
    report("cold", &rows)
}

/// Evicts the file from the system's page cache every 100 ms while `enabled` is set.
fn evict_file(file: &PathBuf, enabled: &AtomicBool) {
    loop {
        if enabled.load(Ordering::Relaxed) {
            let mut out = std::ffi::OsString::from("of=");
            out.push(file);
            let _ = Command::new("dd")
                .arg(out)
                .args(["if=/dev/null", "oflag=nocache", "conv=notrunc,fdatasync", "count=0"])
                .arg("status=none")
                .status();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
