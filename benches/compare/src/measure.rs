//! The measurement: in each round, for each kind of page, every contestant reads a batch in turn (A
//! B A B), so that what disturbs the machine disturbs all. Each page is timed alone; the clock's
//! 25 ns are part of every figure. A contestant that has used up its time for one kind of page,
//! and has read a few, sits out the other rounds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use crate::engine_kind::Contestant;
use crate::list::{Ask, Depth, List, Page, owner_name};
use crate::results::Measurement;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Pages a round, from different places.
    pub(crate) batch: usize,
    /// The time after which a contestant has read enough of one kind of page.
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
pub(crate) struct Field {
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) lists: Vec<List>,
}

/// One kind of page: of this list, here, so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    list: usize,
    depth: usize,
    page_size: usize,
}

/// What a contestant's pages of one kind took.
struct Record {
    nanos: Histogram<u32>,
    total: Duration,
}

const PAGE_SIZES: [usize; 2] = [15, 100];

/// All kinds of pages, list by list.
fn kinds(field: &Field) -> impl Iterator<Item = Kind> + '_ {
    field.lists.iter().flat_map(|list| {
        (0..Depth::ALL.len()).flat_map(move |depth| {
            PAGE_SIZES.map(|page_size| Kind { list: list.number, depth, page_size })
        })
    })
}

/// Makes every contestant ready.
pub(crate) fn prepare(fields: &mut [Field], progress: &ProgressBar) -> Result<()> {
    for Field { contestants, lists } in fields {
        for contestant in contestants {
            progress.set_message(format!("preparing {}", contestant.name.as_str()));
            contestant.engine.prepare(lists)?;
        }
    }
    Ok(())
}

