//! What pages that wait for the disk do to pages that do not: one stream of each at a time, against
//! servers on one core that differ only in where a page is read: in line on the runtime's thread,
//! in line with more threads than cores, aside by `spawn_blocking`, or on threads of their own.
//!
//! The store's cache is small, and its file is put out of the system's cache ten times a second.

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
use convodb_benches::load_generator::{Load, Outcome, drive};
use convodb_benches::measurement::{Rounds, report};
use convodb_benches::server_process::{Serving, role, stay_on_client_core, tell, told_to_end};
use convodb_benches::{file_of, store_of};
use convodb_http::{AssistantNames, Limits, PageTokens, serve_routes, write_page};
use convodb_testkit::dataset::Dataset;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

const ROWS: u64 = 1_000_000;
/// Some hundred pages of the tree beside its inner ones, for a file of half a gigabyte.
const CACHE_BYTES: usize = 16 << 20;
/// Customers whose rows lie all over the file.
const CUSTOMERS: usize = 20_000;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 5;
const SECONDS: u64 = 2;
/// Where reads have threads of their own, or the runtime more than there are cores.
const MANY: usize = 16;

/// The servers: a name, the threads of the runtime, and where pages are read.
const SERVERS: [(&str, usize, Place); 4] = [
    ("in line", 1, Place::InLine),
    ("in line, 16 threads", MANY, Place::InLine),
    ("spawn_blocking", 1, Place::Blocking),
    ("threads of its own", 1, Place::Threads),
];

#[derive(Clone, Copy)]
enum Place {
    InLine,
    Blocking,
    Threads,
}

/// A read that is asked of another thread.
type Job = (Option<String>, oneshot::Sender<Option<Vec<u8>>>);

fn main() -> Outcome<()> {
    match role() {
        Some(name) => {
            let found = SERVERS.into_iter().find(|(known, ..)| *known == name);
            let (_, threads, place) = found.ok_or("no such server")?;
            serve(threads, place)
        }
        None => Builder::new_current_thread().enable_all().build()?.block_on(compare()),
    }
}

fn serve(threads: usize, place: Place) -> Outcome<()> {
    let options = StoreOptions { cache_bytes: CACHE_BYTES, ..StoreOptions::default() };
    let store = Store::open_with(file_of(ROWS)?, &options)?;
    let user = store.snapshot().users()?.first().ok_or("a store without users")?.id;
    let queue = matches!(place, Place::Threads).then(|| own_threads(&store, user));
    let answer = async move |RawQuery(query): RawQuery| {
        let body = match (place, queue) {
            (Place::Blocking, _) => spawn_blocking(move || page(&store, user, query)).await.ok(),
            (Place::Threads, Some(queue)) => {
                let (answer, body) = oneshot::channel();
                let asked = queue.send((query, answer));
                if asked.is_ok() { body.await.ok() } else { None }
            }
            _ => Some(page(&store, user, query)),
        };
        body.flatten().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let routes = Router::new().route("/page", get(answer));
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        tell(listener.local_addr()?, "", &[])?;
        serve_routes(routes, listener, Limits::default(), told_to_end()).await;
        Ok(())
    })
}

fn own_threads(store: &Store, user: UserId) -> SyncSender<Job> {
    let (queue, jobs) = sync_channel::<Job>(1024);
    let jobs = Arc::new(Mutex::new(jobs));
    let next = |jobs: &Mutex<Receiver<Job>>| jobs.lock().ok()?.recv().ok();
    for _ in 0..MANY {
        let (store, jobs) = (store.clone(), jobs.clone());
        std::thread::spawn(move || {
            while let Some((query, answer)) = next(&jobs) {
                let _ = answer.send(page(&store, user, query));
            }
        });
    }
    queue
}

/// The body of the first page of all rows, or of those of the customer whose number is given.
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
    let keeps_cold = Arc::new(AtomicBool::new(false));
    let (cold, file) = (keeps_cold.clone(), file_of(ROWS)?);
    std::thread::spawn(move || keep_cold(&file, &cold));
    stay_on_client_core()?;
    let (mut rows, mut out) = (Vec::new(), std::io::stdout());
    let mut found = Vec::new();
    for _ in SERVERS {
        found.push([Rounds::new()?, Rounds::new()?, Rounds::new()?]);
    }
    for _ in 0..ROUNDS {
        for ((name, ..), [alone, beside, of_cold]) in SERVERS.iter().zip(&mut found) {
            let server = Serving::start(name)?;
            let warm = Load {
                address: server.address,
                token: None,
                targets: vec!["/page".to_owned()],
                connections: CONNECTIONS,
                duration: Duration::from_secs(SECONDS),
            };
            // A stride without a factor in common with the number visits each once.
            let scattered = (0..CUSTOMERS).map(|number| number * 7_919 % CUSTOMERS);
            let targets = scattered.map(|number| format!("/page?{number}")).collect();
            let cold = Load { targets, ..warm.clone() };
            alone.add(&drive(&warm).await?)?;
            keeps_cold.store(true, Ordering::Relaxed);
            let (seen_warm, seen_cold) = tokio::join!(drive(&warm), drive(&cold));
            keeps_cold.store(false, Ordering::Relaxed);
            beside.add(&seen_warm?)?;
            of_cold.add(&seen_cold?)?;
        }
    }
    for ((name, ..), [alone, beside, of_cold]) in SERVERS.iter().zip(&found) {
        let kept = beside.ratio(alone);
        writeln!(out, "{name}: beside cold pages, {kept:.2} of the warm rate")?;
        for (list, rounds) in [("warm alone", alone), ("warm", beside), ("cold", of_cold)] {
            rows.push(rounds.measured(name, (list, "first"), 15, CONNECTIONS));
        }
    }
    report("cold", &rows)
}

/// Puts the file out of the system's cache, again and again, while it is to be cold.
fn keep_cold(file: &PathBuf, cold: &AtomicBool) {
    loop {
        if cold.load(Ordering::Relaxed) {
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
