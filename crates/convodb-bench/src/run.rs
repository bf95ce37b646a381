//! A whole run: generates or opens the store, finds its users and lists, measures, and collects the
//! figures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use convodb::{
    IndexFamilies, IndexFamily, PageCost, PageSize, Snapshot, Store, StoreOptions, Timestamp,
    UserId,
};
use tempfile::TempDir;

use crate::dataset;
use crate::engine::{Convodb, Engine};
use crate::lists::{self, UserSize};
use crate::pages::{self, Effort, MeasuredList, PageKind, PageTimes};
use crate::result::{
    BenchResult, ColdFigures, EngineFigures, Machine, MemoryFigures, PageFigures, ReadFigures,
    ReaderFigures, StoreFigures, UserFigures, VERSION, WriteFigures,
};
use crate::starts::ListPlaces;
use crate::system::{peak_resident_bytes, resident_bytes};
use crate::{cold, counts, readers, writes};

/// The seed of generated stores.
pub const SEED: u64 = 20_260_101;
/// The seed of what is written into them.
const WRITES_SEED: u64 = SEED + 1;
/// Pages all over a list start at this many places at most, so that few of their rows are in the
/// caches of the processor. A place takes some 400 bytes.
const MAX_SPREAD: usize = 4096;
/// The lists whose cold pages are measured: those of at most one field.
const COLD_LISTS: usize = 6;

/// Where the rows come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A new store of this many rows in a temporary directory.
    Generated(u64),
    /// The store in this file, which is opened for reading only.
    File(PathBuf),
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The store.
    pub source: Source,
    /// Where the temporary directories are; the system's directory for temporary files if `None`.
    pub directory: Option<PathBuf>,
    /// The number of users, the biggest first.
    pub users: usize,
    /// The sizes of the pages.
    pub page_sizes: Vec<PageSize>,
    /// How long pages are measured.
    pub effort: Effort,
    /// Cold pages of a list; 0 for none.
    pub cold_samples: usize,
    /// Numbers of reader threads.
    pub threads: Vec<usize>,
    /// Whether to measure writes. Only into a generated store.
    pub writes: bool,
    /// Whether to measure memory.
    pub memory: bool,
    /// Whether to compare with SQLite.
    #[cfg(feature = "sqlite")]
    pub sqlite: bool,
}

/// A part of the run, for progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it does, as in `generating rows`.
    pub what: &'static str,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 if unknown.
    pub total: u64,
}

/// A store that is measured, with its temporary directory if it was generated.
struct Opened {
    path: PathBuf,
    store: Store,
    directory: Option<TempDir>,
    load: Option<Duration>,
    /// All users of a generated store, by their number in the dataset.
    users: Vec<UserId>,
}

/// Runs a plan. Calls `progress` now and then.
///
/// # Errors
/// The store cannot be opened, generated or read, has no conversations, or has pages that differ
/// from the other engine's or read more than their bound.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(Stage)) -> Result<BenchResult> {
    let started_at = Timestamp::now().to_rfc3339();
    let mut memory = MemoryLog(plan.memory.then(Vec::new));
    memory.note("start");
    let opened = open(plan, progress)?;
    memory.note("opening the store");
    let snapshot = opened.store.snapshot();
    let users = lists::users_by_size(&snapshot)?;
    if users.is_empty() {
        bail!("the store has no conversations to read");
    }
    let chosen = &users[..plan.users.clamp(1, users.len())];
    let measured = find_lists(&snapshot, chosen, progress)?;
    let rows = users.iter().map(|user| user.rows).sum();
    let (pages, against) = measure_pages(plan, &opened, (&measured, rows), progress)?;
    memory.note("pages");
    let reads = count_reads(plan, &snapshot, chosen[0].user, progress)?;
    let readers = measure_readers(plan, &opened.store, &measured, progress)?;
    memory.note("reader threads");
    let store = StoreFigures {
        generated: opened.directory.is_some(),
        rows,
        users: users.len(),
        file_bytes: std::fs::metadata(&opened.path)?.len(),
        load_seconds: opened.load.map(|load| load.as_secs_f64()),
    };
    drop(snapshot);
    let Opened { path, store: reader, directory, users: all_users, .. } = opened;
    reader.close()?;
    let cold = measure_cold(plan, &path, &measured, &pages, progress)?;
    let writes = match plan.writes {
        true => Some(measure_writes(&path, &all_users, store.rows, progress)?),
        false => None,
    };
    memory.note("the end");
    // Explicitly, so that an error of removing it is not lost.
    directory.map(TempDir::close).transpose().context("cannot remove the generated store")?;
    Ok(BenchResult {
        format: "convodb-bench",
        version: VERSION,
        convodb: env!("CARGO_PKG_VERSION"),
        started_at,
        machine: Machine {
            processors: thread::available_parallelism()?.get(),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            optimized: !cfg!(debug_assertions),
        },
        store,
        users: chosen.iter().map(figures_of).collect(),
        against,
        pages,
        reads,
        cold,
        readers,
        writes,
        memory: memory.0,
    })
}

