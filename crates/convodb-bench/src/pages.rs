//! Latency of pages: every kind of page, in rounds, by all engines in turn.
//!
//! A kind is a user, a list, a depth and a page size. In each round each engine reads a batch of
//! pages of each kind, one engine after the other, so that a disturbance of the machine affects all
//! of them and all kinds. Every page is timed on its own; a figure includes the clock's 25 ns.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use convodb::{PageSize, UserId};

use crate::engine::{Depth, Engine, PageQuery, Place, Visit};
use crate::latency::Latencies;
use crate::lists::List;
use crate::starts::{ListPlaces, scattered};

/// The amount of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The number of rounds.
    pub rounds: usize,
    /// The most pages of a kind that an engine reads in a round.
    pub batch: usize,
    /// The most time that an engine spends on a kind in a round; it reads one page in any case.
    pub slice: Duration,
}

impl Effort {
    /// A thousand pages of each kind.
    pub const FULL: Effort = Effort { rounds: 20, batch: 50, slice: Duration::from_millis(10) };
    /// Sixty pages of each kind.
    pub const QUICK: Effort = Effort { rounds: 4, batch: 16, slice: Duration::from_millis(3) };
}

/// Pages read by each engine to warm the caches, before a kind is timed for the first time.
const WARMUP: Duration = Duration::from_millis(50);
/// Pages of each kind that are compared between engines.
const COMPARED: usize = 32;

/// A user's list with its places.
#[derive(Clone, Debug)]
pub struct MeasuredList {
    /// The user.
    pub user: UserId,
    /// The list.
    pub list: List,
    /// Its places.
    pub places: ListPlaces,
}

/// One kind of page.
pub struct PageKind<'a> {
    /// The list.
    pub list: &'a MeasuredList,
    /// Where its pages are.
    pub depth: Depth,
    /// The most rows of a page.
    pub page_size: PageSize,
    /// The rows before the page, if it is one.
    pub rows_before: Option<u64>,
    queries: Vec<PageQuery<'a>>,
}

/// The latency of one engine for one kind of page.
pub struct PageTimes {
    /// The index of the engine.
    pub engine: usize,
    /// The index of the kind.
    pub kind: usize,
    /// The durations.
    pub latencies: Latencies,
    /// The entries and rows that were read for the page with the most of both, if the engine counts
    /// them.
    pub most_read: Option<(usize, usize)>,
}

impl<'a> PageKind<'a> {
    /// The kinds of a list for pages of this size. Except for the first page, only full pages
    /// count, so that all of them cost the same.
    pub fn of(list: &'a MeasuredList, page_size: PageSize) -> Vec<Self> {
        let rows = list.places.rows;
        let size = page_size.get() as u64;
        let query = |place| PageQuery { user: list.user, list: &list.list, place, page_size };
        let mut kinds = Vec::new();
        let mut add = |depth, rows_before, places: Vec<Place<'a>>| {
            if !places.is_empty() {
                let queries = places.into_iter().map(query).collect();
                kinds.push(PageKind { list, depth, page_size, rows_before, queries });
            }
        };
        add(Depth::First, Some(0), vec![Place::First]);
        for start in list.places.decades.iter().filter(|at| at.rows_before + size <= rows) {
            let depth = Depth::Row(start.rows_before);
            add(depth, Some(start.rows_before), vec![Place::After(start)]);
        }
        let last = list.places.last_before(size);
        add(
            Depth::Last,
            last.map(|at| at.rows_before),
            last.map(Place::After).into_iter().collect(),
        );
        let spread = &list.places.spread;
        let full = spread.iter().filter(|at| at.rows_before + size <= rows);
        let full: Vec<_> = full.map(Place::After).collect();
        add(Depth::Deep, None, scattered(full.len()).map(|at| full[at]).collect());
        let back = spread.iter().filter(|at| at.rows_before >= size);
        let back: Vec<_> = back.map(Place::Before).collect();
        add(Depth::Backward, None, scattered(back.len()).map(|at| back[at]).collect());
        kinds
    }
}

