//! Instruction counts of the hot paths, by callgrind: regressions show even on a busy machine.
//!
//! Prints a table against the baseline in `instructions.json`; fails if a path exceeds it by more
//! than the tolerance. `-- --save` writes a new baseline. Needs valgrind.
//!
//! Each path runs in its own process on a store of a fixed size, below [`counted`]. An insert runs
//! on the writer thread, so there [`INSERT_FUNCTION`] is counted.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use convodb::{ListRequest, PageSize, Snapshot, Store, Timestamp, UserId};
use convodb_bench::dataset::Dataset;
use convodb_benches::callgrind::{INSERT_FUNCTION, instructions};
use convodb_benches::server_process::LIST;
use convodb_benches::{lists, page_starts, store_of};
use convodb_http::{Config, PageTokens, router, with_middleware, write_page};
use convodb_json::AssistantNames;
use http_body_util::BodyExt;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::service::Service as _;
use hyper::{Request, StatusCode};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

/// Environment variable with the path that a child process runs.
const PATH: &str = "CONVODB_INSTRUCTIONS_PATH";
/// Environment variable with the number of runs.
const ROUNDS: &str = "CONVODB_INSTRUCTIONS_ROUNDS";
/// Enough rows for a B-tree of three levels and for lists of several pages.
const ROWS: u64 = 20_000;
const INSERT: &str = "insert, in groups of 100";
const GROUP: usize = 100;
const GROUPS: usize = 10;
/// The rank of the user whose rows are inserted.
const USER: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Serialize, Deserialize)]
struct Baseline {
    tolerance_percent: f64,
    /// Instructions per run of each path.
    instructions: BTreeMap<String, u64>,
}

/// The paths that run below [`counted`], and the number of runs.
const READS: [(&str, u64); 15] = [
    ("page of 15: unfiltered, deep", 64),
    ("page of 100: unfiltered, deep", 16),
    ("page of 15: type, deep", 64),
    ("page of 100: type, deep", 16),
    ("page of 15: assistant, deep", 64),
    ("page of 15: customer, first", 64),
    ("page of 15: empty", 64),
    ("cursor, sealed and opened", 64),
    ("record, decoded borrowed", 100),
    ("body of 15 rows", 64),
    ("body of 100 rows", 16),
    ("request of 15: new", 64),
    ("request of 15: repeated", 64),
    ("request of 15: unchanged", 64),
    ("constant body, with the same middleware", 64),
];

