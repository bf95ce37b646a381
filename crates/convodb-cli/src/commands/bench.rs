//! `convodb bench`: measures pages, and writes on request, of a generated store or of one's own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::BoolishValueParser;
use convodb::PageSize;
use convodb_bench::html;
use convodb_bench::pages::Effort;
use convodb_bench::result::BenchResult;
use convodb_bench::run::{self, Plan, Source, Stage};
use indicatif::ProgressBar;

use crate::args::{JsonFlag, UsageError};
use crate::commands::bench_table;
use crate::console::progress_style;
use crate::io::output::Output;
use crate::open_store::{self, WhileServed};

/// The most rows of a generated store.
const MAX_ROWS: u64 = 1_000_000_000;
/// The most reader threads.
const MAX_THREADS: u64 = 1024;

/// Measure what pages cost: of a generated store, or of your own without changing it
///
/// Reads the first, deep, last and backward pages of the biggest users' lists, by each combination
/// of filters that is a list of its own, and prints p50 and p99 of their times, and how many entries
/// and rows they read. Also measures cold pages and several reader threads, and with --writes and
/// --memory durable writes and memory.
///
/// A generated store is in a temporary directory, which is removed at the end. Your own store is
/// opened for reading only: no byte of its files changes. Stop the server that has it open, or measure
/// a backup; a server that starts meanwhile refuses writes until the end. The result contains no name,
/// phone, identifier or path.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb bench [--rows <N>] [OPTIONS]\n       convodb bench --db <FILE> [OPTIONS]",
    after_help = "Example: convodb bench --rows 1000000 --html bench.html"
)]
pub(crate) struct Args {
    /// Number of conversations of a generated store
    ///
    /// Of 1,000 users by Zipf's law; the biggest has a tenth of them. A million take half a minute
    /// and 600 MB of disk space.
    #[arg(long, env = "CONVODB_BENCH_ROWS", value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_ROWS))]
    rows: u64,
    /// The store to measure instead of a generated one, read only
    #[arg(long, env = "CONVODB_BENCH_DB", value_name = "FILE", conflicts_with_all = ["rows", "writes"])]
    db: Option<PathBuf>,
    /// Directory of temporary files: a generated store, and the copy for --against [default: the system's directory for temporary files]
    ///
    /// If that is in memory, as /tmp often is, cold pages and durable writes mean nothing.
    #[arg(long, env = "CONVODB_BENCH_DIRECTORY", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Number of users whose lists are read, the biggest first
    #[arg(long, env = "CONVODB_BENCH_USERS", value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=100))]
    users: u64,
    /// Page sizes, separated by commas, 1 to 100; the first one is that of cold pages and of reader
    /// threads
    #[arg(long, env = "CONVODB_BENCH_PAGE_SIZES", value_name = "N", value_delimiter = ',',
          default_values_t = [15, 100], value_parser = clap::value_parser!(u64).range(1..=100))]
    page_sizes: Vec<u64>,
    /// Numbers of reader threads, separated by commas [default: 1, 2 and one a processor]
    #[arg(long, env = "CONVODB_BENCH_THREADS", value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u64).range(1..=MAX_THREADS))]
    threads: Vec<u64>,
    /// Number of cold pages of each list; 0 for none
    ///
    /// Each is the first page after the store was opened anew and, on Linux, its file evicted from
    /// the memory of the system.
    #[arg(long, env = "CONVODB_BENCH_COLD", value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(0..=10_000))]
    cold: u64,
    /// Also measure durable writes, into the generated store
    #[arg(long, env = "CONVODB_BENCH_WRITES", value_parser = BoolishValueParser::new())]
    writes: bool,
    /// Also measure the memory of this process
    #[arg(long, env = "CONVODB_BENCH_MEMORY", value_parser = BoolishValueParser::new())]
    memory: bool,
    /// Also read all pages from another engine, which gets the same rows; all pages are compared
    /// first
    #[arg(long, env = "CONVODB_BENCH_AGAINST", value_name = "ENGINE")]
    against: Option<Against>,
    /// Read sixty pages of each kind instead of a thousand
    #[arg(long, env = "CONVODB_BENCH_QUICK", value_parser = BoolishValueParser::new())]
    quick: bool,
    /// Write a page with charts to this file, which must not exist
    #[arg(long, env = "CONVODB_BENCH_HTML", value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
}

