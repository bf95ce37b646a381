//! `convodb indexes`: list, add and drop the optional indexes of a store.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use clap::Subcommand;
use convodb::{IndexFamilies, IndexFamily, IndexState, Snapshot, Store};
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag};
use crate::console::{entries_bar, say};
use crate::io::text_table::{Align, Column, Fit, TextTable};
use crate::open_store::{LARGE_CACHE_BYTES, SMALL_CACHE_BYTES, WhileServed, existing, read_only};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all optional indexes and whether the store has them
    List {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// Add indexes; if this is interrupted, it continues when the store is opened
    ///
    /// A server adds them while it runs: `convodb serve --indexes`.
    Add {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        json: JsonFlag,
        /// Names of the indexes, separated by commas
        #[arg(value_name = "INDEXES", value_parser = named)]
        indexes: IndexFamilies,
    },
    /// Drop indexes: no list uses them any more, and writes become cheaper
    Drop {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        json: JsonFlag,
        /// Names of the indexes, separated by commas
        #[arg(value_name = "INDEXES", value_parser = named)]
        indexes: IndexFamilies,
    },
}

/// Parses the names of at least one index.
fn named(text: &str) -> Result<IndexFamilies, String> {
    let named = text.parse::<IndexFamilies>().ok().filter(|families| !families.is_empty());
    named.ok_or_else(|| {
        let names = IndexFamily::ALL.map(IndexFamily::as_str).join(", ");
        format!("must be one or more of {names}, separated by commas")
    })
}

/// An index as JSON.
#[derive(Serialize)]
struct Line {
    index: &'static str,
    state: &'static str,
}

const COLUMNS: [Column; 2] = [
    Column { title: "INDEX", align: Align::Left, fit: Fit::Whole },
    Column { title: "STATE", align: Align::Left, fit: Fit::Whole },
];

/// Lists, adds or drops indexes.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    let served = WhileServed::ServerFlag("--indexes");
    let started = Instant::now();
    match command {
        Command::List { db: DbFlag { db }, json } => {
            let store = read_only(&db, served)?;
            print(&store.snapshot(), &json, out)?;
            Ok(store.close()?)
        }
        Command::Add { db: DbFlag { db }, json, indexes } => {
            let store = existing(&db, LARGE_CACHE_BYTES, served)?;
            let there = in_state(&store, indexes, IndexState::Ready);
            let (bar, progress) = entries_bar();
            let added = store.add_indexes_with_progress(indexes, progress);
            bar.finish_and_clear();
            added?;
            let done = done("added", indexes, there, "already there");
            finish(store, &json, out, &done, started)
        }
        Command::Drop { db: DbFlag { db }, json, indexes } => {
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let absent = in_state(&store, indexes, IndexState::Absent);
            let (bar, progress) = entries_bar();
            let dropped = store.drop_indexes_with_progress(indexes, progress);
            bar.finish_and_clear();
            dropped?;
            finish(store, &json, out, &done("dropped", indexes, absent, "not there"), started)
        }
    }
}

/// Those of some indexes that have a state.
fn in_state(store: &Store, indexes: IndexFamilies, state: IndexState) -> IndexFamilies {
    let snapshot = store.snapshot();
    indexes.iter().filter(|index| snapshot.index_state(*index) == state).collect()
}

/// Says which of some indexes were changed, and which were left as they are, and why.
fn done(verb: &str, indexes: IndexFamilies, left: IndexFamilies, why: &str) -> String {
    let changed: IndexFamilies = indexes.iter().filter(|index| !left.contains(*index)).collect();
    match (changed.is_empty(), left.is_empty()) {
        (_, true) => format!("{verb} {changed}"),
        (true, false) => format!("{left}: {why}"),
        (false, false) => format!("{verb} {changed}; {left}: {why}"),
    }
}

/// Prints the states of all indexes for programs, closes the store, and says what was done.
fn finish(
    store: Store,
    json: &JsonFlag,
    out: &mut dyn Write,
    done: &str,
    started: Instant,
) -> Result<()> {
    if json.json {
        print(&store.snapshot(), json, out)?;
    }
    store.close()?;
    say(format_args!("{done} ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}

fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let all = IndexFamily::ALL.into_iter();
    let line = |index: IndexFamily| Line {
        index: index.as_str(),
        state: snapshot.index_state(index).as_str(),
    };
    all.map(line).collect()
}

fn print(snapshot: &Snapshot, json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        for line in lines(snapshot) {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        return Ok(());
    }
    let cells = |line: &Line| vec![line.index.to_owned(), line.state.to_owned()];
    let rows: Vec<Vec<String>> = lines(snapshot).iter().map(cells).collect();
    Ok(TextTable::new(&COLUMNS).write(out, &rows)?)
}
