//! Disk usage: bytes of the files, entries of each table, bytes of each table.
//!
//! The bytes of the tables cost a read of all pages.

use std::io;
use std::path::Path;

use crate::engine::new_name::wal_files;
use crate::engine::store_file::StoreLocation;
use crate::error::Result;
use crate::io::vfs::Vfs;
use crate::maintenance::erase::UnfinishedErasure;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// The disk usage of a store, as far as it is known without reading pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Usage {
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Size of the WAL beside it in bytes: writes that the tables lack.
    pub wal_bytes: u64,
    /// Each table, by its name on disk, with its approximate number of entries: memtable entries
    /// that replace stored ones count twice.
    pub tables: Vec<(&'static str, u64)>,
    /// Erasures that are not finished: erased bytes are still in the file.
    pub unfinished_erasures: Vec<UnfinishedErasure>,
}

/// The pages of one table, without what is only in its memtable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TableBytes {
    /// The table, by its name on disk.
    pub table: &'static str,
    /// Bytes of keys and values.
    pub content: u64,
    /// Bytes of whole pages.
    pub pages: u64,
}

impl Store {
    /// The disk usage of the store: a query to the file system and one to each table. Some
    /// microseconds, and a step for each entry of the memtables.
    ///
    /// ```
    /// let store = convodb::Store::in_memory()?;
    /// let usage = store.usage()?;
    /// assert!(usage.tables.contains(&("conversations.v1", 0)));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store or an error of the file system.
    pub fn usage(&self) -> Result<Usage> {
        let snapshot = self.snapshot();
        let tables = snapshot.state().tables.counts()?;
        let StoreLocation { vfs, path, .. } = self.location();
        let wal_files = wal_files(&**vfs, path)?;
        let wal_bytes = wal_files.iter().map(|segment| size(&**vfs, segment)).sum::<Result<_>>()?;
        let unfinished_erasures = snapshot.unfinished_erasures()?;
        Ok(Usage { file_bytes: size(&**vfs, path)?, wal_bytes, tables, unfinished_erasures })
    }
}

impl Snapshot {
    /// The bytes of each table. Reads every page of the store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn table_bytes(&self) -> Result<Vec<TableBytes>> {
        let extents = self.state().tables.extents()?.into_iter();
        let bytes = extents.map(|(table, extent)| TableBytes {
            table,
            content: extent.content,
            pages: extent.pages,
        });
        Ok(bytes.collect())
    }
}

/// The size of a file; 0 if a checkpoint has removed it in between.
fn size(vfs: &dyn Vfs, path: &Path) -> Result<u64> {
    match vfs.size(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        size => Ok(size?),
    }
}
