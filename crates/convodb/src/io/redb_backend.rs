//! redb's storage backend over a [`VfsFile`]: reports I/O errors to the fault signal.
//!
//! After an error redb accepts nothing until the database is opened again, so each error counts,
//! whichever thread meets it. An unreadable page that only a read needs is no such error: it fails
//! that read ([`crate::io::read_fault`]).

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::error::{Error, Result, from_redb};
use crate::io::fault::FaultSignal;
use crate::io::file_guard::FileSize;
use crate::io::read_fault;
use crate::io::vfs::VfsFile;

/// A backend that reports the errors of the backend inside.
#[derive(Debug)]
pub(crate) struct MonitoredBackend {
    /// The file, and who locks it.
    inner: Arc<dyn StorageBackend>,
    /// Receives everything but locks: the file itself, or an overlay.
    contents: Arc<dyn StorageBackend>,
    closed: Arc<AtomicBool>,
    fault_signal: Arc<FaultSignal>,
    size: Arc<FileSize>,
}

impl MonitoredBackend {
    /// A backend over `file`: redb's own for a file of the system, which knows how to lock it.
    ///
    /// # Errors
    /// The file is locked by another process, or an I/O error.
    pub(crate) fn new(file: Box<dyn VfsFile>, fault_signal: Arc<FaultSignal>) -> Result<Self> {
        let size = Arc::new(FileSize::new(file.size()?));
        let inner: Arc<dyn StorageBackend> = match file.into_std() {
            Ok(file) => Arc::new(FileBackend::new(file).map_err(from_redb)?),
            Err(file) => Arc::new(VfsBackend(file)),
        };
        let contents = inner.clone();
        Ok(Self { inner, contents, closed: Arc::default(), fault_signal, size })
    }

    /// A backend that locks `file`, but reads and writes `overlay`, an [overlay](crate::io::overlay) of it.
    ///
    /// # Errors
    /// As [`MonitoredBackend::new`].
    pub(crate) fn with_overlay(file: Box<dyn VfsFile>, overlay: Box<dyn VfsFile>) -> Result<Self> {
        let locked = Self::new(file, FaultSignal::detached())?;
        Ok(Self { contents: Arc::new(VfsBackend(overlay)), ..locked })
    }

    /// The size that the file is known to have.
    pub(crate) const fn known_size(&self) -> &Arc<FileSize> {
        &self.size
    }

    /// A handle that closes the file from outside of redb.
    pub(crate) fn force_close(&self) -> ForceClose {
        ForceClose { inner: self.inner.clone(), closed: self.closed.clone() }
    }

    fn monitor<T>(&self, call: impl FnOnce(&dyn StorageBackend) -> io::Result<T>) -> io::Result<T> {
        let result = match self.check_open() {
            Ok(()) => call(&*self.contents),
            Err(closed) => Err(closed),
        };
        result.inspect_err(|error| self.report(error))
    }

    fn check_open(&self) -> io::Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(io::Error::other("the file is closed")),
            false => Ok(()),
        }
    }

    fn report(&self, error: &io::Error) {
        self.fault_signal.report(|| Arc::new(io::Error::new(error.kind(), error.to_string())));
    }

    /// The result of a read at `offset` that failed with `error`.
    fn read_failed(&self, offset: u64, error: io::Error) -> io::Result<()> {
        let is_caught = read_fault::is_caught();
        if is_caught && self.check_open().is_err() {
            read_fault::raise(Error::SnapshotInvalidated);
        }
        // A file that ends too early is no unreadable sector: something has truncated it.
        if is_caught && error.kind() != io::ErrorKind::UnexpectedEof {
            self.fault_signal.count_read_fault(offset, &error);
            read_fault::raise(error.into());
        }
        self.report(&error);
        Err(error)
    }
}

/// Closes a file that redb may fail to close: when redb panics while it is dropped and a snapshot
/// is still alive, the lock would stay.
pub(crate) struct ForceClose {
    inner: Arc<dyn StorageBackend>,
    closed: Arc<AtomicBool>,
}

impl ForceClose {
    /// Releases the lock, unless redb has done so. Later reads of the file fail.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Closing only releases locks, which may be released already.
        let _ = self.inner.close();
    }
}

impl StorageBackend for MonitoredBackend {
    fn len(&self) -> io::Result<u64> {
        self.monitor(|inner| inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // A read that ends after the file was closed may show what a later writer has put there.
        match self.contents.read(offset, out).and_then(|()| self.check_open()) {
            Ok(()) => Ok(()),
            Err(error) => self.read_failed(offset, error),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.monitor(|inner| self.size.set(len, || inner.set_len(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.monitor(|inner| inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.monitor(|inner| inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// A shared lock of a file that is only read. It excludes writers, as redb's own lock does, and is
/// released on drop.
pub(crate) struct SharedLock {
    /// None for a file that is not the system's, or cannot be locked.
    _file: Option<FileBackend>,
}

impl SharedLock {
    /// # Errors
    /// [`Error::InUse`] if the file is open for writing, or an I/O error.
    pub(crate) fn acquire(file: Box<dyn VfsFile>) -> Result<Self> {
        let Ok(file) = file.into_std() else { return Ok(Self { _file: None }) };
        let file = FileBackend::new(file).map_err(from_redb)?;
        match file.try_lock_shared_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) => Ok(Self { _file: Some(file) }),
            Ok(false) => Err(from_redb(redb::Error::DatabaseAlreadyOpen)),
            Err(BackendError::Io(error)) => Err(error.into()),
            Err(_) => Ok(Self { _file: None }),
        }
    }
}

/// A backend over a file that is not the system's, and so out of reach of other processes.
#[derive(Debug)]
struct VfsBackend(Box<dyn VfsFile>);

impl StorageBackend for VfsBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_size(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(offset, data)
    }
}
