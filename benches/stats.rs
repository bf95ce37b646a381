//! Benchmark of statistics: latency of a year of the biggest user, in every grouping that a client
//! can request.
//!
//! Prints a table for `docs/benchmarks.md`. `CONVODB_BENCH_ROWS=1000000` sets the store's size.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use convodb::{Day, ListRequest, Order, Period, Result, StatsRequest};
use convodb_bench::dataset::Dataset;
use convodb_benches::store_of;

const ROUNDS: usize = 200;

/// Requests for the year that begins on `from`, by name.
fn requests(from: Day) -> Vec<(&'static str, StatsRequest)> {
    let year = StatsRequest::new(from, Day::new(from.get() + 365));
    let by = |period| StatsRequest { period, ..year.clone() };
    let one = Some(Dataset::assistant(0, 0));
    vec![
        ("total", year.clone()),
        ("by day", by(Some(Period::Day))),
        ("by month and type", StatsRequest { by_kind: true, ..by(Some(Period::Month)) }),
        ("by assistant", StatsRequest { by_assistant: true, ..year.clone() }),
        ("by month and assistant", StatsRequest { by_assistant: true, ..by(Some(Period::Month)) }),
        ("one assistant", StatsRequest { assistant: one, ..year.clone() }),
        ("one assistant, by day", StatsRequest { assistant: one, ..by(Some(Period::Day)) }),
        ("by week and assistant", StatsRequest { by_assistant: true, ..by(Some(Period::Week)) }),
        ("by day and assistant", StatsRequest { by_assistant: true, ..by(Some(Period::Day)) }),
    ]
}

fn main() -> Result<()> {
    let mut out = std::io::stdout();
    let rows = std::env::var("CONVODB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows = rows.unwrap_or(1_000_000);
    let (store, users) = store_of(rows)?;
    let snapshot = store.snapshot();
    let user = users[0];
    let newest = ListRequest { order: Some(Order::Descending), ..ListRequest::default() };
    let last = snapshot.conversations(user, &newest).next().transpose()?;
    // A year that begins and ends within a month, so that daily counters are read too.
    let end = last.map_or(Day::new(365), |row| row.created_at.day());
    let from = Day::new(end.get().saturating_sub(375));
    writeln!(
        out,
        "\n{rows} rows\n\n| a year | rows of the result | p50 | p99 |\n|---|---|---|---|"
    )?;
    for (name, request) in requests(from) {
        let mut times = Vec::with_capacity(ROUNDS);
        let mut groups = 0;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            groups = black_box(snapshot.stats(user, &request)?).rows.len();
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let (p50, p99) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
        writeln!(out, "| {name} | {groups} | {p50:.2?} | {p99:.2?} |")?;
    }
    Ok(())
}
