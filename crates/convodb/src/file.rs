//! The file of a store: made so that a power cut leaves either none or a whole one, and opened so
//! that a file that is not ours, or is newer than we are, stays as it is.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, DatabaseError, ReadableDatabase};

use crate::error::{Error, Result};
use crate::storage::meta;
use crate::storage::private::create_private;

/// Opens the store at `path`, or makes one where there is no file.
pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Database> {
    if !path.try_exists()? {
        create(path)?;
    }
    caught(|| check_untouched(path))?;
    let database = caught(|| Ok(builder(cache_bytes).open(path)?))?;
    // Once more: a file that was not closed cleanly could not be looked into before its repair.
    meta::check_format(&database.begin_read()?)?;
    Ok(database)
}

/// A store in memory.
pub(crate) fn in_memory(cache_bytes: usize) -> Result<Database> {
    let database = builder(cache_bytes).create_with_backend(InMemoryBackend::new())?;
    initialize(&database)?;
    Ok(database)
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

fn initialize(database: &Database) -> Result<()> {
    let write = database.begin_write()?;
    meta::initialize(&write)?;
    Ok(write.commit()?)
}

/// Makes a whole store beside `path`, syncs it, and gives it the name in one step. Where another
/// process or thread was faster, its store is the one. What a crash leaves behind has a name of its
/// own, which nothing ever opens again: it may be a second name of the finished store.
fn create(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let (unfinished, file) = create_unfinished(directory, path)?;
    let made = (|| {
        let database = Database::builder().create_with_backend(FileBackend::new(file)?)?;
        initialize(&database)?;
        database.close()?;
        File::open(&unfinished)?.sync_all()?;
        match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::Io(error)),
            _ => Ok(()),
        }
    })();
    let removed = fs::remove_file(&unfinished);
    made?;
    removed?;
    sync_directory_of(path)
}

/// The directory that `path` is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file in the directory that `path` is in, with a name that nobody can foresee.
fn create_unfinished(directory: &Path, path: &Path) -> Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let random = data_encoding::HEXLOWER.encode(&meta::fresh_secret()?[..8]);
    let unfinished = directory.join(format!(".{name}.{random}.new"));
    let file = create_private(&unfinished)?;
    Ok((unfinished, file))
}

/// Makes a change of names in the directory of `path` durable.
pub(crate) fn sync_directory_of(path: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(directory_of(path))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Looks into the file without changing it.
fn check_untouched(path: &Path) -> Result<()> {
    match Database::builder().open_read_only(path) {
        Ok(database) => {
            let checked = meta::check_format(&database.begin_read()?);
            database.close()?;
            checked
        }
        // It was not closed cleanly and must be repaired before anything can be read.
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads every page that the last commit of a closed store has, and checks it against its checksum,
/// which reading does not. A file of another format stays untouched.
pub(crate) fn check_pages(path: &Path) -> Result<()> {
    caught(|| {
        check_untouched(path)?;
        let database = Database::builder().set_check_integrity_on_open(true).open(path)?;
        Ok(database.close()?)
    })
}

/// What `open` gives; a panic over damaged pages, which redb may end in, as an error.
fn caught<T>(open: impl FnOnce() -> Result<T>) -> Result<T> {
    let what = "opening the file ended in a panic";
    catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(Error::Corrupted { table: "redb", what }))
}
