//! Restoring a backup: its checksum, a copy of it, an audit of the copy; only then the copy gets
//! its name. The backup itself is never opened as a store, so it stays byte for byte what it was.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::backup::read_checksum;
use crate::error::{Error, Result};
use crate::storage::audit::Audit;
use crate::store::Store;
use crate::unfinished::Unfinished;
use crate::usage::log_files;

const BUFFER_BYTES: usize = 1 << 20;

/// Whether a backup must be what its checksum says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
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
/// use convodb::{Checksum, Store, restore};
/// # let directory = tempfile::tempdir()?;
/// # let (backup, target) = (directory.path().join("backup"), directory.path().join("store"));
/// let store = Store::in_memory()?;
/// store.snapshot().backup(&backup, |_, _| {})?;
/// let audit = restore(&backup, &target, Checksum::Required, |_, _| {})?;
/// assert!(audit.is_clean());
/// Store::open(&target)?.close()?;
/// # Ok::<(), convodb::Error>(())
/// ```
///
/// # Errors
/// [`Error::FileExists`] where there is a file at `target`, or the log of a store that was there;
/// [`Error::Corrupted`] where the backup is not what its checksum says; what opening a store fails
/// with; or a fault of the disk.
pub fn restore(
    backup: impl AsRef<Path>,
    target: impl AsRef<Path>,
    checksum: Checksum,
    progress: impl FnMut(u64, u64),
) -> Result<Audit> {
    let (backup, target) = (backup.as_ref(), target.as_ref());
    check_free(target)?;
    let expected = match checksum {
        Checksum::Required => Some(read_checksum(backup)?),
        Checksum::Ignored => None,
    };
    let (unfinished, mut copy) = Unfinished::beside(target)?;
    let found = copy_hashed(&mut File::open(backup)?, &mut copy)?;
    drop(copy);
    if expected.is_some_and(|expected| expected != found) {
        let what = "it is not what its checksum says";
        return Err(Error::Corrupted { table: "backup", what });
    }
    let store = Store::open(unfinished.path())?;
    let audit = store.snapshot().verify(progress)?;
    store.close()?;
    if audit.is_clean() {
        check_free(target)?;
        unfinished.finish()?;
    }
    Ok(audit)
}

/// A log that is left of another store would be read as the restored one's: the secret that tells
/// logs apart is the same.
fn check_free(target: &Path) -> Result<()> {
    if target.try_exists()? {
        return Err(Error::FileExists(target.to_owned()));
    }
    match log_files(target)?.pop() {
        Some(segment) => Err(Error::FileExists(segment)),
        None => Ok(()),
    }
}

fn copy_hashed(from: &mut File, to: &mut File) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}
