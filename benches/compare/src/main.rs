//! Comparison benchmark: convodb against SQLite, LMDB, PostgreSQL and plain vectors in memory.
//!
//! Every engine stores the same rows and must return the same pages. The engines take turns, so
//! that a disturbance of the machine affects all of them. `docs/benchmarks.md` shows the results.

mod args;
mod dataset;
mod engine_kind;
mod engines;
mod list;
mod measure;
mod reference;
mod report;
mod results;
mod stores;
mod suites;
mod term;
mod writers;

use anyhow::Result;
use clap::Parser;

use crate::args::{Arguments, Command};
use crate::engine_kind::EngineKind;
use crate::engines::postgres_server;
use crate::measure::Effort;
use crate::suites::pages::{ALL_USERS, BIGGEST_USER, Suite};
use crate::suites::{bulk_load, counts, open, pages, readers, writes};

fn main() -> Result<()> {
    let Arguments { stores, command } = Arguments::parse();
    match command {
        Command::Pages { rows, engines, quick, json } => pages::run(&Suite {
            name: "pages",
            sizes: &[rows],
            engines: &selected_engines(engines),
            users: &ALL_USERS,
            effort: effort(quick),
            stores: &stores,
            json: json.unwrap_or_else(|| format!("results/pages-{rows}.json").into()),
        }),
        Command::Scale { rows, engines, quick, json } => pages::run(&Suite {
            name: "scale",
            sizes: &rows,
            engines: &engines,
            users: &BIGGEST_USER,
            effort: effort(quick),
            stores: &stores,
            json,
        }),
        Command::Writes { rows, mut engines, json } => {
            if engines.is_empty() {
                engines = writers::WriterKind::ALL.to_vec();
            }
            let json = json.unwrap_or_else(|| format!("results/writes-{rows}.json").into());
            writes::run(rows, &engines, &stores, &json)
        }
        Command::Counts { rows, engines, json } => {
            let mut engines = selected_engines(engines);
            engines.retain(|kind| kind.has_own_count());
            let json = json.unwrap_or_else(|| format!("results/counts-{rows}.json").into());
            counts::run(rows, &engines, &stores, &json)
        }
        Command::Readers { rows, json } => {
            let json = json.unwrap_or_else(|| format!("results/readers-{rows}.json").into());
            readers::run(rows, &stores, &json)
        }
        Command::Open { rows, json } => open::run(&rows, &stores, &json),
        Command::Report { results, out } => report::run(&results, &out),
        Command::LoadOne { engine, rows, path } => {
            print_json(&bulk_load::load_in_process(&engine, rows, &path)?)
        }
        Command::OpenWrite { path, fast_recovery, seed } => {
            open::run_writer(&path, fast_recovery, seed)
        }
        Command::OpenRead { path } => print_json(&open::run_reader(&path)?),
    }
}

/// Prints the result of a subprocess as JSON for its parent.
fn print_json(result: &impl serde::Serialize) -> Result<()> {
    Ok(serde_json::to_writer(std::io::stdout(), result)?)
}

const fn effort(quick: bool) -> Effort {
    if quick { Effort::QUICK } else { Effort::FULL }
}

/// The given engines; without any, all engines that are installed.
fn selected_engines(given: Vec<EngineKind>) -> Vec<EngineKind> {
    let installed =
        |kind: &EngineKind| *kind != EngineKind::Postgres || postgres_server::is_installed();
    if given.is_empty() { EngineKind::ALL.into_iter().filter(installed).collect() } else { given }
}
