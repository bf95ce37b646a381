//! The files that this process has open, so that a second open can say who holds the lock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::store_file::StoreLocation;
use crate::error::Error;

/// How often each file is open: more than once only for reading.
static OPEN: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

fn open_files() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
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
        *open_files().entry(path.clone()).or_default() += 1;
        Self { path }
    }

    /// Completes [`Error::InUse`] with whether this process holds the file.
    pub(crate) fn explain(error: Error) -> Error {
        match error {
            Error::InUse { path, .. } => {
                let this_process = open_files().contains_key(&path);
                Error::InUse { path, this_process }
            }
            error => error,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let mut open = open_files();
        if let Some(count) = open.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.path);
            }
        }
    }
}
