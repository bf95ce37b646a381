//! Bulk load suite: rows per second, peak memory and bytes on disk of a load into an empty store.
//!
//! Each load runs in its own process. Its time includes generating the rows from the seed, sorting
//! them, and a final sync of the file.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use convodb_bench::sqlite::Indexes;
use serde::{Deserialize, Serialize};

use crate::dataset::{SortedRows, total_rows};
use crate::engines::sqlite;
use crate::engines::{convodb, lmdb};
use crate::stores::{self, Format};

/// The figures of one bulk load.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) engine: String,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    /// Peak resident memory of the process; for LMDB this includes the mapped file.
    pub(crate) peak_bytes: u64,
    pub(crate) store_bytes: u64,
}

impl Load {
    /// Table line: engine, rows per second, peak memory in MiB, bytes per row.
    pub(crate) fn line(&self) -> Vec<String> {
        vec![
            self.engine.clone(),
            format!("{:.0}", self.rows as f64 / self.seconds),
            format!("{}", self.peak_bytes >> 20),
            format!("{}", self.store_bytes / self.rows.max(1)),
        ]
    }
}

/// Runs a load in a subprocess, then removes the store.
pub(crate) fn load_in_subprocess(format: Format, rows: u64, directory: &Path) -> Result<Load> {
    let path = directory.join(format!("{}-load", format.name()));
    stores::remove(&path)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["load-one", "--engine", format.name(), "--rows", &rows.to_string(), "--path"])
        .arg(&path)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bulk load of {} failed: {stderr}", format.name());
    stores::remove(&path)?;
    serde_json::from_slice(&output.stdout).context("invalid output of the bulk load")
}

/// Runs a load in this process and returns its figures.
pub(crate) fn load_in_process(engine: &str, rows: u64, path: &Path) -> Result<Load> {
    let began = Instant::now();
    let mut file = path.to_owned();
    match engine {
        "convodb" => convodb::load(path, rows)?,
        "sqlite-composite" => sqlite::load(path, &SortedRows::collect(rows)?, Indexes::Composite)?,
        "lmdb" => {
            lmdb::load(path, &SortedRows::collect(rows)?)?;
            file.push("data.mdb");
        }
        other => bail!("no bulk load for engine {other}"),
    }
    std::fs::File::open(file)?.sync_all()?;
    Ok(Load {
        engine: engine.to_owned(),
        rows: total_rows(rows),
        seconds: began.elapsed().as_secs_f64(),
        peak_bytes: peak_bytes()?,
        store_bytes: stores::bytes(path)?,
    })
}

/// The peak resident memory of this process, from `/proc/self/status`.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no VmHWM line in /proc/self/status")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}
