//! Benchmark of removals over HTTP: deletes and changes of an indexed field beside creates.
//!
//! A server with a million rows on one core, the client on another one. The three kinds of requests
//! take turns, over one connection and over sixteen; deleted and changed are stored conversations of
//! the biggest user, all over their list. Each is on disk when it is answered.
//!
//! `CONVODB_BENCH_ROWS`, `CONVODB_BENCH_ROUNDS` and `CONVODB_BENCH_SECONDS` set the size of the
//! store, the number of rounds and the length of a turn.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use convodb::ConversationId;
use convodb_bench::dataset::Dataset;
use convodb_bench::latency::Latencies;
use convodb_bench::run::SEED;
use convodb_bench::starts::scattered;
use convodb_benches::load_generator::{Load, Outcome, Requests, run_load};
use convodb_benches::server_process::{
    ServerProcess, pin_to_client_core, role, serve_copy, serve_until_closed,
};
use convodb_benches::setting;
use convodb_benches::write_requests::{CREATE, create_body, delete, post, reassign};
use tokio::runtime::Builder;
use uuid::Uuid;

const CONNECTIONS: [usize; 2] = [1, 16];
/// The number of the assistant that gets conversations: the user's least busy one.
const TARGET: usize = 49;

fn main() -> Outcome<()> {
    let rows = setting("CONVODB_BENCH_ROWS", 1_000_000);
    match role() {
        Some(_) => serve_copy(rows, serve_until_closed),
        None => Builder::new_current_thread().enable_all().build()?.block_on(measure(rows)),
    }
}

/// Stored conversations of the biggest user and of other assistants than the target, each once.
fn stored_ids(rows: u64) -> impl Iterator<Item = ConversationId> {
    let target = Dataset::assistant(0, TARGET);
    let stored: Vec<ConversationId> = (0..rows)
        .zip(Dataset::new(SEED, rows))
        .filter(|(_, row)| row.user == 0 && row.conversation.assistant != target)
        .map(|(_, row)| row.conversation.id)
        .collect();
    scattered(stored.len()).map(move |at| stored[at])
}

/// A kind of request, with the rates of its turns and the latencies of all.
struct Kind {
    name: &'static str,
    requests: Requests,
    rates: Vec<f64>,
    latency: Latencies,
}

async fn measure(rows: u64) -> Outcome<()> {
    let ids = Rc::new(RefCell::new(stored_ids(rows)));
    // The list is longer than what a run can delete and change; after it, the server answers 404.
    let next = move || ids.borrow_mut().next().unwrap_or(ConversationId::new(Uuid::nil()));
    let next = Rc::new(next);
    let server = ServerProcess::start("convodb")?;
    pin_to_client_core()?;
    let kind = |name, requests| -> Outcome<Kind> {
        Ok(Kind {
            name,
            requests: Requests::Writes(requests),
            rates: Vec::new(),
            latency: Latencies::new()?,
        })
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "| request | connections | requests/s | p50 ms | p99 ms | p50 / create |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for connections in CONNECTIONS {
        let (deleted, changed) = (next.clone(), next.clone());
        let mut kinds = [
            kind("create", Rc::new(|number| post(CREATE, create_body(number))))?,
            kind("delete", Rc::new(move |_| delete(deleted())))?,
            kind("change of the assistant", Rc::new(move |_| reassign(changed(), TARGET)))?,
        ];
        for _ in 0..setting("CONVODB_BENCH_ROUNDS", 3) {
            for kind in &mut kinds {
                let load = Load {
                    address: server.address,
                    token: Some(server.token.clone()),
                    targets: Vec::new(),
                    connections,
                    duration: Duration::from_secs(setting("CONVODB_BENCH_SECONDS", 1)),
                    requests: kind.requests.clone(),
                };
                let result = run_load(&load).await?;
                kind.rates.push(result.rate);
                kind.latency.add(&result.latency)?;
            }
        }
        let create = kinds[0].latency.summary().p50_ns as f64;
        for Kind { name, rates, latency, .. } in &mut kinds {
            rates.sort_by(f64::total_cmp);
            let (rate, found) = (rates[rates.len() / 2], latency.summary());
            let [p50, p99] = [found.p50_ns, found.p99_ns].map(|nanos| nanos as f64 / 1e6);
            let ratio = found.p50_ns as f64 / create;
            writeln!(
                out,
                "| {name} | {connections} | {rate:.0} | {p50:.2} | {p99:.2} | {ratio:.2} |"
            )?;
        }
    }
    Ok(())
}