fn figures_of(size: &UserSize) -> UserFigures {
    UserFigures { user: size.user.get(), rows: size.rows, assistants: size.assistants }
}

/// Opens the store for reading only, after generating it if it is to be.
fn open(plan: &Plan, progress: &mut dyn FnMut(Stage)) -> Result<Opened> {
    let read_only = StoreOptions::new().read_only(true);
    match &plan.source {
        Source::File(path) => {
            let store = Store::open_with(path, &read_only)?;
            Ok(Opened { path: path.clone(), store, directory: None, load: None, users: Vec::new() })
        }
        Source::Generated(rows) => {
            let directory = temporary_directory(plan)?;
            let path = directory.path().join("bench.convodb");
            let (users, load) = generate(&path, *rows, progress)?;
            let load = Some(load);
            let store = Store::open_with(&path, &read_only)?;
            Ok(Opened { path, store, directory: Some(directory), load, users })
        }
    }
}

/// What the threads of a load have done so far.
#[derive(Default)]
struct LoadProgress {
    generated: AtomicU64,
    written: AtomicU64,
    to_write: AtomicU64,
}

impl LoadProgress {
    fn stage(&self, rows: u64) -> Stage {
        match self.to_write.load(Ordering::Relaxed) {
            0 => {
                let done = self.generated.load(Ordering::Relaxed);
                Stage { what: "generating rows", done, total: rows }
            }
            total => {
                let done = self.written.load(Ordering::Relaxed);
                Stage { what: "writing entries", done, total }
            }
        }
    }
}

/// Generates the store at `path`. Returns its users and the duration of the load.
fn generate(
    path: &Path,
    rows: u64,
    progress: &mut dyn FnMut(Stage),
) -> Result<(Vec<UserId>, Duration)> {
    let indexes = IndexFamilies::NONE.with(IndexFamily::LastActivity);
    let store = Store::open_with(path, &StoreOptions::new().indexes(indexes))?;
    let shared = Arc::new(LoadProgress::default());
    let of_writer = shared.clone();
    let writing = move |done, total| {
        of_writer.written.store(done, Ordering::Relaxed);
        of_writer.to_write.store(total, Ordering::Relaxed);
    };
    let generating = |done| shared.generated.store(done, Ordering::Relaxed);
    thread::scope(|scope| {
        let loader = scope.spawn(|| {
            let began = Instant::now();
            let (users, _) = dataset::load_with_progress(&store, SEED, rows, generating, writing)?;
            store.close()?;
            Ok((users, began.elapsed()))
        });
        while !loader.is_finished() {
            progress(shared.stage(rows));
            thread::sleep(Duration::from_millis(20));
        }
        loader.join().unwrap_or_else(|_| bail!("the loading thread panicked"))
    })
}

