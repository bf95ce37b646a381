//! Benchmark of the HTTP server over real sockets, against an upper limit.
//!
//! The limit is a server with the same accept loop and the same middleware that returns a constant
//! body of the same size. Each server is a process on one core; the load generator runs on another
//! core, over 16 keep-alive connections. The servers take turns, so that a disturbance of the
//! machine affects both.
//!
//! Each page is measured as a new one, read for each request. The first page is also measured as
//! one that is repeated, and as one that the client has (304, against an empty constant body).
//!
//! `CONVODB_BENCH_ROWS`, `CONVODB_BENCH_ROUNDS` and `CONVODB_BENCH_SECONDS` set the size of the
//! store, the number of rounds and the length of a round; `CONVODB_BENCH_LISTS` selects lists.

use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::routing::get;
use convodb_benches::load_generator::{Load, Outcome, Requests, fetch, run_load};
use convodb_benches::measurement::{Measurement, Rounds, report};
use convodb_benches::server_process::{
    ListTargets, ServerProcess, announce, pin_to_client_core, role, serve_store, shutdown_signal,
};
use convodb_benches::setting;
use convodb_http::{Limits, runtime, serve_router, with_middleware};
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

const CONNECTIONS: usize = 16;
/// Larger than the body of any page.
const MAX_BODY_BYTES: usize = 1 << 20;

fn main() -> Outcome<()> {
    match role().as_deref() {
        Some("convodb") => serve_store(setting("CONVODB_BENCH_ROWS", 1_000_000)),
        Some(_) => serve_constant(),
        None => Builder::new_current_thread().enable_all().build()?.block_on(compare()),
    }
}

/// Serves `/constant?bytes=N`: a body of N bytes.
fn serve_constant() -> Outcome<()> {
    let body = Bytes::from(vec![b' '; MAX_BODY_BYTES]);
    let handler = async move |RawQuery(query): RawQuery| {
        let query = query.unwrap_or_default();
        let bytes = query.split('&').find_map(|pair| pair.strip_prefix("bytes="));
        let bytes = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        ([(CONTENT_TYPE, "application/json")], body.slice(..MAX_BODY_BYTES.min(bytes)))
    };
    let routes = with_middleware(Router::new().route("/constant", get(handler)));
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?, "", &[])?;
        serve_router(routes, listener, Limits::default(), shutdown_signal()).await;
        Ok(())
    })
}

async fn compare() -> Outcome<()> {
    let only = std::env::var("CONVODB_BENCH_LISTS").unwrap_or_default();
    let (convodb, constant) = (ServerProcess::start("convodb")?, ServerProcess::start("constant")?);
    pin_to_client_core()?;
    let mut rows: Vec<Measurement> = Vec::new();
    for list in &convodb.lists {
        let name = format!("{} {} {}", list.list, list.depth, list.page_size);
        if !only.is_empty() && !only.split(',').any(|only| only == name) {
            continue;
        }
        let load = Load {
            address: convodb.address,
            token: Some(convodb.token.clone()),
            targets: list.targets.clone(),
            connections: CONNECTIONS,
            duration: Duration::from_millis(300),
            requests: Requests::Unique,
        };
        rows.extend(compare_load(&convodb, &constant, list, "new", &load).await?);
        if let [target] = &list.targets[..] {
            let repeated = Load { requests: Requests::Repeated, ..load.clone() };
            rows.extend(compare_load(&convodb, &constant, list, "repeated", &repeated).await?);
            let page = fetch(&repeated, target).await?;
            let tag = page.headers().get(ETAG).ok_or("a page without an entity tag")?.clone();
            let unchanged = Load { requests: Requests::IfNoneMatch(tag), ..load };
            rows.extend(compare_load(&convodb, &constant, list, "unchanged", &unchanged).await?);
        }
    }
    report("server", &rows)
}

/// Measures a load in turns with the same one on the server with the constant body.
async fn compare_load(
    convodb: &ServerProcess,
    constant: &ServerProcess,
    list: &ListTargets,
    requests: &str,
    load: &Load,
) -> Outcome<[Measurement; 2]> {
    let (rounds, seconds) =
        (setting("CONVODB_BENCH_ROUNDS", 5), setting("CONVODB_BENCH_SECONDS", 3));
    let bytes = run_load(load).await?.mean_bytes();
    let load = Load { duration: Duration::from_secs(seconds), ..load.clone() };
    // Numbered requests take the generator longer.
    let like_load = match load.requests {
        Requests::Unique => Requests::Unique,
        _ => Requests::Repeated,
    };
    let limit = Load {
        address: constant.address,
        targets: same_length_targets(list, bytes),
        requests: like_load,
        ..load.clone()
    };
    let (mut of_store, mut of_limit) = (Rounds::new()?, Rounds::new()?);
    let mut micros = [0, 0];
    for _ in 0..rounds {
        for (at, (server, load, rounds)) in
            [(convodb, &load, &mut of_store), (constant, &limit, &mut of_limit)]
                .into_iter()
                .enumerate()
        {
            let before = server.cpu_micros()?;
            rounds.add(&run_load(load).await?)?;
            micros[at] += server.cpu_micros()? - before;
        }
    }
    let each = |at: usize, of: &Rounds| micros[at] as f64 / of.pages().max(1) as f64;
    let (page, constant_body) = (each(0, &of_store), each(1, &of_limit));
    writeln!(
        std::io::stdout(),
        "{} {} {} {requests}: {bytes} bytes, {:.2} of the limit's rate; CPU per page {page:.1} us \
         against {constant_body:.1} us, ratio {:.2}",
        list.list,
        list.depth,
        list.page_size,
        of_store.ratio(&of_limit),
        constant_body / page
    )?;
    let depth = format!("{}, {requests}", list.depth);
    let names = (list.list.as_str(), depth.as_str());
    Ok([("convodb", &of_store), ("constant", &of_limit)]
        .map(|(server, rounds)| rounds.measurement(server, names, list.page_size, CONNECTIONS)))
}

/// Targets of the same length for the server with the constant body.
fn same_length_targets(list: &ListTargets, bytes: u64) -> Vec<String> {
    let query = |target: &String| target.split_once('?').map(|(_, query)| query.to_owned());
    list.targets
        .iter()
        .map(|target| format!("/constant?bytes={bytes}&{}", query(target).unwrap_or_default()))
        .collect()
}
