//! `convodb usage`: disk usage of a store, table by table.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use convodb::{ErasureScope, Store, UnfinishedErasure};
use serde::{Deserialize, Serialize};

use crate::admin_client;
use crate::args::{JsonFlag, StoreOrServer, Target};
use crate::console::{bytes, grouped};
use crate::io::text_table::{Align, Column, Fit, TextTable};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};

/// Show the disk usage of a store: bytes of its files, entries and bytes of each table
///
/// Reads every page to measure the tables. A running server answers at once, but without the bytes
/// of the tables: pass its admin socket.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb usage --db <FILE>\n       convodb usage --admin-socket <SOCKET>",
    after_help = "Example: convodb usage --db chats.convodb --json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: StoreOrServer,
    #[command(flatten)]
    json: JsonFlag,
}

/// Disk usage as JSON; also the server's response. The server leaves out the bytes of tables, which
/// cost it a read of every page. Only a server has snapshots.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    file_bytes: u64,
    log_bytes: u64,
    /// Bytes of pages in use; the rest of the file is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_bytes: Option<u64>,
    /// Live snapshots: of the current state, and of older ones that requests and exports still
    /// read.
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<u64>,
    /// Time since the oldest of them was superseded.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_view_seconds: Option<f64>,
    tables: Vec<TableLine>,
    unfinished_erasures: Vec<ErasureLine>,
}

/// An erasure whose bytes are still in the file.
#[derive(Debug, Serialize, Deserialize)]
struct ErasureLine {
    user: u32,
    /// `user` or `conversations`.
    scope: ErasureScope,
    since: String,
    deleted: bool,
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

impl ErasureLine {
    fn of(erasure: &UnfinishedErasure) -> Self {
        let UnfinishedErasure { user, scope, since, deleted } = *erasure;
        Self { user: user.get(), scope, since: since.to_rfc3339(), deleted }
    }
}

const COLUMNS: [Column; 4] = [
    Column { title: "TABLE", align: Align::Left, fit: Fit::Whole },
    Column { title: "ENTRIES", align: Align::Right, fit: Fit::Whole },
    Column { title: "CONTENT", align: Align::Right, fit: Fit::Drop(2) },
    Column { title: "PAGES", align: Align::Right, fit: Fit::Drop(1) },
];

/// Prints the disk usage.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let line = match args.target.target()? {
        Target::Server(socket) => of_server(socket)?,
        Target::File(db) => of_file(db)?,
    };
    if args.json.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?);
    }
    print(&line, out)
}

fn of_server(socket: &Path) -> Result<Line> {
    let response = admin_client::request(socket, "GET", "/admin/stats", "")?;
    serde_json::from_str(&response).context("cannot parse the server's response")
}

fn of_file(db: &Path) -> Result<Line> {
    let served = WhileServed::Command("convodb usage --admin-socket SOCKET");
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
        log_bytes: usage.wal_bytes,
        used_bytes: Some(used),
        views: None,
        oldest_view_seconds: None,
        tables: tables.collect(),
        unfinished_erasures: usage.unfinished_erasures.iter().map(ErasureLine::of).collect(),
    })
}

fn print(line: &Line, out: &mut dyn Write) -> Result<()> {
    let used = line.used_bytes.map(|used| ("used", used));
    let sizes =
        [("file", line.file_bytes)].into_iter().chain(used).chain([("log", line.log_bytes)]);
    for (what, number) in sizes {
        writeln!(out, "{what:<9}{:>12}", bytes(number))?;
    }
    if let (Some(snapshots), Some(age)) = (line.views, line.oldest_view_seconds) {
        writeln!(out, "snapshots{snapshots:>12}, the oldest superseded {age:.1} s ago")?;
    }
    for ErasureLine { user, since, .. } in &line.unfinished_erasures {
        writeln!(out, "unfinished erasure of user {user} since {since}; compact the store")?;
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
    Ok(TextTable::new(&COLUMNS).write(out, &rows)?)
}
