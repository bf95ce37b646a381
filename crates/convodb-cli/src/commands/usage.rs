//! `convodb stats`: what a store takes on disk, table by table.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use convodb::Store;
use serde::{Deserialize, Serialize};

use crate::admin_client;
use crate::args::Usage;
use crate::console::{bytes, grouped};
use crate::io::text_table::{Column, Fit, Sheet, Side};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::upkeep::Stats;

/// What a store takes, as JSON. A server does not tell the bytes of tables, which it would have to
/// read all pages for; only a server has states that are held.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    file_bytes: u64,
    log_bytes: u64,
    /// What pages in use take; the rest of the file is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_bytes: Option<u64>,
    /// The present state, and those that requests and exports hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<u64>,
    /// For how long the oldest of them has not been the present one.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_view_seconds: Option<f64>,
    tables: Vec<TableLine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TableLine {
    table: String,
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_bytes: Option<u64>,
}

const COLUMNS: [Column; 4] = [
    Column { title: "TABLE", side: Side::Left, fit: Fit::Whole },
    Column { title: "ENTRIES", side: Side::Right, fit: Fit::Whole },
    Column { title: "CONTENT", side: Side::Right, fit: Fit::Drop(2) },
    Column { title: "PAGES", side: Side::Right, fit: Fit::Drop(1) },
];

/// Tells what the store takes.
pub(crate) fn run(verb: &Stats, out: &mut dyn Write) -> Result<()> {
    let line = match (&verb.admin_socket, &verb.db) {
        (Some(socket), _) => served(socket)?,
        (None, Some(db)) => own(db)?,
        (None, None) => {
            let usage = "--db FILE is needed, or --admin-socket SOCKET of the server";
            return Err(anyhow!(Usage(usage.to_owned())));
        }
    };
    if verb.json.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?);
    }
    print(&line, out)
}

fn served(socket: &Path) -> Result<Line> {
    let answer = admin_client::ask(socket, "GET", "/admin/stats", "")?;
    serde_json::from_str(&answer).context("the server's answer is not one of its statistics")
}

fn own(db: &Path) -> Result<Line> {
    let served = WhileServed::Command("convodb stats --admin-socket SOCKET");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let line = measure(&store).with_context(|| format!("cannot read {}", db.display()))?;
    store.close()?;
    Ok(line)
}

fn measure(store: &Store) -> convodb::Result<Line> {
    let usage = store.usage()?;
    let extents = store.snapshot().table_bytes()?;
    let used = extents.iter().map(|extent| extent.pages).sum();
    let tables = usage.tables.iter().zip(extents).map(|((table, entries), extent)| TableLine {
        table: (*table).to_owned(),
        entries: *entries,
        content_bytes: Some(extent.content),
        page_bytes: Some(extent.pages),
    });
    Ok(Line {
        file_bytes: usage.file_bytes,
        log_bytes: usage.log_bytes,
        used_bytes: Some(used),
        views: None,
        oldest_view_seconds: None,
        tables: tables.collect(),
    })
}

fn print(line: &Line, out: &mut dyn Write) -> Result<()> {
    let used = line.used_bytes.map(|used| ("used", used));
    for (what, number) in
        [("file", line.file_bytes)].into_iter().chain(used).chain([("log", line.log_bytes)])
    {
        writeln!(out, "{what:<5}{:>12}", bytes(number))?;
    }
    if let (Some(views), Some(age)) = (line.views, line.oldest_view_seconds) {
        writeln!(out, "views{views:>8}, the oldest replaced {age:.1} s ago")?;
    }
    writeln!(out)?;
    let size = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), bytes);
    let rows: Vec<Vec<String>> = line
        .tables
        .iter()
        .map(|row| {
            vec![
                row.table.clone(),
                grouped(row.entries),
                size(row.content_bytes),
                size(row.page_bytes),
            ]
        })
        .collect();
    Ok(Sheet::new(&COLUMNS).write(out, &rows)?)
}
