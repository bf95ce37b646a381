//! Count suite: the number of rows of each of the biggest user's lists, of all times and of a part.

use std::path::Path;
use std::time::{Duration, Instant};

use ::convodb::Sort;
use anyhow::{Result, ensure};
use convodb_bench::latency::Latencies;
use convodb_bench::row::created_at_millis;
use serde::{Deserialize, Serialize};

use crate::dataset::{BIGGEST, SEED};
use crate::engine_kind::EngineKind;
use crate::engines::convodb;
use crate::list::List;
use crate::results::{self, micros};
use crate::stores::{Format, Stores};
use crate::suites::pages::{open_comparison, progress_bar};

const ROUNDS: usize = 20;
/// Counts of one engine in a row.
const BATCH: usize = 20;
/// The longest batch, as some engines count each row.
const SLICE: Duration = Duration::from_millis(50);

/// The result file of the suite.
#[derive(Serialize, Deserialize)]
pub(crate) struct CountsResult {
    pub(crate) suite: String,
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) processors: usize,
    pub(crate) counts: Vec<ListCounts>,
}

/// The counts of one list by all engines.
#[derive(Serialize, Deserialize)]
pub(crate) struct ListCounts {
    pub(crate) list: String,
    /// Whether the bounds of time cut the list.
    pub(crate) bounded: bool,
    /// The number that all engines found.
    pub(crate) count: u64,
    /// The engine and its median and 99th percentile in nanoseconds.
    pub(crate) engines: Vec<(String, u64, u64)>,
}

impl ListCounts {
    /// Table line: the list and its count, then p50 and p99 of each engine in microseconds.
    pub(crate) fn line(&self) -> Vec<String> {
        let part = if self.bounded { ", a part of the time" } else { "" };
        let times =
            self.engines.iter().map(|(_, p50, p99)| format!("{} / {}", micros(*p50), micros(*p99)));
        std::iter::once(format!("{}{part} ({})", self.list, self.count)).chain(times).collect()
    }
}

/// Counts round by round, the engines in turn, and reports. All engines must find the same numbers.
pub(crate) fn run(rows: u64, kinds: &[EngineKind], directory: &Path, json: &Path) -> Result<()> {
    let progress = progress_bar()?;
    let store = Stores::new(directory, rows)?.path(Format::Convodb, &progress)?;
    convodb::add_counters(&store)?;
    let mut comparison = open_comparison(rows, &[BIGGEST], kinds, directory, &progress)?;
    for engine in &mut comparison.engines {
        engine.reader.prepare(&comparison.lists)?;
    }
    let by_creation = |list: &&List| list.sort == Sort::CreatedAt;
    let lists: Vec<&List> = comparison.lists.iter().filter(by_creation).collect();
    progress.set_length(lists.len() as u64 * 2);
    progress.set_position(0);
    let mut counts = Vec::new();
    for list in lists {
        progress.set_message(list.name);
        for bounds in [None, part_of(list)] {
            let mut times = Vec::new();
            for _ in kinds {
                times.push(Latencies::new()?);
            }
            let mut number = None;
            for round in 0..ROUNDS {
                for turn in 0..kinds.len() {
                    let at = (turn + round) % kinds.len();
                    let reader = &mut comparison.engines[at].reader;
                    let until = Instant::now() + SLICE;
                    for _ in 0..BATCH {
                        let began = Instant::now();
                        let count = reader.count(list, bounds)?;
                        times[at].record(began.elapsed())?;
                        let first = *number.get_or_insert(count);
                        let engine = kinds[at].as_str();
                        ensure!(
                            count == first,
                            "{engine} counts {count} of {}, not {first}",
                            list.name
                        );
                        if Instant::now() > until {
                            break;
                        }
                    }
                }
            }
            let engines = kinds.iter().zip(&times).map(|(kind, times)| {
                let summary = times.summary();
                (kind.as_str().to_owned(), summary.p50_ns, summary.p99_ns)
            });
            counts.push(ListCounts {
                list: list.name.to_owned(),
                bounded: bounds.is_some(),
                count: number.unwrap_or_default(),
                engines: engines.collect(),
            });
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let found = CountsResult {
        suite: "counts".to_owned(),
        seed: SEED,
        rows,
        processors: std::thread::available_parallelism()?.get(),
        counts,
    };
    results::write(json, &found)?;
    let head: Vec<&str> =
        std::iter::once("list").chain(kinds.iter().map(|kind| kind.as_str())).collect();
    let lines: Vec<Vec<String>> = found.counts.iter().map(ListCounts::line).collect();
    results::print(&head, &lines)
}

/// From a fifth of a list's rows to four fifths, in milliseconds: in the middle of two days.
fn part_of(list: &List) -> Option<(u64, u64)> {
    let at = |fifth: usize| list.keys.get(list.keys.len() * fifth / 5);
    let (to, from) = (at(1)?, at(4)?);
    Some((created_at_millis(from.position), created_at_millis(to.position)))
}
