//! The command of the capacity model: prints its tables, or JSON, or writes them into the document.

#![expect(clippy::print_stdout, reason = "the output of a command")]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use convodb_bench::document_block;
use convodb_capacity::charts;
use convodb_capacity::inputs::Inputs;
use convodb_capacity::report::Report;

const DOCUMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
/// The most conversations: the model keeps every user in memory.
const MOST: f64 = 1e11;

/// Computes machines and latencies for 10^6 to 10^10 conversations, by simulation.
#[derive(Parser)]
struct Arguments {
    /// Numbers of conversations, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1e6,1e7,1e8,1e9,1e10")]
    sizes: Vec<f64>,
    /// Change an input, as `--set cores=16`; `--inputs` lists them.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the inputs with their sources, and nothing else.
    #[arg(long)]
    inputs: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Write tables and charts into docs/capacity.md and docs/charts of this directory.
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, default_missing_value = DOCUMENTS)]
    write: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut inputs = Inputs::default();
    for setting in &arguments.set {
        let (name, value) = setting
            .split_once('=')
            .with_context(|| format!("--set takes NAME=VALUE, not `{setting}`"))?;
        let value =
            value.parse().with_context(|| format!("--set {name}: `{value}` is not a number"))?;
        inputs.set(name, value)?;
    }
    for size in &arguments.sizes {
        if !(1.0..=MOST).contains(size) {
            bail!("--sizes takes numbers from 1 to {MOST:e}, not {size}");
        }
    }
    if arguments.inputs {
        for input in inputs.list() {
            println!(
                "{} = {} {}\n    {} ({})",
                input.name, input.value, input.unit, input.meaning, input.source
            );
        }
        return Ok(());
    }
    let mut sizes = arguments.sizes;
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let report = Report::new(&inputs, &sizes, arguments.seed);
    if let Some(directory) = arguments.write {
        return write(&report, &directory);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for (_, block) in report.blocks() {
            println!("{block}");
        }
    }
    Ok(())
}

/// Writes the blocks and charts into a directory of documents.
fn write(report: &Report, directory: &Path) -> Result<()> {
    let path = directory.join("capacity.md");
    let mut document =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    for (name, block) in report.blocks() {
        document = document_block::replace(&document, name, &block)?;
    }
    std::fs::write(&path, document).with_context(|| format!("writing {}", path.display()))?;
    for (name, svg) in charts::all(report) {
        let path = directory.join("charts").join(name);
        std::fs::write(&path, svg).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