fn temporary_directory(plan: &Plan) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("convodb-bench-");
    let created = match &plan.directory {
        Some(directory) => builder.tempdir_in(directory),
        None => builder.tempdir(),
    };
    created.context("cannot create a temporary directory")
}

/// The lists of the users with their places.
fn find_lists(
    snapshot: &Snapshot,
    users: &[UserSize],
    progress: &mut dyn FnMut(Stage),
) -> Result<Vec<MeasuredList>> {
    let mut measured = Vec::new();
    for size in users {
        let mut lists = lists::lists(snapshot, size.user)?;
        lists.extend(lists::activity_lists(snapshot, size.user)?);
        let total = lists.len() as u64;
        for (done, list) in (0..).zip(lists) {
            progress(Stage { what: "finding page starts", done, total });
            let places = ListPlaces::find(snapshot, size.user, &list, MAX_SPREAD)?;
            measured.push(MeasuredList { user: size.user, list, places });
        }
    }
    Ok(measured)
}

/// Compares the engines and times their pages.
fn measure_pages(
    plan: &Plan,
    opened: &Opened,
    (measured, rows): (&[MeasuredList], u64),
    progress: &mut dyn FnMut(Stage),
) -> Result<(Vec<PageFigures>, Vec<EngineFigures>)> {
    // Only a comparison copies the rows.
    let _ = rows;
    let mut kinds = Vec::new();
    for list in measured {
        for page_size in &plan.page_sizes {
            kinds.extend(PageKind::of(list, *page_size));
        }
    }
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Convodb::new(opened.store.clone()))];
    let mut against: Vec<EngineFigures> = Vec::new();
    #[cfg(feature = "sqlite")]
    if plan.sqlite {
        let copied = crate::against::Copied::create(
            &opened.store.snapshot(),
            temporary_directory(plan)?,
            |done| progress(Stage { what: "copying to SQLite", done, total: rows }),
        )?;
        against.push(copied.figures()?);
        for engine in copied.engines()? {
            engines.push(Box::new(engine));
        }
    }
    pages::prepare(&mut engines, &kinds)?;
    if engines.len() > 1 {
        let total = kinds.len() as u64;
        let compared = pages::compare(&mut engines, &kinds, |done| {
            progress(Stage { what: "comparing pages", done: done as u64, total });
        })?;
        against.iter_mut().for_each(|engine| engine.compared_pages = compared);
    }
    let times = pages::measure(&mut engines, &kinds, plan.effort, |done, total| {
        progress(Stage { what: "reading pages", done, total });
    })?;
    let names: Vec<&'static str> = engines.iter().map(|engine| engine.name()).collect();
    let figures = times.iter().map(|times| page_figures(&names, &kinds, times));
    Ok((figures.collect(), against))
}

fn page_figures(names: &[&'static str], kinds: &[PageKind<'_>], times: &PageTimes) -> PageFigures {
    let kind = &kinds[times.kind];
    PageFigures {
        engine: names[times.engine],
        user: kind.list.user.get(),
        list: kind.list.list.name.clone(),
        combinations: kind.list.list.combinations,
        rows_in_list: kind.list.places.rows,
        page_size: kind.page_size.get(),
        depth: kind.depth.as_str(),
        rows_before: kind.rows_before,
        latency: times.latencies.summary(),
        entries: times.most_read.map(|(entries, _)| entries),
        rows_read: times.most_read.map(|(_, rows)| rows),
        bound: PageCost::bound(kind.page_size),
    }
}

/// Counts what the pages of all combinations of filters of a user read.
fn count_reads(
    plan: &Plan,
    snapshot: &Snapshot,
    user: UserId,
    progress: &mut dyn FnMut(Stage),
) -> Result<Vec<ReadFigures>> {
    let combinations = lists::combinations(snapshot, user)?;
    let total = combinations.len() as u64;
    let mut reads = Vec::new();
    for (done, list) in (0..).zip(&combinations) {
        progress(Stage { what: "counting what pages read", done, total });
        for page_size in &plan.page_sizes {
            let counts = counts::count(snapshot, user, list, *page_size)?;
            reads.push(ReadFigures {
                filters: list.name.clone(),
                rows: counts.rows,
                page_size: page_size.get(),
                pages: counts.pages,
                entries: counts.entries,
                rows_read: counts.rows_read,
                bound: PageCost::bound(*page_size),
            });
        }
    }
    Ok(reads)
}

