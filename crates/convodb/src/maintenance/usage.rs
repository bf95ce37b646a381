//! What a store takes: bytes on disk, entries of each table, and, where one reads all pages for it,
//! bytes of each table.

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::store_file::StoreLocation;
use crate::error::Result;
use crate::io::vfs::Vfs;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::wal;

/// What a store takes, as far as it costs next to nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the file; 0 for a store in memory.
    pub file_bytes: u64,
    /// Bytes of the log beside it: what is written and not yet in the tables.
    pub wal_bytes: u64,
    /// Each table, by its name on disk, and about how many entries it has: those of the tail that
    /// replace stored ones are counted twice.
    pub tables: Vec<(&'static str, u64)>,
}

/// The pages of one table. What only the tail has is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBytes {
    /// The table, by its name on disk.
    pub table: &'static str,
    /// Bytes of keys and values.
    pub content: u64,
    /// Bytes of whole pages.
    pub pages: u64,
}

impl Store {
    /// What the store takes: a question to the file system, and one to each table about its size.
    /// Some microseconds, and a step for each entry of the tail.
    ///
    /// ```
    /// let store = convodb::Store::in_memory()?;
    /// let usage = store.usage()?;
    /// assert!(usage.tables.contains(&("conversations.v1", 0)));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store or of the file system.
    pub fn usage(&self) -> Result<Usage> {
        let tables = self.snapshot().state().tables.clone().counts()?;
        let (file_bytes, wal_bytes) = match self.location() {
            Some(StoreLocation { vfs, path, .. }) => (size(&**vfs, path)?, log_size(&**vfs, path)?),
            None => (0, 0),
        };
        Ok(Usage { file_bytes, wal_bytes, tables })
    }
}

impl Snapshot {
    /// The bytes of each table. Reads every page of the store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn table_bytes(&self) -> Result<Vec<TableBytes>> {
        let extents = self.state().tables.clone().extents()?;
        let bytes = extents.into_iter();
        Ok(bytes
            .map(|(table, extent)| TableBytes {
                table,
                content: extent.content,
                pages: extent.pages,
            })
            .collect())
    }
}

/// The files of the log of the store at `store`.
pub(crate) fn log_files(vfs: &dyn Vfs, store: &Path) -> Result<Vec<PathBuf>> {
    Ok(wal::segments(vfs, store)?.into_iter().map(|(_, segment)| segment).collect())
}

fn log_size(vfs: &dyn Vfs, store: &Path) -> Result<u64> {
    log_files(vfs, store)?.iter().map(|segment| size(vfs, segment)).sum()
}

/// A file that a checkpoint removed meanwhile has no bytes.
fn size(vfs: &dyn Vfs, path: &Path) -> Result<u64> {
    match vfs.size(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        found => Ok(found?),
    }
}
