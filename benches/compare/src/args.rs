//! The command line as data.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::engine_kind::EngineKind;
use crate::writers::WriterKind;

const STORES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/stores");

/// convodb measured against what a user could pick instead.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Where stores are made once and kept.
    #[arg(long, global = true, default_value = STORES)]
    pub(crate) stores: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The latency of pages, engine against engine, on stores of one size.
    Pages {
        /// How many rows a store has.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Which engines; all that are installed where nothing is said.
        #[arg(long, value_delimiter = ',')]
        engines: Vec<EngineKind>,
        /// A fifth of the rounds and a quarter of the pages.
        #[arg(long)]
        quick: bool,
        /// The file that is written; results/pages-ROWS.json where nothing is said.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// The latency of pages over stores of several sizes, all open at once.
    Scale {
        /// How many rows the stores have.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000,10000000")]
        rows: Vec<u64>,
        /// Which engines.
        #[arg(long, value_delimiter = ',', default_value = "convodb,convodb-borrowed,memory")]
        engines: Vec<EngineKind>,
        /// A fifth of the rounds and a quarter of the pages.
        #[arg(long)]
        quick: bool,
        /// The file that is written.
        #[arg(long, default_value = "results/scale.json")]
        json: PathBuf,
    },
    /// Durable writes, engine against engine, into copies of stores; and bulk loads.
    Writes {
        /// How many rows a store has before, and how many a bulk load brings.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Which engines; all where nothing is said.
        #[arg(long, value_delimiter = ',')]
        engines: Vec<WriterKind>,
        /// The file that is written; results/writes-ROWS.json where nothing is said.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// From the start to the first page, after a stop in order and after a kill.
    Open {
        /// How many rows the stores have.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
        rows: Vec<u64>,
        /// The file that is written.
        #[arg(long, default_value = "results/open.json")]
        json: PathBuf,
    },
    /// Tables and charts of all results, into `benchmarks.md` and `charts/`.
    Report {
        /// Where the results are.
        #[arg(long, default_value = "results")]
        results: PathBuf,
        /// The directory of the document.
        #[arg(long, default_value = "../../docs")]
        out: PathBuf,
    },
    /// One bulk load, for its own memory; run by `writes`.
    #[command(hide = true)]
    LoadOne {
        #[arg(long)]
        engine: String,
        #[arg(long)]
        rows: u64,
        #[arg(long)]
        path: PathBuf,
    },
    /// Writes until it is stopped or killed; run by `open`.
    #[command(hide = true)]
    OpenWrite {
        #[arg(long)]
        path: PathBuf,
        #[arg(long)]
        fast_recovery: bool,
        #[arg(long)]
        seed: u64,
    },
    /// Opens and reads a page; run by `open`.
    #[command(hide = true)]
    OpenRead {
        #[arg(long)]
        path: PathBuf,
    },
}
