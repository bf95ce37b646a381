//! Reader suite: pages all over the biggest user's lists, read by several threads at once.

use std::path::Path;
use std::sync::Barrier;
use std::thread::{ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use convodb_bench::latency::Latencies;
use serde::{Deserialize, Serialize};

use crate::dataset::{BIGGEST, SEED};
use crate::engine_kind::EngineKind;
use crate::engines::Engine;
use crate::list::{Depth, List, PageQuery};
use crate::results::{self, micros};
use crate::suites::pages::{open_comparison, progress_bar};

const ENGINES: [EngineKind; 3] =
    [EngineKind::Convodb, EngineKind::ConvodbBorrowed, EngineKind::Lmdb];
const THREADS: [usize; 3] = [1, 2, 16];
const ROUNDS: usize = 8;
/// The time of one engine with one number of threads in a round.
const TURN: Duration = Duration::from_millis(500);
const PAGE_SIZE: usize = 15;

/// The result file of the suite.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReadersResult {
    pub(crate) suite: String,
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) processors: usize,
    pub(crate) readers: Vec<Readers>,
}

/// What a number of threads read from one engine.
#[derive(Serialize, Deserialize)]
pub(crate) struct Readers {
    pub(crate) engine: String,
    pub(crate) threads: usize,
    /// Pages of all threads in a second.
    pub(crate) pages_per_second: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) pages: u64,
}

impl Readers {
    /// Table line: engine, threads, pages a second, p50 and p99 in microseconds.
    pub(crate) fn line(&self) -> Vec<String> {
        let (p50, p99) = (micros(self.p50_ns), micros(self.p99_ns));
        let rate = format!("{:.0}", self.pages_per_second);
        vec![self.engine.clone(), self.threads.to_string(), rate, p50, p99]
    }
}

pub(crate) const HEAD: [&str; 5] = ["engine", "threads", "pages/s", "p50 us", "p99 us"];

/// Measures the engines in turn, round by round, and reports.
pub(crate) fn run(rows: u64, directory: &Path, json: &Path) -> Result<()> {
    let progress = progress_bar()?;
    let mut comparison = open_comparison(rows, &[BIGGEST], &ENGINES, directory, &progress)?;
    for engine in &mut comparison.engines {
        engine.reader.prepare(&comparison.lists)?;
    }
    progress.set_length((ROUNDS * THREADS.len() * ENGINES.len()) as u64);
    progress.set_position(0);
    let mut found = Vec::new();
    for threads in THREADS {
        let mut times = Vec::new();
        for _ in ENGINES {
            times.push((Latencies::new()?, Duration::ZERO));
        }
        for round in 0..ROUNDS {
            for turn in 0..ENGINES.len() {
                let at = (turn + round) % ENGINES.len();
                let engine = &comparison.engines[at];
                progress.set_message(format!("{threads} threads of {}", engine.kind.as_str()));
                let (latencies, wall) = &mut times[at];
                let turn = read(engine.reader.as_ref(), &comparison.lists, threads)?;
                latencies.add(&turn.latencies)?;
                *wall += turn.wall;
                progress.inc(1);
            }
        }
        for (kind, (latencies, wall)) in ENGINES.iter().zip(times) {
            let summary = latencies.summary();
            found.push(Readers {
                engine: kind.as_str().to_owned(),
                threads,
                pages_per_second: summary.samples as f64 / wall.as_secs_f64(),
                p50_ns: summary.p50_ns,
                p99_ns: summary.p99_ns,
                pages: summary.samples,
            });
        }
    }
    progress.finish_and_clear();
    let found = ReadersResult {
        suite: "readers".to_owned(),
        seed: SEED,
        rows,
        processors: std::thread::available_parallelism()?.get(),
        readers: found,
    };
    results::write(json, &found)?;
    let lines: Vec<Vec<String>> = found.readers.iter().map(Readers::line).collect();
    results::print(&HEAD, &lines)
}

/// What all threads read in one turn, and the time from their common start to the end of the last.
struct Turn {
    latencies: Latencies,
    wall: Duration,
}

/// Reads pages for one turn with this number of threads. The clock starts when all of them are
/// prepared.
fn read(engine: &dyn Engine, lists: &[List], threads: usize) -> Result<Turn> {
    let mut readers = Vec::new();
    for _ in 0..threads {
        readers.push(engine.fork().context("an engine without a second reader")?);
    }
    let start = Barrier::new(threads);
    scope(|scope| {
        let read = |(number, mut reader): (usize, Box<dyn Engine + Send>)| {
            let start = &start;
            scope.spawn(move || read_alone(reader.as_mut(), lists, number, start))
        };
        let running: Vec<ScopedJoinHandle<'_, _>> =
            readers.into_iter().enumerate().map(read).collect();
        let mut whole = Turn { latencies: Latencies::new()?, wall: Duration::ZERO };
        for reader in running {
            let Turn { latencies, wall } =
                reader.join().map_err(|_| anyhow!("a reader thread panicked"))??;
            whole.latencies.add(&latencies)?;
            whole.wall = whole.wall.max(wall);
        }
        Ok(whole)
    })
}

/// Reads pages of all lists in turn; each thread begins elsewhere.
fn read_alone(
    reader: &mut dyn Engine,
    lists: &[List],
    number: usize,
    start: &Barrier,
) -> Result<Turn> {
    let latencies = Latencies::new();
    let queries: Vec<Vec<PageQuery<'_>>> =
        lists.iter().map(|list| list.queries(Depth::Random, PAGE_SIZE)).collect();
    let queries: Vec<_> = queries.iter().filter(|queries| !queries.is_empty()).collect();
    // Every thread arrives, whatever failed, so that none waits for another in vain.
    start.wait();
    let mut latencies = latencies?;
    let start = Instant::now();
    for turn in (number * 97).. {
        for queries in &queries {
            let began = Instant::now();
            reader.visit(&queries[turn % queries.len()])?;
            latencies.record(began.elapsed())?;
        }
        if start.elapsed() > TURN {
            break;
        }
    }
    Ok(Turn { latencies, wall: start.elapsed() })
}
