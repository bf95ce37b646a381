//! Compaction: rewrites the live data in key order into a new file that atomically replaces the old
//! one.
//!
//! No byte of deleted data remains, and leaves are full. redb's own compaction moves pages to the
//! front of the file instead; it needs less disk, but leaves pages half full and the bytes of freed
//! pages in place (see `docs/design.md`).

use std::path::Path;

use crate::error::Result;
use crate::io::atomic_file::{AtomicFile, remove_leftovers};
use crate::maintenance::backup::copy;
use crate::maintenance::options::MaintenanceOptions;
use crate::options::StoreOptions;
use crate::store::Store;

/// The result of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CompactReport {
    /// Size of the store's files before, WAL included, in bytes.
    pub bytes_before: u64,
    /// Size of the store's file after, in bytes.
    pub bytes_after: u64,
}

/// Compacts the store at `path`, which must not be open. Finishes builds and drops of indexes
/// ([`Store::add_indexes`]) and erasures that were interrupted
/// ([`Snapshot::unfinished_erasures`](crate::Snapshot::unfinished_erasures)): deletes what they have
/// not deleted yet, and no byte of it remains.
///
/// Requires disk space for a second, compact file. A crash leaves the store uncompacted or
/// compacted, and at most a temporary file beside it, which the next compaction removes. Everything
/// is verified as for a backup; a damaged store is left as it is. About ten seconds for a million
/// rows.
///
/// ```
/// # use convodb::{Store, compact};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("store.convodb");
/// Store::open(&path)?.close()?;
/// let report = compact(&path)?;
/// assert!(report.bytes_after <= report.bytes_before);
/// # Ok::<(), convodb::Error>(())
/// ```
///
/// # Errors
/// As [`Store::open`]; [`Error::Corrupted`](crate::Error::Corrupted) if the store is damaged; or an I/O error, after which
/// the store is uncompacted or compacted.
pub fn compact(path: impl AsRef<Path>) -> Result<CompactReport> {
    compact_with(path, MaintenanceOptions::new())
}

/// [`compact`] with options.
///
/// # Errors
/// As [`compact`].
pub fn compact_with(
    path: impl AsRef<Path>,
    mut options: MaintenanceOptions<'_>,
) -> Result<CompactReport> {
    let vfs = options.file_system();
    let store = Store::open_with(path, &StoreOptions::new().vfs(vfs.clone()))?;
    let usage = store.usage()?;
    store.continue_erasures()?;
    store.continue_indexes()?;
    store.flush()?;
    let file = &store.location().path;
    // If `path` is a link, it stays one.
    remove_leftovers(&*vfs, file)?;
    let snapshot = store.snapshot();
    let (atomic_file, target) = AtomicFile::beside(&*vfs, file)?;
    copy(snapshot.state(), target, &mut options)?;
    drop(snapshot);
    let bytes_after = vfs.size(atomic_file.path())?;
    // The old file stays locked until the new one has its name, so that nobody opens it in between.
    atomic_file.replace()?;
    // Closing removes the WAL, which may contain deleted data. The new file needs none.
    store.close_completely()?;
    Ok(CompactReport { bytes_before: usage.file_bytes + usage.wal_bytes, bytes_after })
}
