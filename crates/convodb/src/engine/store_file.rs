//! The file of a store: made so that a power cut leaves either none or a whole one, and opened so
//! that a file that is not ours, or is newer than we are, stays as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase};

use crate::error::{Error, Result};
use crate::io::atomic_file::AtomicFile;
use crate::io::fault::{FaultSignal, FaultState};
use crate::io::redb_backend::{ForceClose, backend};
use crate::io::system::SystemVfs;
use crate::io::vfs::{Access, Vfs};
use crate::tables::meta;

/// Where a store is, and how its file is opened.
#[derive(Clone, Debug)]
pub(crate) struct StoreLocation {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) path: PathBuf,
    pub(crate) cache_bytes: usize,
    /// Whether every page is checked before the file is used.
    pub(crate) check: bool,
}

/// Makes a store at its place where there is no file.
pub(crate) fn make(location: &StoreLocation) -> Result<()> {
    let StoreLocation { vfs, path, .. } = location;
    if vfs.exists(path)? { Ok(()) } else { create(&**vfs, path) }
}

/// Opens the store at its place, with what closes its file whatever becomes of redb. Faults that the
/// file meets from then on raise the alarm. Nothing is known yet of what is in it: whoever calls is
/// prepared for panics of redb.
pub(crate) fn open(
    location: &StoreLocation,
    fault_signal: &Arc<FaultSignal>,
) -> Result<(Database, ForceClose)> {
    let StoreLocation { vfs, path, cache_bytes, check } = location;
    check_untouched(&**vfs, path)?;
    let file = vfs.open(path, Access::Write)?;
    if file.size()? == 0 {
        return Err(Error::NotAStore("it is empty".to_owned()));
    }
    let mut builder = builder(*cache_bytes);
    builder.set_check_integrity_on_open(*check);
    let backend = backend(file, fault_signal.clone())?;
    let force_close = backend.force_close();
    let database = builder.create_with_backend(backend)?;
    // Once more: a file that was not closed cleanly could not be looked into before its repair.
    meta::check_format(&database.begin_read()?)?;
    Ok((database, force_close))
}

/// A store in memory.
pub(crate) fn in_memory(cache_bytes: usize) -> Result<Database> {
    let database = builder(cache_bytes).create_with_backend(InMemoryBackend::new())?;
    initialize(&database, &SystemVfs)?;
    Ok(database)
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

fn initialize(database: &Database, vfs: &dyn Vfs) -> Result<()> {
    let (fingerprints, cursors) = (meta::fresh_secret(vfs)?, meta::fresh_secret(vfs)?);
    let write = database.begin_write()?;
    meta::initialize(&write, fingerprints, cursors)?;
    Ok(write.commit()?)
}

/// An alarm for files that are closed again before anyone else has them.
pub(crate) fn detached() -> Arc<FaultSignal> {
    FaultState::new().fault_signal()
}

/// Makes a whole store beside `path`, and gives it the name in one step. Where another process or
/// thread was faster, its store is the one. What a crash leaves behind may be a second name of the
/// finished store.
fn create(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    let (atomic_file, file) = AtomicFile::beside(vfs, path)?;
    let database = Database::builder().create_with_backend(backend(file, detached())?)?;
    initialize(&database, vfs)?;
    database.close()?;
    match atomic_file.link_new() {
        Err(Error::FileExists(_)) => {}
        named => named?,
    }
    atomic_file.finish()
}

/// Looks into the file without changing it.
fn check_untouched(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    let file = vfs.open(path, Access::Read)?;
    let backend = backend(file, detached())?;
    match Database::builder().open_read_only_with_backend(backend) {
        Ok(database) => {
            let checked = meta::check_format(&database.begin_read()?);
            database.close()?;
            checked.map(drop)
        }
        // It was not closed cleanly and must be repaired before anything can be read.
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
