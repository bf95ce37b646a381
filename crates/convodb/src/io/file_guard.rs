//! File guard: notices when the open file of a store loses its name, is replaced or is truncated.
//!
//! An open file outlives its name: what is written to it then is lost when it is closed. So before
//! the store relies on its file, in each new segment of the WAL and each checkpoint, it checks that
//! the name still leads to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::io::fault::FaultSignal;
use crate::io::vfs::{FileId, Vfs};

/// The open file of a store.
pub(crate) struct FileGuard {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    id: FileId,
    size: Arc<FileSize>,
    fault_signal: Arc<FaultSignal>,
}

/// The size in bytes that this process gave a file.
#[derive(Debug)]
pub(crate) struct FileSize(AtomicU64);

impl FileSize {
    pub(crate) const fn new(size: u64) -> Self {
        Self(AtomicU64::new(size))
    }

    /// Runs `resize`, which sets the size of the file. At no time the recorded size exceeds that of
    /// the file.
    pub(crate) fn set(&self, size: u64, resize: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.0.fetch_min(size, Ordering::AcqRel);
        resize()?;
        self.0.store(size, Ordering::Release);
        Ok(())
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl FileGuard {
    /// Guards the open file `id`, which was opened by `path`.
    pub(crate) const fn new(
        vfs: Arc<dyn Vfs>,
        path: PathBuf,
        id: FileId,
        size: Arc<FileSize>,
        fault_signal: Arc<FaultSignal>,
    ) -> Self {
        Self { vfs, path, id, size, fault_signal }
    }

    pub(crate) fn vfs(&self) -> &dyn Vfs {
        &*self.vfs
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the name leads to the open file, and that the file is not shorter than it was
    /// made. Two calls of the file system.
    ///
    /// # Errors
    /// [`Error::WriteAborted`], after reporting it as a fault of the store.
    pub(crate) fn check(&self) -> Result<()> {
        let Err(error) = self.check_name() else { return Ok(()) };
        let source = Arc::new(error);
        self.fault_signal.report(|| source.clone());
        Err(Error::WriteAborted { source })
    }

    /// [`FileGuard::check`] without the report.
    pub(crate) fn check_name(&self) -> io::Result<()> {
        let lost = |why: &str| Err(io::Error::other(format!("{}: {why}", self.path.display())));
        match self.vfs.file_id(&self.path) {
            Ok(found) if found == self.id => {}
            Ok(_) => return lost("another file has taken the name of the open store"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return lost("the open store was removed or moved; put it back");
            }
            Err(error) => return Err(error),
        }
        // Another thread may be resizing the file.
        let before = self.size.get();
        let found = self.vfs.size(&self.path)?;
        if found < before.min(self.size.get()) {
            return lost("the open store was truncated");
        }
        Ok(())
    }
}
