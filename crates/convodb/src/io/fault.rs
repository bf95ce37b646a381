//! Shared fault state: the first I/O error poisons the open files; the writer thread reopens them.
//!
//! After an I/O error redb refuses everything until the database is opened again, and after a
//! failed sync nobody knows what is on disk. So any thread that meets an error, a reader too,
//! reports it here once; the writer thread wakes up, closes the files and recovers. A check costs
//! an atomic load or two.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::error::{Error, Result};

/// Whether a store accepts writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreState {
    /// It accepts writes.
    Open,
    /// Its files cannot be written: the disk is full, read-only or failing. Reads are served, from
    /// what is on disk and in the WAL. Writes fail with [`Error::WriteAborted`]. The store tries by
    /// itself whether the files can be written again, within two seconds at the latest.
    ///
    /// Or it was opened for reading only, and stays so: writes fail with [`Error::ReadOnly`].
    ReadOnly,
    /// It met a fault and reopens its files until that succeeds. Writes fail with
    /// [`Error::WriteAborted`] meanwhile; snapshots answer from what is in memory.
    Reopening,
    /// It is closed.
    Closed,
}

/// The fault state of one store, across all reopenings of its files.
pub(crate) struct FaultState {
    /// The signal of the files that are open now.
    signal: ArcSwap<FaultSignal>,
    shared: Arc<Shared>,
}

/// What all signals of one store share.
#[derive(Default)]
struct Shared {
    /// Wakes the writer thread; not set before the thread runs.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// The last fault, kept after recovery.
    last: Mutex<Option<Arc<io::Error>>>,
    /// Whether the files are open for reading only, after a fault or by choice.
    read_only: AtomicBool,
    /// Whether open files refused a write because of the disk, and none was accepted since.
    refuses_writes: AtomicBool,
    /// Pages that a read needed and the disk could not read.
    read_faults: AtomicU64,
}

/// Set by the first fault of files that were opened together. Those files are then closed and never
/// used again.
pub(crate) struct FaultSignal {
    fault: OnceLock<Arc<io::Error>>,
    /// None for files that are closed before another thread can use them.
    shared: Option<Arc<Shared>>,
}

impl FaultState {
    pub(crate) fn new() -> Arc<Self> {
        let shared = Arc::<Shared>::default();
        let signal = FaultSignal { fault: OnceLock::new(), shared: Some(shared.clone()) };
        Arc::new(Self { signal: ArcSwap::from_pointee(signal), shared })
    }

    /// The signal of the files that are open now.
    pub(crate) fn signal(&self) -> Arc<FaultSignal> {
        self.signal.load_full()
    }

    /// A new signal, for files that are about to be opened.
    pub(crate) fn next_signal(&self) -> Arc<FaultSignal> {
        Arc::new(FaultSignal { fault: OnceLock::new(), shared: Some(self.shared.clone()) })
    }

    /// Replaces the signal after its files were opened.
    pub(crate) fn recover(&self, signal: Arc<FaultSignal>) {
        self.signal.store(signal);
    }

    /// Fails while the store has a fault.
    ///
    /// # Errors
    /// [`Error::WriteAborted`].
    pub(crate) fn check(&self) -> Result<()> {
        self.signal.load().check()
    }

    /// The state of a store whose writer thread runs.
    pub(crate) fn state(&self) -> StoreState {
        match self.check() {
            _ if self.shared.read_only.load(Ordering::Acquire) => StoreState::ReadOnly,
            Err(_) => StoreState::Reopening,
            Ok(()) if self.shared.refuses_writes.load(Ordering::Acquire) => StoreState::ReadOnly,
            Ok(()) => StoreState::Open,
        }
    }

    /// Sets whether the files are open for reading only, after a fault or by choice.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.shared.read_only.store(read_only, Ordering::Release);
    }

    /// The last fault since the store was opened.
    pub(crate) fn last_fault(&self) -> Option<Arc<io::Error>> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of pages that a read needed and the disk could not read.
    pub(crate) fn read_faults(&self) -> u64 {
        self.shared.read_faults.load(Ordering::Relaxed)
    }

    /// Sets what wakes the writer thread.
    pub(crate) fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A store has one writer thread, so this is the only call.
        let _ = self.shared.wake.set(Box::new(wake));
    }
}

impl FaultSignal {
    /// A signal that nobody receives, for files that are closed before another thread can use them.
    pub(crate) fn detached() -> Arc<Self> {
        Arc::new(Self { fault: OnceLock::new(), shared: None })
    }

    /// Reports a fault. Only the first one counts.
    pub(crate) fn report(&self, fault: impl FnOnce() -> Arc<io::Error>) {
        if self.fault.get().is_some() {
            return;
        }
        let fault = fault();
        let (Ok(()), Some(shared)) = (self.fault.set(fault.clone()), &self.shared) else { return };
        tracing::error!(error = %fault, "store fault: writes are refused until the files are reopened");
        *shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        if let Some(wake) = shared.wake.get() {
            wake();
        }
    }

    /// Counts a page that a read needed and the disk could not read. Logs the first one, the second,
    /// the fourth and so on, since the same page may be read again and again.
    pub(crate) fn count_read_fault(&self, offset: u64, error: &io::Error) {
        let Some(shared) = &self.shared else { return };
        let count = shared.read_faults.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::error!(%error, offset, count, "cannot read a page of the store");
        }
    }

    /// Sets whether the open files refused a write because of the disk.
    pub(crate) fn refuse_writes(&self, refused: bool) {
        if let Some(shared) = &self.shared {
            shared.refuses_writes.store(refused, Ordering::Release);
        }
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.fault.get().is_some()
    }

    /// The fault, if there is one.
    pub(crate) fn fault(&self) -> Option<&Arc<io::Error>> {
        self.fault.get()
    }

    /// # Errors
    /// [`Error::WriteAborted`] once a fault is reported.
    pub(crate) fn check(&self) -> Result<()> {
        match self.fault.get() {
            None => Ok(()),
            Some(fault) => Err(Error::WriteAborted { source: fault.clone() }),
        }
    }
}

impl fmt::Debug for FaultSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultSignal").field(&self.fault.get()).finish()
    }
}