/// Every contestant must give the same rows and the same end, for every kind of page and for as
/// many of its places as a second allows, five at least. It also warms what is measured next.
///
/// # Errors
/// The first difference.
pub(crate) fn check(field: &mut Field, progress: &ProgressBar) -> Result<u64> {
    let kinds: Vec<Kind> = kinds(field).collect();
    let mut checked = 0;
    for kind in kinds {
        let Field { contestants, lists } = &mut *field;
        let list = &lists[kind.list];
        let depth = Depth::ALL[kind.depth];
        progress.set_message(format!("checking {}", list.name));
        let asks = list.asks(depth, kind.page_size);
        let mut expected: Vec<Page> = Vec::new();
        for (number, contestant) in contestants.iter_mut().enumerate() {
            let began = Instant::now();
            for (at, ask) in asks.iter().enumerate() {
                if number > 0 && at >= 5 && began.elapsed() > Duration::from_secs(1) {
                    break;
                }
                let what = || {
                    format!(
                        "{} gives another page than the first engine: {} of {}, {}, {} rows, {:?}",
                        contestant.name.as_str(),
                        list.name,
                        owner_name(list.owner),
                        list.depth_name(depth, kind.page_size),
                        kind.page_size,
                        ask.way
                    )
                };
                let page = contestant.engine.page(ask).with_context(what)?;
                let first = match expected.get(at) {
                    Some(first) => first,
                    None => {
                        expect_positions(&page, ask)?;
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

/// The first engine's page is held against the list itself.
fn expect_positions(page: &Page, ask: &Ask<'_>) -> Result<()> {
    use crate::list::Way;
    let positions = &ask.list.positions;
    let at = |position: u64| positions.partition_point(|other| *other > position);
    let (start, end) = match ask.way {
        Way::First => (0, ask.page_size),
        Way::After(position) | Way::Offset { after: position, .. } => {
            (at(position) + 1, at(position) + 1 + ask.page_size)
        }
        Way::Before(position) => (at(position).saturating_sub(ask.page_size), at(position)),
    };
    let end = end.min(positions.len());
    let times = positions[start..end].iter().map(|position| position >> 22);
    let name = ask.list.name;
    ensure!(page.rows.iter().map(|row| row.created_at).eq(times), "wrong rows of {name}");
    let more = match ask.way {
        Way::Before(_) => start > 0,
        _ => end < positions.len(),
    };
    ensure!(page.more == more, "a wrong end of {name}");
    Ok(())
}

/// Reads all kinds of pages, round after round.
pub(crate) fn measure(
    fields: &mut [Field],
    effort: Effort,
    progress: &ProgressBar,
) -> Result<Vec<Measurement>> {
    let Some(first) = fields.first() else { return Ok(Vec::new()) };
    let kinds: Vec<Kind> = kinds(first).collect();
    let mut records: HashMap<(Kind, usize, usize), Record> = HashMap::new();
    let mut times = Vec::with_capacity(effort.batch);
    for field in fields.iter_mut() {
        warm(field, &kinds, progress)?;
    }
    progress.set_length((effort.rounds * kinds.len()) as u64);
    progress.set_position(0);
    for round in 0..effort.rounds {
        progress.set_message(format!("round {} of {}", round + 1, effort.rounds));
        for kind in &kinds {
            progress.inc(1);
            for (number, field) in fields.iter_mut().enumerate() {
                let Field { contestants, lists } = field;
                let asks = lists[kind.list].asks(Depth::ALL[kind.depth], kind.page_size);
                if asks.is_empty() {
                    continue;
                }
                let several = contestants.len();
                for turn in 0..several {
                    // Each is first in its turn: who follows finds the processor's caches filled.
                    let at = (turn + round) % several;
                    let contestant = &mut contestants[at];
                    let record = record_of(&mut records, (*kind, number, at))?;
                    // Each begins elsewhere, so that two that share a store do not warm it.
                    let first = round * effort.batch + at * asks.len() / several;
                    batch(contestant, &asks, first, effort, record, &mut times)?;
                }
            }
        }
    }
    let mut measurements = Vec::new();
    for kind in kinds {
        for (number, field) in fields.iter().enumerate() {
            for (at, contestant) in field.contestants.iter().enumerate() {
                if let Some(record) = records.get(&(kind, number, at)) {
                    measurements.push(measurement(field, kind, contestant, record));
                }
            }
        }
    }
    Ok(measurements)
}

/// Every contestant reads every place twice, or as many as a third of a second allows: what each
/// keeps in memory of pages that are read again is there before anything is timed.
fn warm(field: &mut Field, kinds: &[Kind], progress: &ProgressBar) -> Result<()> {
    let Field { contestants, lists } = field;
    for kind in kinds {
        let list = &lists[kind.list];
        progress.set_message(format!("warming {}", list.name));
        let asks = list.asks(Depth::ALL[kind.depth], kind.page_size);
        for contestant in contestants.iter_mut() {
            let began = Instant::now();
            for ask in asks.iter().chain(&asks) {
                if began.elapsed() > WARMING {
                    break;
                }
                contestant.engine.visit(ask)?;
            }
        }
    }
    Ok(())
}

fn record_of(
    records: &mut HashMap<(Kind, usize, usize), Record>,
    key: (Kind, usize, usize),
) -> Result<&mut Record> {
    use std::collections::hash_map::Entry;
    Ok(match records.entry(key) {
        Entry::Occupied(record) => record.into_mut(),
        Entry::Vacant(none) => {
            none.insert(Record { nanos: Histogram::new(3)?, total: Duration::ZERO })
        }
    })
}

/// One contestant's pages of one kind in one round, from the place `first` on.
fn batch(
    contestant: &mut Contestant,
    asks: &[Ask<'_>],
    first: usize,
    effort: Effort,
    record: &mut Record,
    times: &mut Vec<Duration>,
) -> Result<()> {
    times.clear();
    let slice = effort.enough / u32::try_from(effort.rounds)?;
    // The page that follows another engine's pays for that one's use of the caches: one is not
    // timed, from the place before. With 64 a batch it would alone be the 99th percentile.
    if record.total < effort.enough {
        contestant.engine.visit(&asks[(first + asks.len() - 1) % asks.len()])?;
    }
    let began = Instant::now();
    for number in 0..effort.batch {
        let read = record.nanos.len() + times.len() as u64;
        let spent = record.total >= effort.enough || began.elapsed() >= slice.max(SLICE);
        if spent && (read >= Effort::FEWEST || number > 0) {
            break;
        }
        let ask = &asks[(first + number) % asks.len()];
        let start = Instant::now();
        contestant.engine.visit(ask)?;
        times.push(start.elapsed());
    }
    for time in times.iter() {
        record.nanos.record(u64::try_from(time.as_nanos())?)?;
        record.total += *time;
    }
    Ok(())
}

/// An engine warms the places of a list so long.
const WARMING: Duration = Duration::from_millis(300);
/// A batch may take so long, whatever the number of rounds.
const SLICE: Duration = Duration::from_millis(15);

fn measurement(field: &Field, kind: Kind, contestant: &Contestant, record: &Record) -> Measurement {
    let list = &field.lists[kind.list];
    Measurement {
        engine: contestant.name.as_str().to_owned(),
        rows: contestant.rows,
        list: list.name.to_owned(),
        owner: owner_name(list.owner).to_owned(),
        depth: list.depth_name(Depth::ALL[kind.depth], kind.page_size),
        page_size: kind.page_size,
        p50_ns: record.nanos.value_at_quantile(0.5),
        p99_ns: record.nanos.value_at_quantile(0.99),
        pages: record.nanos.len(),
        rows_in_list: list.positions.len(),
    }
}
