//! The files that this process has open, so that a second open can say who holds the lock.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::store_file::StoreLocation;
use crate::error::Error;

static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn open_files() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry of the registry, removed on drop.
pub(crate) struct OpenFile {
    path: PathBuf,
}

impl OpenFile {
    /// Registers the file of an opened store.
    pub(crate) fn register(location: &StoreLocation) -> Self {
        // The file exists now, so its canonical path is known.
        let path = location.vfs.canonicalize(&location.path);
        let path = path.unwrap_or_else(|_| location.path.clone());
        open_files().insert(path.clone());
        Self { path }
    }

    /// Completes [`Error::InUse`] with whether this process holds the file.
    pub(crate) fn explain(error: Error) -> Error {
        match error {
            Error::InUse { path, .. } => {
                let this_process = open_files().contains(&path);
                Error::InUse { path, this_process }
            }
            error => error,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        open_files().remove(&self.path);
    }
}
