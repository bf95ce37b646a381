//! Names of new stores and backups: free, and never taken for a part of another store.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::atomic_file;
use crate::io::vfs::Vfs;
use crate::wal;

/// Checks that a file of this name is not taken for a part of another store: a WAL segment, which
/// the next opening of that store would replay, or a temporary file, which it would remove.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if wal::is_segment_name(&name) || atomic_file::target_of(&name).is_some() {
        return Err(Error::Invalid {
            field: "file name",
            reason: "must not be that of a write-ahead log (-log.NUMBER at its end) or of a \
                     temporary file (.NAME.RANDOM.new)",
        });
    }
    Ok(())
}

/// Checks that a complete store may get this path: [`check`], there is no file, and no WAL that the
/// store would replay as its own.
///
/// # Errors
/// [`Error::Invalid`], [`Error::FileExists`], or an I/O error.
pub(crate) fn check_free(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    check(path)?;
    if vfs.exists(path)? {
        return Err(Error::FileExists(path.to_owned()));
    }
    match wal_files(vfs, path)?.pop() {
        Some(segment) => Err(Error::FileExists(segment)),
        None => Ok(()),
    }
}

/// The segments of the WAL of the store at `store`.
pub(crate) fn wal_files(vfs: &dyn Vfs, store: &Path) -> Result<Vec<PathBuf>> {
    Ok(wal::segments(vfs, store)?.into_iter().map(|(_, segment)| segment).collect())
}
