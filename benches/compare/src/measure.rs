//! Interleaved latency measurement of pages.
//!
//! In each round, for each kind of page, every engine reads one batch in turn (A B A B), so that a
//! disturbance of the machine affects all engines. Each page is timed on its own; every figure
//! includes the clock's 25 ns. An engine that has spent its time budget for a kind of page and has
//! read at least five pages skips that kind in later rounds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use convodb_bench::latency::Latencies;
use convodb_bench::sql::Key;
use indicatif::ProgressBar;

use crate::engine_kind::OpenEngine;
use crate::list::{Depth, List, Page, PageQuery, user_name};
use crate::results::Measurement;

/// The amount of measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Pages per round and kind, from different page starts.
    pub(crate) batch: usize,
    /// Time budget of an engine for one kind of page.
    pub(crate) budget: Duration,
}

impl Effort {
    pub(crate) const FULL: Effort =
        Effort { rounds: 20, batch: 64, budget: Duration::from_millis(600) };
    pub(crate) const QUICK: Effort =
        Effort { rounds: 4, batch: 16, budget: Duration::from_millis(60) };
    /// At least this many pages of a kind are read, however slow they are.
    const MIN_PAGES: u64 = 5;
}

/// Engines on stores of one size, with the lists to read.
pub(crate) struct Comparison {
    pub(crate) engines: Vec<OpenEngine>,
    pub(crate) lists: Vec<List>,
}

/// One kind of page: a list, an index into [`Depth::ALL`], and a size in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PageKind {
    list: usize,
    depth: usize,
    page_size: usize,
}

/// The latencies of one engine for one kind of page.
struct Timing {
    latencies: Latencies,
    total: Duration,
}

const PAGE_SIZES: [usize; 2] = [15, 100];

/// All kinds of pages, list by list.
fn page_kinds(comparison: &Comparison) -> impl Iterator<Item = PageKind> + '_ {
    comparison.lists.iter().flat_map(|list| {
        (0..Depth::ALL.len()).flat_map(move |depth| {
            PAGE_SIZES.map(|page_size| PageKind { list: list.number, depth, page_size })
        })
    })
}

/// Prepares every engine: statements, cursors.
pub(crate) fn prepare(comparisons: &mut [Comparison], progress: &ProgressBar) -> Result<()> {
    for Comparison { engines, lists } in comparisons {
        for engine in engines {
            progress.set_message(format!("preparing {}", engine.kind.as_str()));
            engine.reader.prepare(lists)?;
        }
    }
    Ok(())
}

/// Checks that every engine returns the same rows and the same end of the list. Checks as many page
/// starts of each kind as fit in one second per engine, at least five. This also warms the caches.
///
/// # Errors
/// Fails at the first difference.
pub(crate) fn check(comparison: &mut Comparison, progress: &ProgressBar) -> Result<u64> {
    let kinds: Vec<PageKind> = page_kinds(comparison).collect();
    let mut checked = 0;
    for kind in kinds {
        let Comparison { engines, lists } = &mut *comparison;
        let list = &lists[kind.list];
        let depth = Depth::ALL[kind.depth];
        progress.set_message(format!("checking {}", list.name));
        let queries = list.queries(depth, kind.page_size);
        let depth_name = list.depth_name(depth, kind.page_size);
        let mut expected: Vec<Page> = Vec::new();
        for (number, engine) in engines.iter_mut().enumerate() {
            let began = Instant::now();
            for (at, query) in queries.iter().enumerate() {
                if number > 0 && at >= 5 && began.elapsed() > Duration::from_secs(1) {
                    break;
                }
                let what = || {
                    format!(
                        "{} differs from the first engine: {} of {}, {depth_name}, {} rows, {:?}",
                        engine.kind.as_str(),
                        list.name,
                        user_name(list.user),
                        kind.page_size,
                        query.start
                    )
                };
                let page = engine.reader.page(query).with_context(what)?;
                let first = match expected.get(at) {
                    Some(first) => first,
                    None => {
                        expect_positions(&page, query)?;
                        expected.push(page);
                        continue;
                    }
                };
                ensure!(first == &page, what());
                checked += 1;
            }
        }
    }
    Ok(checked)
}

/// Checks the first engine's page against the reference list.
fn expect_positions(page: &Page, query: &PageQuery<'_>) -> Result<()> {
    use crate::list::PageStart;
    let keys = &query.list.keys;
    let at = |key: Key| keys.partition_point(|other| *other > key);
    let (start, end) = match query.start {
        PageStart::First => (0, query.page_size),
        PageStart::After(key) | PageStart::Offset { after: key, .. } => {
            (at(key) + 1, at(key) + 1 + query.page_size)
        }
        PageStart::Before(key) => (at(key).saturating_sub(query.page_size), at(key)),
    };
    let end = end.min(keys.len());
    let times = keys[start..end].iter().map(|key| key.position >> 22);
    let name = query.list.name;
    ensure!(page.rows.iter().map(|row| row.created_at).eq(times), "wrong rows in a page of {name}");
    let more = match query.start {
        PageStart::Before(_) => start > 0,
        _ => end < keys.len(),
    };
    ensure!(page.more == more, "wrong end of a page of {name}");
    Ok(())
}

