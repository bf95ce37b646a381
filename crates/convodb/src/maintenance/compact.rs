//! CompactReport: what is in use is written anew, in key order, into a file that then takes the old
//! one's place in one step. So no byte of what was deleted is left in it, and leaves are full.
//!
//! redb can also move pages to the front of the file itself. That needs less disk, but leaves
//! pages half full, and the bytes of freed ones in place: see `docs/design.md`.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::atomic_file::{AtomicFile, remove_leftovers};
use crate::io::system::SystemVfs;
use crate::io::vfs::Vfs;
use crate::maintenance::backup::copy;
use crate::maintenance::usage::log_files;
use crate::options::StoreOptions;
use crate::store::Store;

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the store's files before: tables and log.
    pub bytes_before: u64,
    /// Bytes of the store's file after.
    pub bytes_after: u64,
}

/// Compacts the store at `path`, which nobody else may have open. `progress` is told how many of
/// about how many entries are written.
///
/// Needs room for a second, compact file. A crash leaves the store as it was or compact, and at most
/// a file beside it, which the next compaction removes. Everything is checked as for a backup; a
/// damaged store is left as it is. Some ten seconds for a million rows.
///
/// ```
/// # use convodb::{Store, compact};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("store.convodb");
/// Store::open(&path)?.close()?;
/// let done = compact(&path, |_, _| {})?;
/// assert!(done.bytes_after <= done.bytes_before);
/// # Ok::<(), convodb::Error>(())
/// ```
///
/// # Errors
/// As of [`Store::open`], [`Error::Corrupted`](crate::Error::Corrupted) where the store is damaged,
/// or a fault of the disk, after which the store is as it was, or compact.
pub fn compact(path: impl AsRef<Path>, progress: impl FnMut(u64, u64)) -> Result<CompactReport> {
    let vfs: Arc<dyn Vfs> = Arc::new(SystemVfs);
    compact_on(&vfs, path, progress)
}

/// As [`compact`], on `disk`.
///
/// # Errors
/// As there.
pub fn compact_on(
    vfs: &Arc<dyn Vfs>,
    path: impl AsRef<Path>,
    progress: impl FnMut(u64, u64),
) -> Result<CompactReport> {
    let options = StoreOptions { row_cache_bytes: 0, ..Default::default() };
    let store = Store::open_on(vfs.clone(), path, &options)?;
    let usage = store.usage()?;
    // What is in the log goes into the tables, and the log goes.
    store.flush()?;
    let file = &store.location().ok_or(Error::Closed)?.path;
    if !log_files(&**vfs, file)?.is_empty() {
        let still = "the log is still there, and in it what was deleted; compact once more";
        return Err(Error::Storage(still.to_owned()));
    }
    // Where `path` is a link, it stays one.
    remove_leftovers(&**vfs, file)?;
    let snapshot = store.snapshot();
    let (atomic_file, made) = AtomicFile::beside(&**vfs, file)?;
    copy(snapshot.state(), made, progress)?;
    drop(snapshot);
    let bytes_after = vfs.size(atomic_file.path())?;
    // The old file is held until the new one has its name, so that nobody opens it in between.
    atomic_file.replace()?;
    store.close()?;
    Ok(CompactReport { bytes_before: usage.file_bytes + usage.wal_bytes, bytes_after })
}
