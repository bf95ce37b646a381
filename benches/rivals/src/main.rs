//! convodb measured against what a user could pick instead: SQLite, LMDB, PostgreSQL, and no engine
//! at all. Every engine has the same rows, gives the same pages, and is read in turn with the
//! others; `docs/benchmarks.md` shows what came of it.

mod args;
mod contestant;
mod corpus;
mod engine;
mod engines;
mod held;
mod list;
mod measure;
mod pages;
mod record;
mod result;
mod row;
mod stores;
mod wanted;

use anyhow::Result;
use clap::Parser;

use crate::args::{Arguments, Command};
use crate::contestant::Name;
use crate::engines::postgres_server;
use crate::measure::Effort;
use crate::pages::{ALL_OWNERS, ONE_OWNER, Suite};

fn main() -> Result<()> {
    let Arguments { stores, command } = Arguments::parse();
    match command {
        Command::Pages { rows, engines, quick, json } => pages::run(&Suite {
            name: "pages",
            sizes: &[rows],
            engines: &chosen(engines),
            owners: &ALL_OWNERS,
            effort: effort(quick),
            stores: &stores,
            json: json.unwrap_or_else(|| format!("results/pages-{rows}.json").into()),
        }),
        Command::Scale { rows, engines, quick, json } => pages::run(&Suite {
            name: "scale",
            sizes: &rows,
            engines: &engines,
            owners: &ONE_OWNER,
            effort: effort(quick),
            stores: &stores,
            json,
        }),
    }
}

const fn effort(quick: bool) -> Effort {
    if quick { Effort::QUICK } else { Effort::FULL }
}

/// The engines that were named, or all that are installed.
fn chosen(named: Vec<Name>) -> Vec<Name> {
    let installed = |name: &Name| *name != Name::Postgres || postgres_server::is_installed();
    if named.is_empty() { Name::ALL.into_iter().filter(installed).collect() } else { named }
}
