//! The measurement: in each round, for each kind of page, every engine reads a batch in turn (A
//! B A B), so that what disturbs the machine disturbs all. Each page is timed alone; the clock's
//! 25 ns are part of every figure. A engine that has used up its time for one kind of page,
//! and has read a few, sits out the other rounds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use crate::engine_kind::OpenEngine;
use crate::list::{Depth, List, Page, PageQuery, user_name};
use crate::results::Measurement;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Pages a round, from different places.
    pub(crate) batch: usize,
    /// The time after which a engine has read enough of one kind of page.
    pub(crate) enough: Duration,
}

impl Effort {
    pub(crate) const FULL: Effort =
        Effort { rounds: 20, batch: 64, enough: Duration::from_millis(600) };
    pub(crate) const QUICK: Effort =
        Effort { rounds: 4, batch: 16, enough: Duration::from_millis(60) };
    /// However slow a page is, so many are read.
    const FEWEST: u64 = 5;
}

/// Contestants on stores of one size, with the lists of those stores.
pub(crate) struct Comparison {
    pub(crate) engines: Vec<OpenEngine>,
    pub(crate) lists: Vec<List>,
}

/// One kind of page: of this list, here, so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PageKind {
    list: usize,
    depth: usize,
    page_size: usize,
}

/// What a engine's pages of one kind took.
struct Timing {
    nanos: Histogram<u32>,
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

/// Makes every engine ready.
pub(crate) fn prepare(comparisons: &mut [Comparison], progress: &ProgressBar) -> Result<()> {
    for Comparison { engines, lists } in comparisons {
        for engine in engines {
            progress.set_message(format!("preparing {}", engine.kind.as_str()));
            engine.engine.prepare(lists)?;
        }
    }
    Ok(())
}

/// Every engine must give the same rows and the same end, for every kind of page and for as
/// many of its places as a second allows, five at least. It also warms what is measured next.
///
/// # Errors
/// The first difference.
pub(crate) fn check(comparison: &mut Comparison, progress: &ProgressBar) -> Result<u64> {
    let kinds: Vec<PageKind> = page_kinds(comparison).collect();
    let mut checked = 0;
    for kind in kinds {
        let Comparison { engines, lists } = &mut *comparison;
        let list = &lists[kind.list];
        let depth = Depth::ALL[kind.depth];
        progress.set_message(format!("checking {}", list.name));
        let queries = list.queries(depth, kind.page_size);
        let mut expected: Vec<Page> = Vec::new();
        for (number, engine) in engines.iter_mut().enumerate() {
            let began = Instant::now();
            for (at, query) in queries.iter().enumerate() {
                if number > 0 && at >= 5 && began.elapsed() > Duration::from_secs(1) {
                    break;
                }
                let what = || {
                    format!(
                        "{} gives another page than the first engine: {} of {}, {}, {} rows, {:?}",
                        engine.kind.as_str(),
                        list.name,
                        user_name(list.user),
                        list.depth_name(depth, kind.page_size),
                        kind.page_size,
                        query.start
                    )
                };
                let page = engine.engine.page(query).with_context(what)?;
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

/// The first engine's page is reference against the list itself.
fn expect_positions(page: &Page, query: &PageQuery<'_>) -> Result<()> {
    use crate::list::PageStart;
    let positions = &query.list.positions;
    let at = |position: u64| positions.partition_point(|other| *other > position);
    let (start, end) = match query.start {
        PageStart::First => (0, query.page_size),
        PageStart::After(position) | PageStart::Offset { after: position, .. } => {
            (at(position) + 1, at(position) + 1 + query.page_size)
        }
        PageStart::Before(position) => (at(position).saturating_sub(query.page_size), at(position)),
    };
    let end = end.min(positions.len());
    let times = positions[start..end].iter().map(|position| position >> 22);
    let name = query.list.name;
    ensure!(page.rows.iter().map(|row| row.created_at).eq(times), "wrong rows of {name}");
    let more = match query.start {
        PageStart::Before(_) => start > 0,
        _ => end < positions.len(),
    };
    ensure!(page.more == more, "a wrong end of {name}");
    Ok(())
}

/// Reads all kinds of pages, round after round.
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
                let several = engines.len();
                for turn in 0..several {
                    // Each is first in its turn: who follows finds the processor's caches filled.
                    let at = (turn + round) % several;
                    let engine = &mut engines[at];
                    let timing = timing_of(&mut timings, (*kind, number, at))?;
                    // Each begins elsewhere, so that two that share a store do not warm it.
                    let first = round * effort.batch + at * queries.len() / several;
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

/// Every engine reads every place twice, or as many as a third of a second allows: what each
/// keeps in memory of pages that are read again is there before anything is timed.
fn warm(comparison: &mut Comparison, kinds: &[PageKind], progress: &ProgressBar) -> Result<()> {
    let Comparison { engines, lists } = comparison;
    for kind in kinds {
        let list = &lists[kind.list];
        progress.set_message(format!("warming {}", list.name));
        let queries = list.queries(Depth::ALL[kind.depth], kind.page_size);
        for engine in engines.iter_mut() {
            let began = Instant::now();
            for query in queries.iter().chain(&queries) {
                if began.elapsed() > WARMING {
                    break;
                }
                engine.engine.visit(query)?;
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
            none.insert(Timing { nanos: Histogram::new(3)?, total: Duration::ZERO })
        }
    })
}

/// One engine's pages of one kind in one round, from the place `first` on.
fn batch(
    engine: &mut OpenEngine,
    queries: &[PageQuery<'_>],
    first: usize,
    effort: Effort,
    timing: &mut Timing,
    times: &mut Vec<Duration>,
) -> Result<()> {
    times.clear();
    let slice = effort.enough / u32::try_from(effort.rounds)?;
    // The page that follows another engine's pays for that one's use of the caches: one is not
    // timed, from the place before. With 64 a batch it would alone be the 99th percentile.
    if timing.total < effort.enough {
        engine.engine.visit(&queries[(first + queries.len() - 1) % queries.len()])?;
    }
    let began = Instant::now();
    for number in 0..effort.batch {
        let read = timing.nanos.len() + times.len() as u64;
        let spent = timing.total >= effort.enough || began.elapsed() >= slice.max(SLICE);
        if spent && (read >= Effort::FEWEST || number > 0) {
            break;
        }
        let query = &queries[(first + number) % queries.len()];
        let start = Instant::now();
        engine.engine.visit(query)?;
        times.push(start.elapsed());
    }
    for time in times.iter() {
        timing.nanos.record(u64::try_from(time.as_nanos())?)?;
        timing.total += *time;
    }
    Ok(())
}

/// An engine warms the places of a list so long.
const WARMING: Duration = Duration::from_millis(300);
/// A batch may take so long, whatever the number of rounds.
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
        p50_ns: timing.nanos.value_at_quantile(0.5),
        p99_ns: timing.nanos.value_at_quantile(0.99),
        pages: timing.nanos.len(),
        rows_in_list: list.positions.len(),
    }
}