fn measure_readers(
    plan: &Plan,
    store: &Store,
    measured: &[MeasuredList],
    progress: &mut dyn FnMut(Stage),
) -> Result<Vec<ReaderFigures>> {
    let mut readers = Vec::new();
    let Some(page_size) = plan.page_sizes.first() else { return Ok(readers) };
    let duration = plan.effort.slice * 100;
    for (done, threads) in (0..).zip(&plan.threads) {
        let total = plan.threads.len() as u64;
        progress(Stage { what: "reading with several threads", done, total });
        let times = readers::measure(store, measured, *page_size, *threads, duration)?;
        readers.push(ReaderFigures {
            threads: times.threads,
            page_size: page_size.get(),
            pages_per_second: times.pages_per_second.round(),
            latency: times.latencies.summary(),
        });
    }
    Ok(readers)
}

/// Cold pages of the biggest user's lists, beside the warm ones among `pages`.
fn measure_cold(
    plan: &Plan,
    path: &Path,
    measured: &[MeasuredList],
    pages: &[PageFigures],
    progress: &mut dyn FnMut(Stage),
) -> Result<Vec<ColdFigures>> {
    let mut all = Vec::new();
    let (Some(first), Some(page_size)) = (measured.first(), plan.page_sizes.first()) else {
        return Ok(all);
    };
    if plan.cold_samples == 0 {
        return Ok(all);
    }
    let lists = measured.iter().filter(|list| list.user == first.user && list.places.rows > 0);
    let lists: Vec<_> = lists.take(COLD_LISTS).collect();
    let total = (lists.len() * plan.cold_samples) as u64;
    let mut done = 0;
    for list in lists {
        let times = cold::measure(path, list, *page_size, plan.cold_samples, || {
            done += 1;
            progress(Stage { what: "reading cold pages", done, total });
        })?;
        let warm = |depth: &str| {
            pages.iter().find(|page| {
                (page.engine, page.depth, page.list.as_str())
                    == ("convodb", depth, list.list.name.as_str())
                    && (page.user, page.page_size) == (list.user.get(), page_size.get())
            })
        };
        all.push(ColdFigures {
            list: list.list.name.clone(),
            page_size: page_size.get(),
            open: times.open.summary(),
            page: times.page.summary(),
            warm: warm("deep").or_else(|| warm("first")).map(|page| page.latency),
            disk_bytes: times.disk_bytes,
            evicted: times.evicted,
        });
    }
    Ok(all)
}

fn measure_writes(
    path: &Path,
    users: &[UserId],
    rows: u64,
    progress: &mut dyn FnMut(Stage),
) -> Result<WriteFigures> {
    let store = Store::open(path)?;
    let mut done = 0;
    let times = writes::measure(&store, users, WRITES_SEED, rows, || {
        done += 1;
        progress(Stage { what: "writing", done, total: writes::STEPS });
    })?;
    store.close()?;
    Ok(WriteFigures {
        insert: times.insert.summary(),
        update: times.update.summary(),
        delete: times.delete.summary(),
        group_of_100: times.group.summary(),
        inserts_per_second_by_64_threads: times.concurrent_per_second.round(),
    })
}

/// The memory of the process at some moments, if it is to be measured.
struct MemoryLog(Option<Vec<MemoryFigures>>);

impl MemoryLog {
    fn note(&mut self, after: &'static str) {
        if let (Some(all), Some(resident_bytes), Some(peak_bytes)) =
            (&mut self.0, resident_bytes(), peak_resident_bytes())
        {
            all.push(MemoryFigures { after, resident_bytes, peak_bytes });
        }
    }
}
