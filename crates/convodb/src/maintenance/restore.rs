//! Restoring a backup: its checksum, a copy of it, an audit of the copy; only then the copy gets
//! its name. The backup itself is never opened as a store, so it stays byte for byte what it was.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::atomic_file::AtomicFile;
use crate::io::system::SystemVfs;
use crate::io::vfs::{Access, Vfs};
use crate::maintenance::backup::{read_checksum, read_hashed};
use crate::maintenance::usage::log_files;
use crate::options::StoreOptions;
use crate::store::Store;
use crate::verify::report::VerifyReport;

/// Whether a backup must be what its checksum says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// It must, and the checksum must be beside it.
    #[default]
    Required,
    /// It is not looked at: for a backup whose checksum was lost.
    Ignored,
}

/// Makes a store at `target` of the backup at `backup`, and tells what its audit found. Where the
/// audit is not clean, there is no store at `target`. `progress` is told how many of how many
/// entries are audited.
///
/// Copies the file, and reads all of it three times: some 15 seconds for a million rows.
///
/// ```
/// use convodb::{ChecksumPolicy, Store, restore};
/// # let directory = tempfile::tempdir()?;
/// # let (backup, target) = (directory.path().join("backup"), directory.path().join("store"));
/// let store = Store::in_memory()?;
/// store.snapshot().backup(&backup, |_, _| {})?;
/// let audit = restore(&backup, &target, ChecksumPolicy::Required, |_, _| {})?;
/// assert!(audit.is_clean());
/// Store::open(&target)?.close()?;
/// # Ok::<(), convodb::Error>(())
/// ```
///
/// # Errors
/// [`Error::FileExists`] where there is a file at `target`, or the log of a store that was there;
/// [`Error::Corrupted`] where the backup is not what its checksum says; what opening a store fails
/// with; or a fault of the disk, after which there is no store at `target`, or a whole one.
pub fn restore(
    backup: impl AsRef<Path>,
    target: impl AsRef<Path>,
    checksum: ChecksumPolicy,
    progress: impl FnMut(u64, u64),
) -> Result<VerifyReport> {
    let vfs: Arc<dyn Vfs> = Arc::new(SystemVfs);
    restore_on(&vfs, backup, target, checksum, progress)
}

/// As [`restore`], on `disk`.
///
/// # Errors
/// As there.
pub fn restore_on(
    vfs: &Arc<dyn Vfs>,
    backup: impl AsRef<Path>,
    target: impl AsRef<Path>,
    checksum: ChecksumPolicy,
    progress: impl FnMut(u64, u64),
) -> Result<VerifyReport> {
    let (backup, target) = (backup.as_ref(), target.as_ref());
    check_free(&**vfs, target)?;
    let expected = match checksum {
        ChecksumPolicy::Required => Some(read_checksum(&**vfs, backup)?),
        ChecksumPolicy::Ignored => None,
    };
    let (atomic_file, copy) = AtomicFile::beside(&**vfs, target)?;
    let source = vfs.open(backup, Access::Read)?;
    let found = read_hashed(&*source, |at, piece| copy.write_all_at(at, piece))?;
    drop((source, copy));
    if expected.is_some_and(|expected| expected != found) {
        let what = "it is not what its checksum says";
        return Err(Error::Corrupted { table: "backup", what });
    }
    let store = Store::open_on(vfs.clone(), atomic_file.path(), &StoreOptions::default())?;
    let audit = store.snapshot().verify(progress)?;
    store.close()?;
    if audit.is_clean() {
        check_free(&**vfs, target)?;
        atomic_file.link_new()?;
        atomic_file.finish()?;
    }
    Ok(audit)
}

/// A log that is left of another store would be read as the restored one's: the secret that tells
/// logs apart is the same.
fn check_free(vfs: &dyn Vfs, target: &Path) -> Result<()> {
    if vfs.exists(target)? {
        return Err(Error::FileExists(target.to_owned()));
    }
    match log_files(vfs, target)?.pop() {
        Some(segment) => Err(Error::FileExists(segment)),
        None => Ok(()),
    }
}
