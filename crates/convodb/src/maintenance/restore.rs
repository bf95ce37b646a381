//! Restore: verifies a backup's checksum, copies it, audits the copy, and then gives it its name.
//!
//! The backup itself is never opened as a store, so it does not change.

use std::path::Path;

use crate::engine::new_name::check_free;
use crate::error::{Error, Result};
use crate::io::atomic_file::AtomicFile;
use crate::io::vfs::Access;
use crate::maintenance::backup::{read_checksum, read_hashed};
use crate::maintenance::options::{ChecksumPolicy, MaintenanceOptions};
use crate::model::token::TokenSelector;
use crate::options::StoreOptions;
use crate::store::Store;
use crate::verify::report::VerifyReport;

/// Creates a store at `target` from the backup at `backup`, and returns the report of its audit. If
/// the audit has findings, no store is created.
///
/// The store has a history of its own: cursors of lists and access tokens of the original stay valid
/// in it, but every [`ChangeCursor`](crate::ChangeCursor) and
/// [`StoreVersion`](crate::StoreVersion) of the original has expired, because the original went on
/// after the backup.
///
/// Copies the file and reads it three times: about 15 seconds for a million rows.
///
/// ```
/// use convodb::{Store, restore};
/// # let directory = tempfile::tempdir()?;
/// # let (backup, target) = (directory.path().join("backup"), directory.path().join("store"));
/// let store = Store::in_memory()?;
/// store.snapshot().backup(&backup)?;
/// let report = restore(&backup, &target)?;
/// assert!(report.is_clean());
/// Store::open(&target)?.close()?;
/// # Ok::<(), convodb::Error>(())
/// ```
///
/// # Errors
/// [`Error::FileExists`] if there is a file at `target`, or the WAL of an earlier store;
/// [`Error::Invalid`] if `target` has the name of a WAL segment or a temporary file;
/// [`Error::Corrupted`] if the backup does not match its checksum; the errors of [`Store::open`];
/// or an I/O error, after which there is no store at `target` or a complete one.
pub fn restore(backup: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<VerifyReport> {
    restore_with(backup, target, MaintenanceOptions::new())
}

/// [`restore`] with options. Progress is that of the audit.
///
/// # Errors
/// As [`restore`].
pub fn restore_with(
    backup: impl AsRef<Path>,
    target: impl AsRef<Path>,
    mut options: MaintenanceOptions<'_>,
) -> Result<VerifyReport> {
    let (backup, target, vfs) = (backup.as_ref(), target.as_ref(), options.file_system());
    // A WAL that is there is that of another store.
    check_free(&*vfs, target)?;
    let expected = match options.checksum_policy() {
        ChecksumPolicy::Required => Some(read_checksum(&*vfs, backup)?),
        ChecksumPolicy::Ignored => None,
    };
    let (atomic_file, copy) = AtomicFile::beside(&*vfs, target)?;
    let source = vfs.open(backup, Access::Read)?;
    let found = read_hashed(&*source, |offset, chunk| copy.write_all_at(offset, chunk))?;
    // A store recovers from a failed sync of its own changes, but not if that loses the copy's.
    copy.sync()?;
    drop((source, copy));
    if expected.is_some_and(|expected| expected != found) {
        return Err(Error::Corrupted { table: "backup", what: "checksum mismatch" });
    }
    let store = Store::open_with(atomic_file.path(), &StoreOptions::new().vfs(vfs.clone()))?;
    let report =
        store.snapshot().verify_with_progress(|done, total| options.report(done, total))?;
    if options.revokes_tokens() && report.is_clean() {
        store.revoke_tokens(TokenSelector::All)?;
    }
    store.begin_history()?;
    store.close_completely()?;
    if report.is_clean() {
        check_free(&*vfs, target)?;
        atomic_file.link_new()?;
        atomic_file.finish()?;
    }
    Ok(report)
}
