//! The database file: created atomically, opened only if it is a store.
//!
//! A file that is not a store, or has a newer format, is not touched.

use std::path::PathBuf;
use std::sync::Arc;

use redb::{Builder, Database, ReadTransaction, ReadableDatabase};

use crate::engine::new_name;
use crate::error::{Error, Result, from_redb};
use crate::io::atomic_file::AtomicFile;
use crate::io::fault::FaultSignal;
use crate::io::file_guard::FileGuard;
use crate::io::overlay::OverlayFile;
use crate::io::redb_backend::{ForceClose, MonitoredBackend};
use crate::io::vfs::{Access, Vfs, VfsFile};
use crate::kv::catch_panic::catch_redb_panic;
use crate::model::index_family::IndexFamilies;
use crate::tables::epochs::Epochs;
use crate::tables::meta::StoredSecrets;
use crate::tables::{families, meta};
use crate::wal;
use crate::wal::reader::WalFiles;

/// The first format whose WAL is bound to its tables.
const FIRST_CHAINED_FORMAT: u32 = 3;
/// The page cache of a check before opening, in bytes.
const CHECK_CACHE_BYTES: usize = 1 << 20;

/// Where a store is, and how its file is opened.
#[derive(Clone, Debug)]
pub(crate) struct StoreLocation {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) path: PathBuf,
    pub(crate) cache_bytes: usize,
    /// Whether opening checks every page.
    pub(crate) check: bool,
    /// Whether the store opens without its WAL, and gives up what only that contains.
    pub(crate) without_wal: bool,
    /// The optional indexes of a store that is created.
    pub(crate) indexes: IndexFamilies,
}

/// An open file of a store.
pub(crate) struct StoreFile {
    pub(crate) database: Database,
    pub(crate) force_close: ForceClose,
    pub(crate) guard: Arc<FileGuard>,
}

/// Creates a store unless the file exists.
///
/// # Errors
/// [`Error::WalMismatch`] if there is a WAL of a store that is missing; or an I/O error.
pub(crate) fn create_if_missing(location: &StoreLocation) -> Result<()> {
    let StoreLocation { vfs, path, without_wal, .. } = location;
    if vfs.exists(path)? {
        return Ok(());
    }
    for (_, segment) in wal::segments(&**vfs, path)? {
        if !*without_wal {
            let what = "exists, but the store itself is missing";
            return Err(Error::WalMismatch { path: path.clone(), what });
        }
        vfs.remove(&segment)?;
    }
    create(location)
}

/// Opens the store's file. Later I/O errors are reported to `fault_signal`. The contents are
/// unchecked, so the caller has to catch panics of redb.
///
/// # Errors
/// [`Error::NotAStore`], [`Error::NewerFormat`], [`Error::UnknownIndex`] and [`Error::WalMismatch`],
/// which leave the file untouched; [`Error::InUse`]; or an I/O error.
pub(crate) fn open(location: &StoreLocation, fault_signal: &Arc<FaultSignal>) -> Result<StoreFile> {
    let in_use = |error| match error {
        Error::InUse { this_process, .. } => {
            Error::InUse { path: location.path.clone(), this_process }
        }
        error => error,
    };
    check_unchanged(location).map_err(in_use)?;
    let opened = open_once(location, fault_signal).map_err(in_use)?;
    if opened.guard.check_name().is_ok() {
        return Ok(opened);
    }
    // A compaction replaced the file after it was opened and before it was locked.
    drop(opened);
    let opened = open_once(location, fault_signal).map_err(in_use)?;
    opened.guard.check_name().map(|()| opened).map_err(Error::from)
}