fn main() -> ExitCode {
    let done = match (std::env::var(PATH), std::env::var(ROUNDS)) {
        (Ok(path), Ok(rounds)) => child(&path, &rounds).map(|()| true),
        _ => parent(std::env::args().any(|argument| argument == "--save")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts all paths and compares them with the baseline. Returns whether all are within the
/// tolerance.
fn parent(save: bool) -> Outcome<bool> {
    drop(store_of(ROWS)?);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let mut baseline: Baseline = serde_json::from_slice(&std::fs::read(&file)?)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "| path | instructions | baseline | change |\n|---|---|---|---|")?;
    let mut within = true;
    let mut found = BTreeMap::new();
    for name in READS.map(|(name, _)| name).into_iter().chain([INSERT]) {
        let count = count(name)?;
        let (known, change) = match baseline.instructions.get(name) {
            Some(&known) => {
                let percent = (count as f64 / known as f64 - 1.0) * 100.0;
                let exceeded = percent > baseline.tolerance_percent;
                within &= !exceeded;
                let note = if exceeded { ", above the tolerance" } else { "" };
                (known.to_string(), format!("{percent:+.1}%{note}"))
            }
            None => ("none".to_owned(), "new".to_owned()),
        };
        writeln!(out, "| {name} | {count} | {known} | {change} |")?;
        found.insert(name.to_owned(), count);
    }
    if save {
        baseline.instructions = found;
        std::fs::write(&file, serde_json::to_string_pretty(&baseline)? + "\n")?;
        return Ok(true);
    }
    Ok(within)
}

/// The instructions per run of a path.
fn count(name: &str) -> Outcome<u64> {
    let of = |function, rounds: u64| {
        instructions(function, &[(PATH, name), (ROUNDS, &rounds.to_string())])
    };
    match READS.iter().find(|(read, _)| *read == name) {
        Some((_, runs)) => Ok(of("*counted*", *runs)? / runs),
        None => Ok(of(INSERT_FUNCTION, GROUPS as u64)? / (GROUPS * GROUP) as u64),
    }
}

/// The function that callgrind counts.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Prevent a tail call, which would never return here.
    black_box(());
}

fn child(path: &str, rounds: &str) -> Outcome<()> {
    let rounds: usize = rounds.parse()?;
    if path == INSERT {
        return insert(rounds);
    }
    let (store, users) = store_of(ROWS)?;
    if path.starts_with("request") {
        return send_requests(path, rounds, &store, users[0]);
    }
    if path.starts_with("constant") {
        return request_constant(rounds);
    }
    let (snapshot, user) = (store.snapshot(), users[0]);
    let size = PageSize::new(if path.contains("100") { 100 } else { 15 })?;
    let requests = requests(path, &snapshot, user, size)?;
    let pages = requests.iter().map(|request| snapshot.list(user, request));
    let pages: Vec<_> = pages.collect::<Result<_, _>>()?;
    let each = |work: &mut dyn FnMut(usize)| {
        counted(&mut || (0..rounds).for_each(|round| work(round % requests.len())));
    };
    match path.split_once(' ').map_or(path, |(kind, _)| kind) {
        "page" => each(&mut |at| {
            let page = store.snapshot().list(user, &requests[at]);
            for row in page.iter().flat_map(|page| page.conversations()) {
                black_box(row);
            }
        }),
        "cursor," => each(&mut |at| {
            let token = pages[at].next_cursor().map(|cursor| snapshot.seal_cursor(cursor));
            drop(black_box(token.map(|token| snapshot.open_cursor(user, &token))));
        }),
        "record," => each(&mut |at| {
            black_box(pages[at].conversations().next());
        }),
        _ => each(&mut |at| {
            let tokens = PageTokens::of(&pages[at], &snapshot);
            let mut names = AssistantNames::new(snapshot.clone(), user);
            let mut body = Vec::new();
            let written = write_page(&mut body, "http://a/list", &pages[at], &tokens, &mut names);
            drop(black_box((written, body)));
        }),
    }
    Ok(())
}

/// Sends requests for the first page to the routes of the server, without a socket.
fn send_requests(path: &str, rounds: usize, store: &Store, user: UserId) -> Outcome<()> {
    let token = store.create_token(user, Timestamp::MIN)?;
    let routes = TowerToHyperService::new(router(store.clone(), &Config::default()));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let is_new = path.contains("new");
    let send = |number: usize, tag: Option<&HeaderValue>| {
        let target = match is_new {
            true => format!("{LIST}?per_page=15&request={number}"),
            false => format!("{LIST}?per_page=15"),
        };
        let mut request = Request::get(target)
            .header(HOST, "127.0.0.1:8080")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        runtime.block_on(async {
            let Ok(response) = routes.call(request.body(Body::empty())?).await;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await?.to_bytes().len();
            Outcome::Ok((head, bytes))
        })
    };
    // The first request leaves a trace, and the second one what is repeated.
    let first = send(rounds, None)?.0;
    send(rounds, None)?;
    let tag = first.headers.get(ETAG).filter(|_| path.contains("unchanged"));
    let mut sent = Vec::with_capacity(rounds);
    counted(&mut || (0..rounds).for_each(|round| sent.push(send(round, tag))));
    let expected = if tag.is_some() { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    for answered in sent {
        let (head, bytes) = answered?;
        if head.status != expected || (bytes == 0) != tag.is_some() {
            return Err(format!("{path}: {} with {bytes} bytes", head.status).into());
        }
    }
    Ok(())
}

/// Requests a constant body of the size of a page from a route with the middleware of the server: what
/// a request costs before anything is read.
fn request_constant(rounds: usize) -> Outcome<()> {
    const BYTES: usize = 7_000;
    let body = Bytes::from(vec![b' '; BYTES]);
    let handler = async move || ([(CONTENT_TYPE, "application/json")], body.clone());
    let routes = with_middleware(Router::new().route("/constant", get(handler)));
    let routes = TowerToHyperService::new(routes);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let send = || {
        let request = Request::get("/constant").header(HOST, "127.0.0.1:8080");
        runtime.block_on(async {
            let Ok(response) = routes.call(request.body(Body::empty())?).await;
            Outcome::Ok(response.into_body().collect().await?.to_bytes().len())
        })
    };
    send()?;
    let mut sent = Vec::with_capacity(rounds);
    counted(&mut || (0..rounds).for_each(|_| sent.push(send())));
    match sent.into_iter().collect::<Outcome<Vec<_>>>()?.iter().all(|bytes| *bytes == BYTES) {
        true => Ok(()),
        false => Err("a constant body of another size".into()),
    }
}

/// The pages that a path reads in turn.
fn requests(
    path: &str,
    snapshot: &Snapshot,
    user: UserId,
    size: PageSize,
) -> Outcome<Vec<ListRequest>> {
    let lists = lists(snapshot, user)?;
    let list = lists.into_iter().find(|(name, _)| path.contains(*name));
    let filter = list.map(|(_, filter)| filter).unwrap_or_default();
    let first =
        ListRequest { filter: filter.clone(), page_size: Some(size), ..ListRequest::default() };
    if path.contains("first") || path.contains("empty") {
        return Ok(vec![first]);
    }
    let deep = page_starts(snapshot, user, &filter, size)?.next;
    if deep.is_empty() { Err(format!("{path}: the list has one page").into()) } else { Ok(deep) }
}

/// Inserts groups of rows into a store in memory.
fn insert(groups: usize) -> Outcome<()> {
    // First, so that no checkpoint comes due while the store is open.
    let rows = Dataset::new(1, ROWS).filter(|row| row.user == USER);
    let mut rows = rows.take(groups * GROUP).collect::<Vec<_>>().into_iter();
    let store = Store::in_memory()?;
    let user = store.write(|transaction| {
        let user = transaction.create_user("Acme", Timestamp::MIN)?.id;
        for number in 0..Dataset::assistants(USER) {
            let id = Dataset::assistant(USER, number);
            transaction.create_assistant(user, id, format!("Assistant {number}"))?;
        }
        Ok::<_, convodb::Error>(user)
    })?;
    for _ in 0..groups {
        let group: Vec<_> = rows.by_ref().take(GROUP).collect();
        store.write(move |transaction| {
            group
                .into_iter()
                .try_for_each(|row| transaction.insert(user, row.conversation, Vec::new()))
        })?;
    }
    store.close()?;
    Ok(())
}
