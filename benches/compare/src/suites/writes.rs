//! The suite of writes: durable inserts one by one, from 64 threads, in batches, and messages, each
//! into a copy of a store that holds rows already, the engines in turn; then a bulk load of each
//! into nothing, in a process of its own so that its memory can be told.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dataset::{SEED, all_rows};
use crate::results::{self, micros};
use crate::stores::{self, Format, Stores};
use crate::suites::bulk_load::{self, Load};
use crate::suites::pages::progress_bar;
use crate::writers::{NewRow, Writer, WriterKind, copy_store, new_rows, open};

const THREADS: usize = 64;
/// About what a customer writes.
const MESSAGE: &str = "Hello, I ordered last week and the parcel has not come yet. Where is it?";

/// The file of the suite.
#[derive(Serialize, Deserialize)]
pub(crate) struct WritesResult {
    pub(crate) suite: String,
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) processors: usize,
    pub(crate) writes: Vec<WriteResult>,
    pub(crate) loads: Vec<Load>,
}

/// How long one kind of write takes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WriteResult {
    pub(crate) engine: String,
    pub(crate) work: String,
    /// Threads that write at once.
    pub(crate) threads: usize,
    /// Rows or messages in one transaction.
    pub(crate) rows_each: usize,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// Transactions that were timed.
    pub(crate) writes: u64,
    /// Rows or messages that became durable in a second, by the clock on the wall.
    pub(crate) rows_per_second: f64,
}

impl WriteResult {
    /// What was written, by whom, how long it took, rows a second.
    pub(crate) fn line(&self) -> Vec<String> {
        let rate = format!("{:.0}", self.rows_per_second);
        let (p50, p99) = (micros(self.p50_ns), micros(self.p99_ns));
        vec![self.work.clone(), self.engine.clone(), p50, p99, rate]
    }
}

/// One kind of write.
struct Workload {
    name: &'static str,
    threads: usize,
    rows_each: usize,
    /// Transactions of each thread in a round.
    writes: usize,
    rounds: usize,
    messages: bool,
}

const WORKLOADS: [Workload; 6] = [
    work("insert", 1, 1, 50, 6),
    work("insert, 64 at once", THREADS, 1, 20, 3),
    work("batch of 100", 1, 100, 5, 6),
    work("batch of 10,000", 1, 10_000, 1, 3),
    Workload { messages: true, ..work("message", 1, 1, 50, 6) },
    Workload { messages: true, ..work("message, 64 at once", THREADS, 1, 20, 3) },
];

const fn work(
    name: &'static str,
    threads: usize,
    rows_each: usize,
    writes: usize,
    rounds: usize,
) -> Workload {
    Workload { name, threads, rows_each, writes, rounds, messages: false }
}

/// What a write is given.
enum Job {
    Insert(Vec<NewRow>),
    Append { user: u32, id: Uuid, at: u64 },
}

impl Job {
    fn run(&self, writer: &dyn Writer) -> Result<()> {
        match self {
            Job::Insert(rows) => writer.insert(rows),
            Job::Append { user, id, at } => writer.append(*user, *id, MESSAGE, *at),
        }
    }
}

/// An engine's times for one kind of work.
struct WorkloadTimes {
    nanos: Histogram<u32>,
    wall: Duration,
}

/// Copies the stores, writes to them in turn, loads anew, and reports.
pub(crate) fn run(rows: u64, names: &[WriterKind], directory: &Path, json: &Path) -> Result<()> {
    let progress = progress_bar()?;
    let copies = directory.join("writes");
    let mut writers: Vec<(WriterKind, Box<dyn Writer>)> = Vec::new();
    let mut stores = Stores::new(directory, rows)?;
    for name in names {
        let format = name.format();
        let original = stores.path(format, &progress)?;
        progress.set_message(format!("copying the store of {}", name.as_str()));
        let copy = copies.join(name.as_str());
        copy_store(&original, &copy)?;
        writers.push((*name, open(*name, &copy)?));
    }
    stores.release_rows();
    let mut found = Vec::new();
    for (number, work) in (0..).zip(&WORKLOADS) {
        // Seeds of their own, so that no id is there already.
        let began = SEED + 1_000 + number * 100;
        found.extend(measure(work, rows, began, &writers, &progress)?);
    }
    drop(writers);
    stores::remove(&copies)?;
    let mut loads = Vec::new();
    for format in [Format::Convodb, Format::Lmdb, Format::SqliteComposite] {
        if names.iter().any(|name| name.format() == format) {
            progress.set_message(format!("loading {}", format.name()));
            loads.push(bulk_load::load_in_subprocess(format, rows, directory)?);
        }
    }
    progress.finish_and_clear();
    let found = WritesResult {
        suite: "writes".to_owned(),
        seed: SEED,
        rows,
        processors: std::thread::available_parallelism()?.get(),
        writes: found,
        loads,
    };
    results::write(json, &found)?;
    print(&found)
}