fn open_once(location: &StoreLocation, fault_signal: &Arc<FaultSignal>) -> Result<StoreFile> {
    let StoreLocation { vfs, path, cache_bytes, .. } = location;
    let file = vfs.open(path, Access::Write)?;
    let id = file.id()?;
    let backend = MonitoredBackend::new(file, fault_signal.clone())?;
    let (force_close, size) = (backend.force_close(), backend.known_size().clone());
    let guard = FileGuard::new(vfs.clone(), path.clone(), id, size, fault_signal.clone());
    let database = builder(*cache_bytes).create_with_backend(backend).map_err(from_redb)?;
    Ok(StoreFile { database, force_close, guard: Arc::new(guard) })
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

/// Creates all tables of an empty database, with fresh secrets and these optional indexes.
pub(crate) fn initialize(database: &Database, vfs: &dyn Vfs, indexes: IndexFamilies) -> Result<()> {
    let (fingerprints, cursors) = (meta::fresh_secret(vfs)?, vec![meta::fresh_secret(vfs)?]);
    let epochs = Epochs::new(meta::fresh_number(vfs)?);
    let write = database.begin_write().map_err(from_redb)?;
    meta::initialize(&write, &StoredSecrets { fingerprints, cursors }, &epochs, 0)?;
    families::put_ready(&write, indexes)?;
    write.commit().map_err(from_redb)
}

/// Creates an empty store in an empty file that continues another one: with its secrets and its
/// history, whose last commit is `seqno`.
pub(crate) fn create_continued(
    file: Box<dyn VfsFile>,
    secrets: &StoredSecrets,
    epochs: &Epochs,
    seqno: u64,
) -> Result<()> {
    let backend = MonitoredBackend::new(file, FaultSignal::detached())?;
    let database = Database::builder().create_with_backend(backend).map_err(from_redb)?;
    let write = database.begin_write().map_err(from_redb)?;
    meta::initialize(&write, secrets, epochs, seqno)?;
    write.commit().map_err(from_redb)?;
    database.close().map_err(from_redb)
}

/// Creates a complete store beside the path and links it to its name in one step. If another
/// process or thread was faster, its store wins. A crash can leave a second name of the finished
/// store.
fn create(location: &StoreLocation) -> Result<()> {
    let StoreLocation { vfs, path, .. } = location;
    new_name::check(path)?;
    let (atomic_file, file) = AtomicFile::beside(&**vfs, path)?;
    let backend = MonitoredBackend::new(file, FaultSignal::detached())?;
    let database = Database::builder().create_with_backend(backend).map_err(from_redb)?;
    initialize(&database, &**vfs, location.indexes)?;
    database.close().map_err(from_redb)?;
    match atomic_file.link_new() {
        Err(Error::FileExists(_)) => {}
        linked => linked?,
    }
    atomic_file.finish()
}

/// Checks that the file is a store of a supported format with the WAL that it needs, with every page
/// if the location says so, and changes nothing: a file that was not closed cleanly is repaired in memory.
fn check_unchanged(location: &StoreLocation) -> Result<()> {
    let StoreLocation { vfs, path, cache_bytes, check, without_wal, .. } = location;
    // It is not written, but only a writable file can be locked exclusively.
    let file = vfs.open(path, Access::Write)?;
    if file.size()? == 0 {
        return Err(Error::NotAStore("the file is empty".to_owned()));
    }
    let backend = MonitoredBackend::with_overlay(file, OverlayFile::open(&**vfs, path)?)?;
    let force_close = backend.force_close();
    let checked = catch_redb_panic(|| {
        let mut builder = builder(if *check { *cache_bytes } else { CHECK_CACHE_BYTES });
        // Before anything else is read of the file.
        builder.set_check_integrity_on_open(*check);
        let database = builder.create_with_backend(backend).map_err(from_redb)?;
        read_before_drop(&database, |read| {
            if meta::check_format(read)? >= FIRST_CHAINED_FORMAT && !without_wal {
                let seed = meta::secrets(read)?.wal_seed();
                WalFiles { vfs: &**vfs, store: path, seed }.check(meta::wal_position(read)?)?;
            }
            families::check_known(read)
        })
    });
    force_close.close();
    checked
}

/// Reads a database that the caller is about to drop or to hand on. A panic of redb over a damaged
/// page ends here: dropping a database while a panic unwinds can make redb panic again, which would
/// end the process.
pub(crate) fn read_before_drop<T>(
    database: &Database,
    read: impl FnOnce(&ReadTransaction) -> Result<T>,
) -> Result<T> {
    catch_redb_panic(|| read(&database.begin_read().map_err(from_redb)?))
}

/// An empty database in memory with all optional indexes, without WAL or writer, for tests of single
/// layers.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn in_memory(cache_bytes: usize) -> Result<Database> {
    let backend = redb::backends::InMemoryBackend::new();
    let database = builder(cache_bytes).create_with_backend(backend).map_err(from_redb)?;
    initialize(&database, &crate::io::system::SystemVfs, IndexFamilies::ALL)?;
    Ok(database)
}
