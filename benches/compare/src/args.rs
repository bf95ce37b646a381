//! Command-line arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::engine_kind::EngineKind;
use crate::writers::WriterKind;

const STORES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/stores");

/// Compare convodb with SQLite, LMDB, PostgreSQL and plain vectors in memory.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Directory of the stores; a missing store is created and reused by later runs.
    #[arg(long, global = true, default_value = STORES)]
    pub(crate) stores: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measure page latency of all engines on stores of one size.
    Pages {
        /// Number of rows in each store.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Engines to measure, separated by commas [default: all that are installed].
        #[arg(long, value_delimiter = ',')]
        engines: Vec<EngineKind>,
        /// Run a fifth of the rounds with a quarter of the pages each.
        #[arg(long)]
        quick: bool,
        /// Result file [default: results/pages-ROWS.json].
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measure page latency on stores of several sizes, all open at the same time.
    Scale {
        /// Numbers of rows of the stores, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000,10000000")]
        rows: Vec<u64>,
        /// Engines to measure, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "convodb,convodb-borrowed,memory")]
        engines: Vec<EngineKind>,
        /// Run a fifth of the rounds with a quarter of the pages each.
        #[arg(long)]
        quick: bool,
        /// Result file.
        #[arg(long, default_value = "results/scale.json")]
        json: PathBuf,
    },
    /// Measure durable writes into copies of the stores, and bulk loads.
    Writes {
        /// Number of rows in each store before the writes, and of each bulk load.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Engines to measure, separated by commas [default: all].
        #[arg(long, value_delimiter = ',')]
        engines: Vec<WriterKind>,
        /// Result file [default: results/writes-ROWS.json].
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measure how long it takes to count the rows of each list.
    Counts {
        /// Number of rows in each store.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Engines to measure, separated by commas [default: one of each kind that is installed].
        #[arg(long, value_delimiter = ',')]
        engines: Vec<EngineKind>,
        /// Result file [default: results/counts-ROWS.json].
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measure pages of convodb and LMDB that 1, 2 and 16 threads read at once.
    Readers {
        /// Number of rows in each store.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Result file [default: results/readers-ROWS.json].
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measure the time from open to the first page, after a clean stop and after a kill.
    Open {
        /// Numbers of rows of the stores, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
        rows: Vec<u64>,
        /// Result file.
        #[arg(long, default_value = "results/open.json")]
        json: PathBuf,
    },
    /// Write tables and charts of all results into `benchmarks.md` and `charts/`.
    Report {
        /// Directory of the result files.
        #[arg(long, default_value = "results")]
        results: PathBuf,
        /// Directory of `benchmarks.md`.
        #[arg(long, default_value = "../../docs")]
        out: PathBuf,
    },
    /// Run one bulk load, in its own process to measure its memory; started by `writes`.
    #[command(hide = true)]
    LoadOne {
        #[arg(long)]
        engine: String,
        #[arg(long)]
        rows: u64,
        #[arg(long)]
        path: PathBuf,
    },
    /// Write rows, then wait to be stopped or killed; started by `open`.
    #[command(hide = true)]
    OpenWrite {
        #[arg(long)]
        path: PathBuf,
        #[arg(long)]
        fast_recovery: bool,
        #[arg(long)]
        seed: u64,
    },
    /// Open a store and read one page; started by `open`.
    #[command(hide = true)]
    OpenRead {
        #[arg(long)]
        path: PathBuf,
    },
}