/// One kind of work, round after round, the engines in turn with the same rows.
fn measure(
    work: &Workload,
    rows: u64,
    seed: u64,
    writers: &[(WriterKind, Box<dyn Writer>)],
    progress: &ProgressBar,
) -> Result<Vec<WriteResult>> {
    progress.set_length(work.rounds as u64);
    progress.set_position(0);
    progress.set_message(work.name);
    let mut times = Vec::new();
    for _ in writers {
        times.push(WorkloadTimes { nanos: Histogram::new(3)?, wall: Duration::ZERO });
    }
    for round in 0..work.rounds {
        let shares = jobs_of_round(work, rows, seed + round as u64);
        for ((_, writer), times) in writers.iter().zip(&mut times) {
            let began = Instant::now();
            for time in run_concurrently(writer.as_ref(), &shares)? {
                times.nanos.record(u64::try_from(time.as_nanos())?)?;
            }
            times.wall += began.elapsed();
        }
        progress.inc(1);
    }
    let write = |((name, _), WorkloadTimes { nanos, wall }): (&(WriterKind, _), WorkloadTimes)| {
        WriteResult {
            engine: name.as_str().to_owned(),
            work: work.name.to_owned(),
            threads: work.threads,
            rows_each: work.rows_each,
            p50_ns: nanos.value_at_quantile(0.5),
            p99_ns: nanos.value_at_quantile(0.99),
            writes: nanos.len(),
            rows_per_second: (nanos.len() * work.rows_each as u64) as f64 / wall.as_secs_f64(),
        }
    };
    Ok(writers.iter().zip(times).map(write).collect())
}

/// Each thread's jobs of one round.
fn jobs_of_round(work: &Workload, rows: u64, seed: u64) -> Vec<Vec<Job>> {
    let mut new_rows = new_rows(seed, rows);
    // Hot conversations: the newest of many users, each written to again and again.
    let hot: Vec<(u32, Uuid)> = all_rows(rows)
        .take(THREADS)
        .map(|placed| (placed.user, placed.conversation.id.uuid()))
        .collect();
    let job = |thread: usize, number: usize, new_rows: &mut dyn Iterator<Item = NewRow>| {
        if !work.messages {
            return Job::Insert(new_rows.take(work.rows_each).collect());
        }
        let (user, id) = hot[(thread + number) % hot.len()];
        Job::Append { user, id, at: 1_740_000_000_000 + number as u64 * 1000 }
    };
    (0..work.threads)
        .map(|thread| (0..work.writes).map(|number| job(thread, number, &mut new_rows)).collect())
        .collect()
}

/// The time of each write, from as many threads as there are shares.
fn run_concurrently(writer: &dyn Writer, shares: &[Vec<Job>]) -> Result<Vec<Duration>> {
    let alone = |jobs: &[Job]| -> Result<Vec<Duration>> {
        jobs.iter()
            .map(|job| {
                let began = Instant::now();
                job.run(writer)?;
                Ok(began.elapsed())
            })
            .collect()
    };
    if let [jobs] = shares {
        return alone(jobs);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares.iter().map(|jobs| scope.spawn(move || alone(jobs))).collect();
        let mut times = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(share) => times.extend(share?),
                Err(_) => bail!("a writing thread panicked"),
            }
        }
        Ok(times)
    })
}

fn print(found: &WritesResult) -> Result<()> {
    use std::io::Write as _;
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let head = text(&["write", "engine", "p50 us", "p99 us", "rows/s"]);
    let lines: Vec<Vec<String>> = found.writes.iter().map(WriteResult::line).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n", results::table(&head, &lines))?;
    let head = text(&["bulk load", "rows/s", "peak MiB", "bytes a row"]);
    let lines: Vec<Vec<String>> = found.loads.iter().map(Load::line).collect();
    Ok(writeln!(out, "{}", results::table(&head, &lines))?)
}