/// Prepares all engines for all pages.
///
/// # Errors
/// An error of an engine.
pub fn prepare(engines: &mut [Box<dyn Engine + '_>], kinds: &[PageKind<'_>]) -> Result<()> {
    for kind in kinds {
        for engine in engines.iter_mut().filter(|engine| engine.reads(kind.depth)) {
            kind.queries.iter().try_for_each(|query| engine.prepare(query))?;
        }
    }
    Ok(())
}

/// Checks that all engines return the same pages: up to 32 of each kind. Returns how many were
/// compared.
///
/// # Errors
/// Fails at the first difference.
pub fn compare(
    engines: &mut [Box<dyn Engine + '_>],
    kinds: &[PageKind<'_>],
    mut progress: impl FnMut(usize),
) -> Result<u64> {
    let mut compared = 0;
    let Some((first, others)) = engines.split_first_mut() else { return Ok(0) };
    for (number, kind) in kinds.iter().enumerate() {
        progress(number);
        for query in kind.queries.iter().take(COMPARED) {
            let expected = first.page(query)?;
            for other in others.iter_mut().filter(|engine| engine.reads(kind.depth)) {
                ensure!(
                    other.page(query)? == expected,
                    "{} returns another page than {}: {}, {:?}, {} rows",
                    other.name(),
                    first.name(),
                    kind.list.list.name,
                    kind.depth,
                    kind.page_size.get()
                );
                compared += 1;
            }
        }
    }
    Ok(compared)
}

/// Times all kinds by all engines. Calls `progress` with the number of batches done and the total.
///
/// # Errors
/// An error of an engine.
pub fn measure(
    engines: &mut [Box<dyn Engine + '_>],
    kinds: &[PageKind<'_>],
    effort: Effort,
    mut progress: impl FnMut(u64, u64),
) -> Result<Vec<PageTimes>> {
    let mut times = Vec::new();
    for (kind, of) in kinds.iter().enumerate() {
        for (engine, reader) in engines.iter().enumerate() {
            if reader.reads(of.depth) {
                let latencies = Latencies::new()?;
                times.push(PageTimes { engine, kind, latencies, most_read: None });
            }
        }
    }
    let total = (times.len() * (effort.rounds + 1)) as u64;
    for (done, at) in (0..).zip(&times) {
        progress(done, total);
        warm(&mut *engines[at.engine], &kinds[at.kind])?;
    }
    let mut done = times.len() as u64;
    for round in 0..effort.rounds {
        // Every second round in the reverse order: a later engine finds the caches filled.
        let order: Vec<usize> = match round % 2 {
            0 => (0..times.len()).collect(),
            _ => (0..times.len()).rev().collect(),
        };
        for at in order {
            let PageTimes { engine, kind, .. } = times[at];
            batch(&mut *engines[engine], &kinds[kind], round, effort, &mut times[at])?;
            done += 1;
            progress(done, total);
        }
    }
    Ok(times)
}

/// Reads all pages of a kind, for at most [`WARMUP`].
fn warm(engine: &mut dyn Engine, kind: &PageKind<'_>) -> Result<()> {
    let began = Instant::now();
    for query in &kind.queries {
        engine.visit(query)?;
        if began.elapsed() > WARMUP {
            break;
        }
    }
    Ok(())
}

/// Times one batch. The first page pays for what was read in between, so one more is read before.
fn batch(
    engine: &mut dyn Engine,
    kind: &PageKind<'_>,
    round: usize,
    effort: Effort,
    times: &mut PageTimes,
) -> Result<()> {
    let first = round * effort.batch;
    let query = |number: usize| &kind.queries[number % kind.queries.len()];
    let began = Instant::now();
    engine.visit(query(first + kind.queries.len() - 1))?;
    for number in 0..effort.batch {
        let start = Instant::now();
        let Visit { cost, .. } = engine.visit(query(first + number))?;
        times.latencies.record(start.elapsed())?;
        if let Some(cost) = cost {
            let read = (cost.entries, cost.rows);
            let most = times.most_read.unwrap_or_default();
            times.most_read = Some(if read.0 + read.1 > most.0 + most.1 { read } else { most });
        }
        if began.elapsed() >= effort.slice {
            break;
        }
    }
    Ok(())
}
