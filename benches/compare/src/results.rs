//! Results: the JSON files of the page suites, and Markdown tables.
//!
//! The number of processors is all that a file says about the machine.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

/// The result file of a page suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PagesResult {
    /// `pages` or `scale`.
    pub(crate) suite: String,
    pub(crate) seed: u64,
    /// The sizes of the stores, without the adversary's rows.
    pub(crate) rows: Vec<u64>,
    pub(crate) processors: usize,
    pub(crate) engines: Vec<EngineStore>,
    pub(crate) measurements: Vec<Measurement>,
}

/// An engine and its store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EngineStore {
    pub(crate) engine: String,
    pub(crate) version: String,
    pub(crate) rows: u64,
    pub(crate) store_bytes: u64,
}

/// The latency of one kind of page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) engine: String,
    /// The size of the store.
    pub(crate) rows: u64,
    pub(crate) list: String,
    #[serde(rename = "owner")]
    pub(crate) user: String,
    pub(crate) depth: String,
    pub(crate) page_size: usize,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// The number of timed pages.
    pub(crate) pages: u64,
    pub(crate) rows_in_list: usize,
}

/// Writes a JSON file and creates its directory.
pub(crate) fn write(path: &Path, result: &impl Serialize) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut json = serde_json::to_string_pretty(result)?;
    json.push('\n');
    fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

/// Nanoseconds as microseconds with three significant digits.
pub(crate) fn micros(nanos: u64) -> String {
    let micros = nanos as f64 / 1000.0;
    match micros {
        ..10.0 => format!("{micros:.2}"),
        ..100.0 => format!("{micros:.1}"),
        _ => format!("{micros:.0}"),
    }
}

/// A Markdown table; all columns but the first are right-aligned.
pub(crate) fn table(head: &[String], lines: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(head);
    for line in lines {
        table.add_row(line);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Prints a table.
pub(crate) fn print(head: &[&str], lines: &[Vec<String>]) -> Result<()> {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    Ok(writeln!(std::io::stdout().lock(), "{}\n", table(&head, lines))?)
}

impl PagesResult {
    /// A table of the medians of each kind of page by engine, with the ratio to the first engine.
    pub(crate) fn ratios(&self) -> String {
        let mut columns: Vec<(&str, u64)> = Vec::new();
        for found in &self.measurements {
            let column = (found.engine.as_str(), found.rows);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let many_sizes = self.rows.len() > 1;
        let head =
            std::iter::once("page".to_owned()).chain(columns.iter().map(|(engine, rows)| {
                if many_sizes { format!("{engine} {rows}") } else { (*engine).to_owned() }
            }));
        let head: Vec<String> = head.collect();
        let kind = |m: &Measurement| (m.user.clone(), m.list.clone(), m.depth.clone(), m.page_size);
        let mut lines = Vec::new();
        for page in self.measurements.chunk_by(|a, b| kind(a) == kind(b)) {
            let Some(first) = page.first() else { continue };
            let name = format!("{} {} {} {}", first.user, first.list, first.depth, first.page_size);
            let mut line = vec![name];
            for (engine, rows) in &columns {
                let found = page.iter().find(|m| m.engine == *engine && m.rows == *rows);
                let mut cell = String::new();
                if let Some(found) = found {
                    let ratio = found.p50_ns as f64 / first.p50_ns.max(1) as f64;
                    let _ = write!(cell, "{} ({ratio:.2})", micros(found.p50_ns));
                }
                line.push(cell);
            }
            lines.push(line);
        }
        table(&head, &lines)
    }
}
