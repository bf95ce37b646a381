//! A bulk load into an empty store, in a process of its own: how many rows a second, how much
//! memory at most, how many bytes on disk. Each engine makes the rows from the seed itself and sorts
//! them itself, so both are in its time; the file is synced at the end.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::dataset::{SortedRows, total_rows};
use crate::engines::sqlite::{self, Indexes};
use crate::engines::{convodb, lmdb};
use crate::stores::{self, Format};

/// What a load took.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) engine: String,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    /// The most memory that the process had; for LMDB with the file that it maps.
    pub(crate) peak_bytes: u64,
    pub(crate) store_bytes: u64,
}

impl Load {
    /// Engine, rows a second, peak of memory, bytes a row.
    pub(crate) fn line(&self) -> Vec<String> {
        vec![
            self.engine.clone(),
            format!("{:.0}", self.rows as f64 / self.seconds),
            format!("{}", self.peak_bytes >> 20),
            format!("{}", self.store_bytes / self.rows.max(1)),
        ]
    }
}

/// Loads in a child process, and removes what was loaded.
pub(crate) fn load_in_subprocess(format: Format, rows: u64, directory: &Path) -> Result<Load> {
    let path = directory.join(format!("{}-load", format.name()));
    stores::remove(&path)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["load-one", "--engine", format.name(), "--rows", &rows.to_string(), "--path"])
        .arg(&path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the load of {} failed: {said}", format.name());
    stores::remove(&path)?;
    serde_json::from_slice(&output.stdout).context("a load says what it took")
}

/// Loads here, and gives what it took.
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
        other => bail!("{other} is not loaded for its time"),
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

/// The most memory that this process has had, as Linux tells it.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmHWM")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}
