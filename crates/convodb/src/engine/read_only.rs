//! Read-only opening: recovery in memory, while the files cannot be written.

use std::sync::Arc;

use redb::{Database, ReadableDatabase};

use crate::engine::recovery::Recovered;
use crate::engine::store_file::{self, StoreFile, StoreLocation};
use crate::error::{Error, Result, from_redb};
use crate::io::atomic_file::AtomicFile;
use crate::io::fault::FaultSignal;
use crate::io::overlay::OverlayVfs;
use crate::io::redb_backend::{ForceClose, SharedLock};
use crate::io::vfs::Access;
use crate::kv::catch_panic::catch_redb_panic;
use crate::options::{CommitMode, Durability};
use crate::tables::state::CommittedState;
use crate::tables::{meta, schema};

/// The size of the file that shows whether the disk can be written.
const PROBE_BYTES: usize = 4096;

/// A store's files, open for reading only. They are locked against writers until they are unlocked
/// or closed.
pub(crate) struct ReadOnlyFiles {
    database: Database,
    force_close: ForceClose,
    lock: Option<SharedLock>,
}

impl ReadOnlyFiles {
    /// Opens the store at `location` and replays its WAL without writing a byte. If readers have
    /// seen a `published` state, the file must be of the same store.
    ///
    /// # Errors
    /// [`Error::InUse`] if the file is open for writing, or what [`Recovered::open_or_create`] or
    /// [`Recovered::reopen`] returns.
    pub(crate) fn open(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
        mode: CommitMode,
        published: Option<&CommittedState>,
    ) -> Result<(Self, CommittedState)> {
        let lock = SharedLock::acquire(location.vfs.open(&location.path, Access::Read)?);
        let lock = lock.map_err(|error| match error {
            Error::InUse { this_process, .. } => {
                Error::InUse { path: location.path.clone(), this_process }
            }
            error => error,
        })?;
        let vfs = Arc::new(OverlayVfs::new(location.vfs.clone()));
        let overlay = StoreLocation { vfs, ..location.clone() };
        if published.is_none() {
            check_current_format(&overlay, fault_signal)?;
        }
        let recovered = match published {
            None => Recovered::open_or_create(&overlay, fault_signal),
            Some(seen) => Recovered::reopen(&overlay, fault_signal, mode, seen),
        }?;
        let Recovered { file, state, .. } = recovered;
        let StoreFile { database, force_close, .. } = file;
        Ok((Self { database, force_close, lock: Some(lock) }, state))
    }

    /// Releases the lock, so that this process can open the files for writing.
    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// Closes the files. Snapshots of them can no longer read from disk.
    pub(crate) fn close(self) {
        let Self { database, force_close, lock } = self;
        // Dropping can make redb panic over damaged pages.
        let _ = catch_redb_panic(|| {
            drop(database);
            Ok(())
        });
        force_close.close();
        drop(lock);
    }
}

/// Refuses a file of an older format. Its upgrade begins an epoch, which must not differ from the one
/// on disk later.
fn check_current_format(overlay: &StoreLocation, fault_signal: &Arc<FaultSignal>) -> Result<()> {
    let file = store_file::open(overlay, fault_signal)?;
    match meta::check_format(&file.database.begin_read().map_err(from_redb)?)? {
        schema::FORMAT => Ok(()),
        found => Err(Error::OlderFormat { found, supported: schema::FORMAT }),
    }
}

/// Whether the files at `location` contain every group that readers have seen, so that closing them
/// without a checkpoint, which failed with `error`, loses nothing. The WAL must be intact.
///
/// # Errors
/// `error` if they do not.
pub(crate) fn check_nothing_lost(
    location: &StoreLocation,
    mode: CommitMode,
    seen: &CommittedState,
    error: Error,
) -> Result<()> {
    let signal = FaultSignal::detached();
    let location = &StoreLocation { without_wal: false, ..location.clone() };
    let shown = catch_redb_panic(|| {
        let (files, state) = ReadOnlyFiles::open(location, &signal, mode, Some(seen))?;
        let seqno = state.seqno();
        drop(state);
        files.close();
        Ok(seqno)
    });
    match shown {
        Ok(seqno) if mode.durability == Durability::Immediate && seqno >= seen.seqno() => {
            tracing::warn!(%error, "closed without a checkpoint: the WAL is kept");
            Ok(())
        }
        _ => Err(error),
    }
}

/// Whether the files at `location` can be written: writes and syncs a file beside the store, and
/// opens the store's file for writing, which changes nothing.
pub(crate) fn check_writable(location: &StoreLocation) -> Result<()> {
    let (_removed_on_drop, file) = AtomicFile::beside(&*location.vfs, &location.path)?;
    file.write_all_at(0, &[0; PROBE_BYTES])?;
    file.sync()?;
    location.vfs.open(&location.path, Access::Write)?;
    Ok(())
}

/// Whether an error of opening may mean that the files can be read and not written: also because
/// another process reads them, or because a read followed a write that failed.
pub(crate) const fn may_be_readable(error: &Error) -> bool {
    matches!(
        error,
        Error::Io(_)
            | Error::WriteAborted { .. }
            | Error::CommitUnknown { .. }
            | Error::InUse { .. }
            | Error::SnapshotInvalidated
    )
}
