//! Stores on disk: one file or directory per format and number of rows.
//!
//! A store is loaded once, in the way that is best for its engine, and reused by later runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use convodb_bench::sqlite::Indexes;
use indicatif::ProgressBar;

use crate::dataset::SortedRows;
use crate::engines::sqlite;
use crate::engines::{convodb, lmdb, postgres};

/// The format of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    Convodb,
    SqliteComposite,
    /// A copy of `SqliteComposite`, for a connection with an exclusive lock.
    SqliteExclusive,
    SqliteSingle,
    Lmdb,
    Postgres,
}

impl Format {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Format::Convodb => "convodb",
            Format::SqliteComposite => "sqlite-composite",
            Format::SqliteExclusive => "sqlite-exclusive",
            Format::SqliteSingle => "sqlite-single",
            Format::Lmdb => "lmdb",
            Format::Postgres => "postgres",
        }
    }
}

/// The directory of the stores of one size, and the rows to load them from.
pub(crate) struct Stores {
    directory: PathBuf,
    rows: u64,
    sorted: Option<SortedRows>,
}

impl Stores {
    /// The stores of this many rows below a directory, which is created.
    pub(crate) fn new(directory: &Path, rows: u64) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create the directory {}", directory.display()))?;
        Ok(Self { directory: directory.to_owned(), rows, sorted: None })
    }

    /// The path of a store. Loads the store if it does not exist.
    pub(crate) fn path(&mut self, format: Format, progress: &ProgressBar) -> Result<PathBuf> {
        let name = format!("{}-{}", format.name(), self.rows);
        let path = self.directory.join(&name);
        if path.exists() {
            return Ok(path);
        }
        progress.set_message(format!("loading {name}"));
        let unfinished = self.directory.join(format!("{name}.unfinished"));
        remove(&unfinished)?;
        match format {
            Format::Convodb => convodb::load(&unfinished, self.rows)?,
            Format::SqliteComposite => {
                sqlite::load(&unfinished, self.sorted()?, Indexes::Composite)?;
            }
            Format::SqliteExclusive => {
                let composite = self.path(Format::SqliteComposite, progress)?;
                std::fs::copy(composite, &unfinished)?;
            }
            Format::SqliteSingle => sqlite::load(&unfinished, self.sorted()?, Indexes::Single)?,
            Format::Lmdb => lmdb::load(&unfinished, self.sorted()?)?,
            Format::Postgres => postgres::load(&unfinished, self.sorted()?)?,
        }
        std::fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    /// The rows ordered by user and position, collected on first use.
    pub(crate) fn sorted(&mut self) -> Result<&SortedRows> {
        if self.sorted.is_none() {
            self.sorted = Some(SortedRows::collect(self.rows)?);
        }
        self.sorted.as_ref().context("the rows were not collected")
    }

    /// Frees the collected rows.
    pub(crate) fn release_rows(&mut self) {
        self.sorted = None;
    }
}

/// The size of a file, or of all files below a directory, in bytes.
pub(crate) fn bytes(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}

/// Removes a file or a directory, if it exists.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path)?,
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => bail!("{}: {error}", path.display()),
    }
    Ok(())
}
