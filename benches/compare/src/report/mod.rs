//! Report: turns result files into tables in the marked blocks of `benchmarks.md` and into charts,
//! each in a light and a dark theme.

mod charts;
mod tables;

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use convodb_bench::document_block;

use crate::results::PagesResult;
use crate::suites::counts::CountsResult;
use crate::suites::open::OpenResult;
use crate::suites::readers::ReadersResult;
use crate::suites::writes::WritesResult;

/// The results of all files of a directory. Of several files of a suite, the one with the biggest
/// store is shown.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) pages: Option<PagesResult>,
    pub(crate) scale: Option<PagesResult>,
    pub(crate) writes: Option<WritesResult>,
    pub(crate) open: Option<OpenResult>,
    pub(crate) counts: Option<CountsResult>,
    pub(crate) readers: Option<ReadersResult>,
}

impl Results {
    fn read(directory: &Path) -> Result<Self> {
        let mut results = Self::default();
        let entries = fs::read_dir(directory).with_context(|| {
            format!("cannot read the results directory {}", directory.display())
        })?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                results
                    .add(&fs::read_to_string(&path)?)
                    .with_context(|| format!("invalid result file {}", path.display()))?;
            }
        }
        Ok(results)
    }

    fn add(&mut self, json: &str) -> Result<()> {
        let any: serde_json::Value = serde_json::from_str(json)?;
        match any.get("suite").and_then(serde_json::Value::as_str) {
            Some("pages") => {
                let found: PagesResult = serde_json::from_value(any)?;
                if self.pages.as_ref().is_none_or(|pages| pages.rows < found.rows) {
                    self.pages = Some(found);
                }
            }
            Some("scale") => self.scale = Some(serde_json::from_value(any)?),
            Some("writes") => {
                let found: WritesResult = serde_json::from_value(any)?;
                if self.writes.as_ref().is_none_or(|writes| writes.rows < found.rows) {
                    self.writes = Some(found);
                }
            }
            Some("counts") => {
                let found: CountsResult = serde_json::from_value(any)?;
                if self.counts.as_ref().is_none_or(|counts| counts.rows < found.rows) {
                    self.counts = Some(found);
                }
            }
            Some("readers") => {
                let found: ReadersResult = serde_json::from_value(any)?;
                if self.readers.as_ref().is_none_or(|readers| readers.rows < found.rows) {
                    self.readers = Some(found);
                }
            }
            Some("open") => self.open = Some(serde_json::from_value(any)?),
            other => anyhow::bail!("unknown suite {other:?}"),
        }
        Ok(())
    }
}

/// Reads all results and writes tables and charts into the directory `out`.
pub(crate) fn run(directory: &Path, out: &Path) -> Result<()> {
    let results = Results::read(directory)?;
    let mut stdout = std::io::stdout().lock();
    let path = out.join("benchmarks.md");
    let mut text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read the document {}", path.display()))?;
    for (name, block) in tables::all(&results) {
        text = document_block::replace(&text, name, &block)?;
        writeln!(stdout, "{}: block {name}", path.display())?;
    }
    fs::write(&path, text)?;
    let charts = out.join("charts");
    fs::create_dir_all(&charts)?;
    for (name, svg) in charts::all(&results) {
        let path = charts.join(name);
        fs::write(&path, svg)?;
        writeln!(stdout, "{}", path.display())?;
    }
    Ok(())
}
