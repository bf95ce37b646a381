//! The server over real sockets, against a limit: the same accept loop and the same layers with a
//! constant body of the same size. Each is a process on one core; who asks is on the other, over 16
//! connections that stay open. The two are asked by turns, so that what disturbs the machine
//! disturbs both. `CONVODB_BENCH_ROWS`, `CONVODB_BENCH_ROUNDS`, `CONVODB_BENCH_SECONDS` choose.

use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use convodb_benches::load_generator::{Load, Outcome, drive};
use convodb_benches::measurement::{Measured, Rounds, report};
use convodb_benches::server_process::{
    Asked, Serving, role, serve_store, stay_on_client_core, tell, told_to_end,
};
use convodb_http::{Limits, runtime, serve_routes, wrapped};
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

const CONNECTIONS: usize = 16;
/// More than any body of a page.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> Outcome<()> {
    match role().as_deref() {
        Some("convodb") => serve_store(setting("CONVODB_BENCH_ROWS", 1_000_000)),
        Some(_) => serve_constant(),
        None => Builder::new_current_thread().enable_all().build()?.block_on(compare()),
    }
}

/// Answers `?bytes=N` with as many.
fn serve_constant() -> Outcome<()> {
    let body = Bytes::from(vec![b' '; MAX_BODY_BYTES]);
    let answer = async move |RawQuery(query): RawQuery| {
        let query = query.unwrap_or_default();
        let bytes = query.split('&').find_map(|pair| pair.strip_prefix("bytes="));
        let bytes = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        ([(CONTENT_TYPE, "application/json")], body.slice(..MAX_BODY_BYTES.min(bytes)))
    };
    let routes = wrapped(Router::new().route("/constant", get(answer)));
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        tell(listener.local_addr()?, "", &[])?;
        serve_routes(routes, listener, Limits::default(), told_to_end()).await;
        Ok(())
    })
}

async fn compare() -> Outcome<()> {
    let (rounds, seconds) =
        (setting("CONVODB_BENCH_ROUNDS", 5), setting("CONVODB_BENCH_SECONDS", 3));
    let only = std::env::var("CONVODB_BENCH_LISTS").unwrap_or_default();
    let (convodb, constant) = (Serving::start("convodb")?, Serving::start("constant")?);
    stay_on_client_core()?;
    let mut rows: Vec<Measured> = Vec::new();
    let mut out = std::io::stdout();
    for asked in &convodb.asked {
        let name = format!("{} {} {}", asked.list, asked.depth, asked.page_size);
        if !only.is_empty() && !only.split(',').any(|only| only == name) {
            continue;
        }
        let load = Load {
            address: convodb.address,
            token: Some(convodb.token.clone()),
            targets: asked.targets.clone(),
            connections: CONNECTIONS,
            duration: Duration::from_millis(300),
        };
        let bytes = drive(&load).await?.mean_bytes();
        let load = Load { duration: Duration::from_secs(seconds), ..load };
        let limit =
            Load { address: constant.address, targets: alike(asked, bytes), ..load.clone() };
        let (mut of_store, mut of_limit) = (Rounds::new()?, Rounds::new()?);
        let mut micros = [0, 0];
        for _ in 0..rounds {
            for (at, (server, load, rounds)) in
                [(&convodb, &load, &mut of_store), (&constant, &limit, &mut of_limit)]
                    .into_iter()
                    .enumerate()
            {
                let before = server.processor_micros()?;
                rounds.add(&drive(load).await?)?;
                micros[at] += server.processor_micros()? - before;
            }
        }
        let each = |at: usize, of: &Rounds| micros[at] as f64 / of.pages().max(1) as f64;
        let (page, constant_body) = (each(0, &of_store), each(1, &of_limit));
        writeln!(
            out,
            "{name}: {bytes} bytes, {:.2} of the limit; {page:.1} us of processor a page against \
             {constant_body:.1}, {:.2}",
            of_store.ratio(&of_limit),
            constant_body / page
        )?;
        for (server, rounds) in [("convodb", &of_store), ("constant", &of_limit)] {
            let list = (asked.list.as_str(), asked.depth.as_str());
            rows.push(rounds.measured(server, list, asked.page_size, CONNECTIONS));
        }
    }
    report("server", &rows)
}

/// Targets of the same length for the server of constant bodies.
fn alike(asked: &Asked, bytes: u64) -> Vec<String> {
    let query = |target: &String| target.split_once('?').map(|(_, query)| query.to_owned());
    asked
        .targets
        .iter()
        .map(|target| format!("/constant?bytes={bytes}&{}", query(target).unwrap_or_default()))
        .collect()
}
