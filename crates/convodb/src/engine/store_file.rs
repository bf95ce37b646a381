//! The database file: created atomically, opened only if it is a store.
//!
//! A file that is not a store, or has a newer format, is not touched.

use std::path::PathBuf;
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase};

use crate::error::{Error, Result, from_redb};
use crate::io::atomic_file::AtomicFile;
use crate::io::fault::FaultSignal;
use crate::io::redb_backend::{ForceClose, MonitoredBackend};
use crate::io::vfs::{Access, Vfs};
use crate::tables::meta;

/// Where a store is, and how its file is opened.
#[derive(Clone, Debug)]
pub(crate) struct StoreLocation {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) path: PathBuf,
    pub(crate) cache_bytes: usize,
    /// Whether opening checks every page.
    pub(crate) check: bool,
}

/// Creates a store unless the file exists.
pub(crate) fn create_if_missing(location: &StoreLocation) -> Result<()> {
    if location.vfs.exists(&location.path)? { Ok(()) } else { create(location) }
}

/// Opens the store's file. Later I/O errors are reported to `fault_signal`. The contents are
/// unchecked, so the caller has to catch panics of redb.
///
/// # Errors
/// [`Error::NotAStore`] and [`Error::NewerFormat`], which leave the file untouched unless it was
/// not closed cleanly and needed a repair to be read; [`Error::InUse`]; or an I/O error.
pub(crate) fn open(
    location: &StoreLocation,
    fault_signal: &Arc<FaultSignal>,
) -> Result<(Database, ForceClose)> {
    let StoreLocation { vfs, path, cache_bytes, check } = location;
    let in_use = |error| match error {
        Error::InUse { this_process, .. } => Error::InUse { path: path.clone(), this_process },
        error => error,
    };
    check_format_read_only(&**vfs, location).map_err(in_use)?;
    let file = vfs.open(path, Access::Write)?;
    let mut builder = builder(*cache_bytes);
    builder.set_check_integrity_on_open(*check);
    let backend = MonitoredBackend::new(file, fault_signal.clone()).map_err(in_use)?;
    let force_close = backend.force_close();
    let database = builder.create_with_backend(backend).map_err(from_redb).map_err(in_use)?;
    // A file that was not closed cleanly could not be read before its repair: check it now.
    meta::check_format(&database.begin_read().map_err(from_redb)?)?;
    Ok((database, force_close))
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

/// Creates all tables of an empty database, with fresh secrets.
pub(crate) fn initialize(database: &Database, vfs: &dyn Vfs) -> Result<()> {
    let (fingerprints, cursors) = (meta::fresh_secret(vfs)?, meta::fresh_secret(vfs)?);
    let write = database.begin_write().map_err(from_redb)?;
    meta::initialize(&write, fingerprints, cursors)?;
    write.commit().map_err(from_redb)
}

/// Creates a complete store beside the path and links it to its name in one step. If another
/// process or thread was faster, its store wins. A crash can leave a second name of the finished
/// store.
fn create(location: &StoreLocation) -> Result<()> {
    let StoreLocation { vfs, path, .. } = location;
    let (atomic_file, file) = AtomicFile::beside(&**vfs, path)?;
    let backend = MonitoredBackend::new(file, FaultSignal::detached())?;
    let database = Database::builder().create_with_backend(backend).map_err(from_redb)?;
    initialize(&database, &**vfs)?;
    database.close().map_err(from_redb)?;
    match atomic_file.link_new() {
        Err(Error::FileExists(_)) => {}
        linked => linked?,
    }
    atomic_file.finish()
}

/// Checks that the file is a store of a supported format, without writing to it.
fn check_format_read_only(vfs: &dyn Vfs, location: &StoreLocation) -> Result<()> {
    let file = vfs.open(&location.path, Access::Read)?;
    if file.size()? == 0 {
        return Err(Error::NotAStore("the file is empty".to_owned()));
    }
    let backend = MonitoredBackend::new(file, FaultSignal::detached())?;
    match Database::builder().open_read_only_with_backend(backend) {
        Ok(database) => {
            let checked = meta::check_format(&database.begin_read().map_err(from_redb)?);
            database.close().map_err(from_redb)?;
            checked.map(drop)
        }
        // The file was not closed cleanly and needs a repair before it can be read.
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(from_redb(error)),
    }
}

/// An empty database in memory, without WAL or writer, for tests of single layers.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn in_memory(cache_bytes: usize) -> Result<Database> {
    let backend = redb::backends::InMemoryBackend::new();
    let database = builder(cache_bytes).create_with_backend(backend).map_err(from_redb)?;
    initialize(&database, &crate::io::system::SystemVfs)?;
    Ok(database)
}