/// Another engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// With an ideal index for each list, by key and by OFFSET
    Sqlite,
}

/// Measures and prints the result.
pub(crate) fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<()> {
    let plan = plan(args)?;
    if let Source::File(path) = &plan.source {
        check(path)?;
    }
    // Before the run, which is long: a file that exists is refused.
    let mut nowhere = std::io::sink();
    let html = args.html.as_deref().map(|path| Output::open(path, &mut nowhere)).transpose()?;
    let (bar, mut progress) = stage_bar();
    let result = run::run(&plan, &mut progress);
    bar.finish_and_clear();
    let result = result.context("cannot finish the benchmark")?;
    if let Some(mut file) = html {
        file.write_all(html::page(&result).as_bytes()).context("cannot write the page")?;
        file.finish()?;
    }
    print(&result, args.json.json, out).context("cannot print the result")
}

fn print(result: &BenchResult, json: bool, out: &mut dyn Write) -> Result<()> {
    if json {
        serde_json::to_writer(&mut *out, result)?;
        return Ok(writeln!(out)?);
    }
    bench_table::print(result, out)
}

fn plan(args: &Args) -> Result<Plan> {
    if args.html.as_deref() == Some(Path::new("-")) {
        bail!(UsageError("--html needs a file, as standard output has the result".to_owned()));
    }
    let source = match &args.db {
        Some(path) => Source::File(path.clone()),
        None => Source::Generated(args.rows),
    };
    let page_sizes = args.page_sizes.iter().map(|size| PageSize::new(*size));
    let threads = match args.threads.is_empty() {
        true => default_threads()?,
        false => {
            args.threads.iter().map(|count| usize::try_from(*count)).collect::<Result<_, _>>()?
        }
    };
    #[cfg(not(feature = "sqlite"))]
    if let Some(Against::Sqlite) = args.against {
        let usage = "this build of convodb has no SQLite (cargo feature `sqlite`)";
        bail!(UsageError(usage.to_owned()));
    }
    Ok(Plan {
        source,
        directory: args.directory.clone(),
        users: usize::try_from(args.users)?,
        page_sizes: page_sizes.collect::<convodb::Result<_>>()?,
        effort: if args.quick { Effort::QUICK } else { Effort::FULL },
        cold_samples: usize::try_from(args.cold)?,
        threads,
        writes: args.writes,
        memory: args.memory,
        #[cfg(feature = "sqlite")]
        sqlite: args.against == Some(Against::Sqlite),
    })
}

/// 1, 2 and the number of processors.
fn default_threads() -> Result<Vec<usize>> {
    let mut threads = vec![1, 2, available_parallelism()?.get()];
    threads.sort_unstable();
    threads.dedup();
    Ok(threads)
}

/// Opens the store once, for an error that says what to do while a server has it.
fn check(path: &Path) -> Result<()> {
    let served = WhileServed::Copy("convodb bench --db COPY");
    open_store::read_only(path, served)?.close()?;
    Ok(())
}

/// A progress bar with the name of the stage, and the callback that moves it.
fn stage_bar() -> (ProgressBar, impl FnMut(Stage)) {
    let style = progress_style("{msg:28} {bar:30} {human_pos} of {human_len}, {eta} left");
    let bar = ProgressBar::new(0).with_style(style);
    let shown = bar.clone();
    let mut before = "";
    let progress = move |stage: Stage| {
        if stage.what != before {
            before = stage.what;
            shown.reset();
            shown.set_message(stage.what);
        }
        shown.set_length(stage.total);
        shown.set_position(stage.done);
    };
    (bar, progress)
}
