//! Write suite: durable inserts one by one, from 64 threads and in batches, appended messages, and
//! deletes and changes of an indexed field one by one and in batches.
//!
//! The engines take turns; each writes into a copy of a filled store. Then each loads an empty
//! store in bulk, in its own process so that its memory can be measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use convodb_bench::dataset::Dataset;
use convodb_bench::latency::Latencies;
use convodb_bench::starts::scattered;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dataset::{BIGGEST, PlacedRow, SEED, all_rows};
use crate::results::{self, micros};
use crate::stores::{self, Format, Stores};
use crate::suites::bulk_load::{self, Load};
use crate::suites::pages::progress_bar;
use crate::writers::{NewRow, Writer, WriterKind, copy_store, new_rows, open};

const THREADS: usize = 64;
/// A message of typical length.
const MESSAGE: &str = "Hello, I ordered last week and the parcel has not come yet. Where is it?";

/// The result file of the suite.
#[derive(Serialize, Deserialize)]
pub(crate) struct WritesResult {
    pub(crate) suite: String,
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) processors: usize,
    pub(crate) writes: Vec<WriteResult>,
    pub(crate) loads: Vec<Load>,
}

/// The latency of one engine for one workload.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WriteResult {
    pub(crate) engine: String,
    pub(crate) work: String,
    /// Concurrent writer threads.
    pub(crate) threads: usize,
    /// Rows or messages per transaction.
    pub(crate) rows_each: usize,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// Timed transactions.
    pub(crate) writes: u64,
    /// Durable rows or messages per second of wall-clock time.
    pub(crate) rows_per_second: f64,
}

impl WriteResult {
    /// Table line: workload, engine, p50 and p99 in microseconds, rows per second.
    pub(crate) fn line(&self) -> Vec<String> {
        let rate = format!("{:.0}", self.rows_per_second);
        let (p50, p99) = (micros(self.p50_ns), micros(self.p99_ns));
        vec![self.work.clone(), self.engine.clone(), p50, p99, rate]
    }
}

/// One kind of write load.
struct Workload {
    name: &'static str,
    threads: usize,
    rows_each: usize,
    /// Transactions of each thread per round.
    writes: usize,
    rounds: usize,
    operation: Operation,
}

/// What each transaction of a workload does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Insert,
    Append,
    Delete,
    /// Gives conversations to another assistant.
    Reassign,
}

use Operation::{Append, Delete, Insert, Reassign};

const WORKLOADS: [Workload; 10] = [
    work(Insert, "insert", 1, 1, 50, 6),
    work(Insert, "insert, 64 at once", THREADS, 1, 20, 3),
    work(Insert, "batch of 100", 1, 100, 5, 6),
    work(Insert, "batch of 10,000", 1, 10_000, 1, 3),
    work(Append, "message", 1, 1, 50, 6),
    work(Append, "message, 64 at once", THREADS, 1, 20, 3),
    work(Delete, "delete", 1, 1, 50, 6),
    work(Delete, "delete 100", 1, 100, 5, 6),
    work(Reassign, "change of the assistant", 1, 1, 50, 6),
    work(Reassign, "100 changes of the assistant", 1, 100, 5, 6),
];

const fn work(
    operation: Operation,
    name: &'static str,
    threads: usize,
    rows_each: usize,
    writes: usize,
    rounds: usize,
) -> Workload {
    Workload { name, threads, rows_each, writes, rounds, operation }
}

/// One transaction to run.
enum Job {
    Insert(Vec<NewRow>),
    Append { user: u32, id: Uuid, at: u64 },
    Delete(Vec<Uuid>),
    Reassign(Vec<Uuid>),
}

impl Job {
    fn run(&self, writer: &dyn Writer) -> Result<()> {
        match self {
            Job::Insert(rows) => writer.insert(rows),
            Job::Append { user, id, at } => writer.append(*user, *id, MESSAGE, *at),
            Job::Delete(ids) => writer.delete(BIGGEST, ids),
            Job::Reassign(ids) => writer.reassign(BIGGEST, ids, target_assistant()),
        }
    }
}

/// The assistant that gets the conversations of `Reassign`.
fn target_assistant() -> Uuid {
    Dataset::assistant(0, Dataset::assistants(0) - 1).uuid()
}

/// The biggest user's stored conversations of other assistants, each once, in no order of age.
fn stored_ids(rows: u64) -> impl Iterator<Item = Uuid> {
    let stored = |placed: &PlacedRow| {
        placed.user == BIGGEST && placed.conversation.assistant.uuid() != target_assistant()
    };
    let ids: Vec<Uuid> =
        all_rows(rows).filter(stored).map(|placed| placed.conversation.id.uuid()).collect();
    scattered(ids.len()).map(move |at| ids[at])
}

