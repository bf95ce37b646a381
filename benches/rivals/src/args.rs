//! The command line as data.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::contestant::Name;

/// convodb measured against what a user could pick instead.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Where stores are made once and kept.
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/rivals-stores"))]
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
        engines: Vec<Name>,
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
        engines: Vec<Name>,
        /// A fifth of the rounds and a quarter of the pages.
        #[arg(long)]
        quick: bool,
        /// The file that is written.
        #[arg(long, default_value = "results/scale.json")]
        json: PathBuf,
    },
}