/// Measures all kinds of pages of all comparisons, round by round.
pub(crate) fn measure(
    comparisons: &mut [Comparison],
    effort: Effort,
    progress: &ProgressBar,
) -> Result<Vec<Measurement>> {
    let Some(first) = comparisons.first() else { return Ok(Vec::new()) };
    let kinds: Vec<PageKind> = page_kinds(first).collect();
    let mut timings: HashMap<(PageKind, usize, usize), Timing> = HashMap::new();
    let mut times = Vec::with_capacity(effort.batch);
    for comparison in comparisons.iter_mut() {
        warm(comparison, &kinds, progress)?;
    }
    progress.set_length((effort.rounds * kinds.len()) as u64);
    progress.set_position(0);
    for round in 0..effort.rounds {
        progress.set_message(format!("round {} of {}", round + 1, effort.rounds));
        for kind in &kinds {
            progress.inc(1);
            for (number, comparison) in comparisons.iter_mut().enumerate() {
                let Comparison { engines, lists } = comparison;
                let queries = lists[kind.list].queries(Depth::ALL[kind.depth], kind.page_size);
                if queries.is_empty() {
                    continue;
                }
                let count = engines.len();
                for turn in 0..count {
                    // Rotate the order: a later engine finds the processor's caches filled.
                    let at = (turn + round) % count;
                    let engine = &mut engines[at];
                    let timing = timing_of(&mut timings, (*kind, number, at))?;
                    // Each engine begins at another start, so that two with one store do not warm
                    // it for each other.
                    let first = round * effort.batch + at * queries.len() / count;
                    batch(engine, &queries, first, effort, timing, &mut times)?;
                }
            }
        }
    }
    let mut measurements = Vec::new();
    for kind in kinds {
        for (number, comparison) in comparisons.iter().enumerate() {
            for (at, engine) in comparison.engines.iter().enumerate() {
                if let Some(timing) = timings.get(&(kind, number, at)) {
                    measurements.push(measurement(comparison, kind, engine, timing));
                }
            }
        }
    }
    Ok(measurements)
}

/// Warms the caches: every engine reads all page starts of every kind twice, for at most
/// [`WARMUP`] each. Only warm reads are timed.
fn warm(comparison: &mut Comparison, kinds: &[PageKind], progress: &ProgressBar) -> Result<()> {
    let Comparison { engines, lists } = comparison;
    for kind in kinds {
        let list = &lists[kind.list];
        progress.set_message(format!("warming {}", list.name));
        let queries = list.queries(Depth::ALL[kind.depth], kind.page_size);
        for engine in engines.iter_mut() {
            let began = Instant::now();
            for query in queries.iter().chain(&queries) {
                if began.elapsed() > WARMUP {
                    break;
                }
                engine.reader.visit(query)?;
            }
        }
    }
    Ok(())
}

fn timing_of(
    timings: &mut HashMap<(PageKind, usize, usize), Timing>,
    key: (PageKind, usize, usize),
) -> Result<&mut Timing> {
    use std::collections::hash_map::Entry;
    Ok(match timings.entry(key) {
        Entry::Occupied(timing) => timing.into_mut(),
        Entry::Vacant(none) => {
            none.insert(Timing { latencies: Latencies::new()?, total: Duration::ZERO })
        }
    })
}

/// Times one engine's batch of one kind in one round, beginning at query `first`.
fn batch(
    engine: &mut OpenEngine,
    queries: &[PageQuery<'_>],
    first: usize,
    effort: Effort,
    timing: &mut Timing,
    times: &mut Vec<Duration>,
) -> Result<()> {
    times.clear();
    let slice = effort.budget / u32::try_from(effort.rounds)?;
    // The first page pays for the previous engine's use of the processor caches, so one page, at
    // the start before, is not timed. In a batch of 64 it would be the 99th percentile alone.
    if timing.total < effort.budget {
        engine.reader.visit(&queries[(first + queries.len() - 1) % queries.len()])?;
    }
    let began = Instant::now();
    for number in 0..effort.batch {
        let read = timing.latencies.len() + times.len() as u64;
        let spent = timing.total >= effort.budget || began.elapsed() >= slice.max(SLICE);
        if spent && (read >= Effort::MIN_PAGES || number > 0) {
            break;
        }
        let query = &queries[(first + number) % queries.len()];
        let start = Instant::now();
        engine.reader.visit(query)?;
        times.push(start.elapsed());
    }
    for time in times.iter() {
        timing.latencies.record(*time)?;
        timing.total += *time;
    }
    Ok(())
}

/// Longest warm-up of one engine for one kind of page.
const WARMUP: Duration = Duration::from_millis(300);
/// A batch may always take this long, whatever the number of rounds.
const SLICE: Duration = Duration::from_millis(15);

fn measurement(
    comparison: &Comparison,
    kind: PageKind,
    engine: &OpenEngine,
    timing: &Timing,
) -> Measurement {
    let list = &comparison.lists[kind.list];
    Measurement {
        engine: engine.kind.as_str().to_owned(),
        rows: engine.rows,
        list: list.name.to_owned(),
        user: user_name(list.user).to_owned(),
        depth: list.depth_name(Depth::ALL[kind.depth], kind.page_size),
        page_size: kind.page_size,
        p50_ns: timing.latencies.summary().p50_ns,
        p99_ns: timing.latencies.summary().p99_ns,
        pages: timing.latencies.len(),
        rows_in_list: list.keys.len(),
    }
}
