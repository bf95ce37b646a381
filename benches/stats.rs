//! What reports take: a year of the biggest owner, in all the ways that a client can ask for it.
//! Prints a table for `docs/benchmarks.md`. `CONVODB_BENCH_ROWS=1000000` chooses the size.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use convodb::{Day, ListRequest, Order, Period, Result, StatsRequest};
use convodb_benches::store_of;
use convodb_testkit::dataset::Dataset;

const ROUNDS: usize = 200;

/// Requests over the year that begins on `from`, by name.
fn requests(from: Day) -> Vec<(&'static str, StatsRequest)> {
    let year = StatsRequest::new(from, Day::new(from.get() + 365));
    let by = |period| StatsRequest { period, ..year.clone() };
    let one = Some(Dataset::assistant(0, 0));
    vec![
        ("in one sum", year.clone()),
        ("by day", by(Some(Period::Day))),
        ("by month and type", StatsRequest { by_kind: true, ..by(Some(Period::Month)) }),
        ("by assistant", StatsRequest { by_assistant: true, ..year.clone() }),
        ("by month and assistant", StatsRequest { by_assistant: true, ..by(Some(Period::Month)) }),
        ("one assistant", StatsRequest { assistant: one, ..year.clone() }),
        ("one assistant, by day", StatsRequest { assistant: one, ..by(Some(Period::Day)) }),
        ("by day and assistant", StatsRequest { by_assistant: true, ..by(Some(Period::Day)) }),
    ]
}

fn main() -> Result<()> {
    let mut out = std::io::stdout();
    let asked = std::env::var("CONVODB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows = asked.unwrap_or(1_000_000);
    let (store, owners) = store_of(rows)?;
    let snapshot = store.snapshot();
    let user = owners[0];
    let newest = ListRequest { order: Some(Order::Descending), ..ListRequest::default() };
    let last = snapshot.conversations(user, &newest).next().transpose()?;
    // The last whole calendar year but the days at its ends, so that days are read as well.
    let end = last.map_or(Day::new(365), |row| row.created_at.day());
    let from = Day::new(end.get().saturating_sub(375));
    writeln!(out, "\n{rows} rows\n\n| a year | rows of it | p50 | p99 |\n|---|---|---|---|")?;
    for (name, request) in requests(from) {
        let mut took = Vec::with_capacity(ROUNDS);
        let mut groups = 0;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            groups = black_box(snapshot.stats(user, &request)?).rows.len();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let (p50, p99) = (took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
        writeln!(out, "| {name} | {groups} | {p50:.2?} | {p99:.2?} |")?;
    }
    Ok(())
}
