//! A file as redb reads and writes it. After any error redb takes nothing more until it is opened
//! again, so every error of the file raises the alarm, whichever thread met it.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::error::Result;
use crate::io::fault::FaultSignal;
use crate::io::vfs::VfsFile;

/// The file, for redb.
pub(crate) fn backend(
    file: Box<dyn VfsFile>,
    fault_signal: Arc<FaultSignal>,
) -> Result<MonitoredBackend> {
    let inner: Box<dyn StorageBackend> = match file.into_std() {
        Ok(file) => Box::new(FileBackend::new(file)?),
        Err(file) => Box::new(VfsBackend(file)),
    };
    Ok(MonitoredBackend { inner: inner.into(), closed: Arc::default(), fault_signal })
}

/// Raises the alarm at every error of the backend within.
#[derive(Debug)]
pub(crate) struct MonitoredBackend {
    inner: Arc<dyn StorageBackend>,
    closed: Arc<AtomicBool>,
    fault_signal: Arc<FaultSignal>,
}

impl MonitoredBackend {
    /// What closes the file.
    pub(crate) fn force_close(&self) -> ForceClose {
        ForceClose { inner: self.inner.clone(), closed: self.closed.clone() }
    }

    fn watch<T>(&self, ask: impl FnOnce(&dyn StorageBackend) -> io::Result<T>) -> io::Result<T> {
        let done = if self.closed.load(Ordering::Acquire) {
            Err(io::Error::other("the file was closed"))
        } else {
            ask(&*self.inner)
        };
        done.inspect_err(|error| self.fault_signal.report(error.kind(), || error.to_string()))
    }
}

/// Closes a file that redb may be unable to: where it panics as it is let go of, and a reader has a
/// snapshot still, it would keep the file's lock.
pub(crate) struct ForceClose {
    inner: Arc<dyn StorageBackend>,
    closed: Arc<AtomicBool>,
}

impl ForceClose {
    /// Gives up the lock, if redb has not; whoever reads the file from now on gets an error.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // It only lets go of locks, which another closing may have done.
        let _ = self.inner.close();
    }
}

impl StorageBackend for MonitoredBackend {
    fn len(&self) -> io::Result<u64> {
        self.watch(|inner| inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch(|inner| inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch(|inner| inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch(|inner| inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch(|inner| inner.write(offset, data))
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

/// A file that is none of the system's, and so in nobody else's reach.
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
