//! Benchmark of writes: a bulk load into an empty store, then single durable inserts, 64 concurrent
//! writers, and batches.
//!
//! Prints a table for `docs/benchmarks.md`. `CONVODB_BENCH_ROWS=1000000` sets the size of the load.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use convodb::{Result, Store, StoreOptions, UserId};
use convodb_testkit::dataset::{self, Dataset, Row};

const WRITERS: usize = 64;

fn rows(seed: u64, count: usize, size: u64) -> Vec<Row> {
    Dataset::new(seed, size).take(count).collect()
}

/// Inserts the rows one by one, each durable, and returns the sorted latencies.
fn insert_one_by_one(store: &Store, users: &[UserId], rows: Vec<Row>) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(rows.len());
    for row in rows {
        let began = Instant::now();
        store.insert(users[row.user], row.conversation, Vec::new())?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Inserts the rows from [`WRITERS`] threads and returns the total time.
fn insert_concurrently(store: &Store, users: &[UserId], rows: Vec<Row>) -> Result<Duration> {
    let mut shares: Vec<Vec<Row>> = (0..WRITERS).map(|_| Vec::new()).collect();
    for (at, row) in rows.into_iter().enumerate() {
        shares[at % WRITERS].push(row);
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || insert_one_by_one(store, users, share)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or(Ok(Vec::new())).map(|_| ()))
    })?;
    Ok(began.elapsed())
}

/// Inserts all rows in one transaction and returns its time.
fn insert_batch(store: &Store, users: &[UserId], rows: Vec<Row>) -> Result<Duration> {
    let users = users.to_vec();
    let began = Instant::now();
    store.write(move |transaction| {
        rows.into_iter()
            .try_for_each(|row| transaction.insert(users[row.user], row.conversation, Vec::new()))
    })?;
    Ok(began.elapsed())
}

fn main() -> Result<()> {
    let size = std::env::var("CONVODB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let size: u64 = size.unwrap_or(1_000_000);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-stores");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("load.convodb");
    let _ = std::fs::remove_file(&path);
    let mut out = std::io::stdout().lock();

    let store = Store::open(&path)?;
    let began = Instant::now();
    let (users, report) = dataset::load(&store, 1, size, |_| {})?;
    let seconds = began.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&path)?.len();
    let per_row = bytes / report.inserted.max(1);
    let rate = report.inserted as f64 / seconds;
    writeln!(out, "| write | result |\n|---|---|")?;
    writeln!(out, "| bulk load of {size} rows | {seconds:.1} s, {rate:.0} rows/s |")?;
    writeln!(out, "| file after the load | {per_row} bytes per row |")?;
    store.close()?;

    for (round, fast_recovery) in [true, false, true, false].into_iter().enumerate() {
        let options = StoreOptions::new().fast_recovery(fast_recovery);
        let store = Store::open_with(&path, &options)?;
        // A new seed, so that the rows do not exist yet.
        let seed = 100 * (1 + round as u64);
        let times = insert_one_by_one(&store, &users, rows(seed, 300, size))?;
        let (p50, p99) = (times[150], times[296]);
        let name = if fast_recovery { "with" } else { "without" };
        writeln!(
            out,
            "| single durable insert, {name} fast recovery | p50 {p50:.2?}, p99 {p99:.2?} |"
        )?;
        if fast_recovery {
            let count = WRITERS * 100;
            let time = insert_concurrently(&store, &users, rows(seed + 1, count, size))?;
            let each = time / u32::try_from(count).unwrap_or(1);
            writeln!(out, "| {WRITERS} concurrent writers, time per insert | {each:.2?} |")?;
            let time = insert_batch(&store, &users, rows(seed + 2, 100, size))?;
            writeln!(out, "| durable batch of 100 | {time:.2?} |")?;
        }
        store.close()?;
    }
    std::fs::remove_file(&path)?;
    Ok(())
}