/// The latencies of one engine for one workload.
struct WorkloadTimes {
    latencies: Latencies,
    wall: Duration,
}

/// Copies the stores, measures writes into the copies, measures bulk loads, and reports.
pub(crate) fn run(rows: u64, kinds: &[WriterKind], directory: &Path, json: &Path) -> Result<()> {
    let progress = progress_bar()?;
    let copies = directory.join("writes");
    let mut writers: Vec<(WriterKind, Box<dyn Writer>)> = Vec::new();
    let mut stores = Stores::new(directory, rows)?;
    for kind in kinds {
        let format = kind.format();
        let original = stores.path(format, &progress)?;
        progress.set_message(format!("copying the store of {}", kind.as_str()));
        let copy = copies.join(kind.as_str());
        copy_store(&original, &copy)?;
        writers.push((*kind, open(*kind, &copy)?));
    }
    stores.release_rows();
    let mut found = Vec::new();
    let mut stored = stored_ids(rows);
    for (number, work) in (0..).zip(&WORKLOADS) {
        // A separate seed for each workload, so that no id exists already.
        let seed = SEED + 1_000 + number * 100;
        found.extend(measure(work, rows, seed, &mut stored, &writers, &progress)?);
    }
    drop(writers);
    stores::remove(&copies)?;
    let mut loads = Vec::new();
    for format in [Format::Convodb, Format::Lmdb, Format::SqliteComposite] {
        if kinds.iter().any(|kind| kind.format() == format) {
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

/// Measures one workload round by round; the engines take turns with the same rows.
fn measure(
    work: &Workload,
    rows: u64,
    seed: u64,
    stored: &mut impl Iterator<Item = Uuid>,
    writers: &[(WriterKind, Box<dyn Writer>)],
    progress: &ProgressBar,
) -> Result<Vec<WriteResult>> {
    progress.set_length(work.rounds as u64);
    progress.set_position(0);
    progress.set_message(work.name);
    let mut times = Vec::new();
    for _ in writers {
        times.push(WorkloadTimes { latencies: Latencies::new()?, wall: Duration::ZERO });
    }
    for round in 0..work.rounds {
        let shares = jobs_of_round(work, rows, seed + round as u64, stored);
        for ((_, writer), times) in writers.iter().zip(&mut times) {
            let began = Instant::now();
            for time in run_concurrently(writer.as_ref(), &shares)? {
                times.latencies.record(time)?;
            }
            times.wall += began.elapsed();
        }
        progress.inc(1);
    }
    let write =
        |((kind, _), WorkloadTimes { latencies, wall }): (&(WriterKind, _), WorkloadTimes)| {
            WriteResult {
                engine: kind.as_str().to_owned(),
                work: work.name.to_owned(),
                threads: work.threads,
                rows_each: work.rows_each,
                p50_ns: latencies.summary().p50_ns,
                p99_ns: latencies.summary().p99_ns,
                writes: latencies.len(),
                rows_per_second: (latencies.len() * work.rows_each as u64) as f64
                    / wall.as_secs_f64(),
            }
        };
    Ok(writers.iter().zip(times).map(write).collect())
}

/// The jobs of one round, by thread.
fn jobs_of_round(
    work: &Workload,
    rows: u64,
    seed: u64,
    stored: &mut impl Iterator<Item = Uuid>,
) -> Vec<Vec<Job>> {
    let mut new_rows = new_rows(seed, rows);
    // A few hot conversations of many users get all messages.
    let hot: Vec<(u32, Uuid)> = all_rows(rows)
        .take(THREADS)
        .map(|placed| (placed.user, placed.conversation.id.uuid()))
        .collect();
    let mut job = |thread: usize, number: usize| match work.operation {
        Insert => Job::Insert(new_rows.by_ref().take(work.rows_each).collect()),
        Append => {
            let (user, id) = hot[(thread + number) % hot.len()];
            Job::Append { user, id, at: 1_740_000_000_000 + number as u64 * 1000 }
        }
        Delete => Job::Delete(stored.take(work.rows_each).collect()),
        Reassign => Job::Reassign(stored.take(work.rows_each).collect()),
    };
    (0..work.threads)
        .map(|thread| (0..work.writes).map(|number| job(thread, number)).collect())
        .collect()
}

/// Runs each share of the jobs on its own thread and returns the time of each job.
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
                Err(_) => bail!("a writer thread panicked"),
            }
        }
        Ok(times)
    })
}

fn print(found: &WritesResult) -> Result<()> {
    let lines: Vec<Vec<String>> = found.writes.iter().map(WriteResult::line).collect();
    results::print(&["write", "engine", "p50 us", "p99 us", "rows/s"], &lines)?;
    let lines: Vec<Vec<String>> = found.loads.iter().map(Load::line).collect();
    results::print(&["bulk load", "rows/s", "peak MiB", "bytes/row"], &lines)
}
