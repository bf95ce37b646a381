//! What all threads know of the health of a store: whether a fault of the disk came up since its
//! files were opened, and which. Whoever meets one raises the alarm, a reader too; the writer's
//! thread hears it and opens the files again. A check costs an atomic load or two.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::error::{Error, Result};

/// Whether a store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreState {
    /// It takes writes.
    Open,
    /// It met a fault of the disk, and opens its files again until that goes well. Writes are refused
    /// meanwhile; snapshots answer as far as they can. A store in memory, which has no files, stays so.
    Reopening,
    /// It was closed.
    Closed,
}

/// See the head of this file.
pub(crate) struct FaultState {
    /// The alarm of the files that are open.
    fault_signal: ArcSwap<FaultSignal>,
    waker: Arc<Waker>,
}

/// Wakes the writer's thread. Silent until that is there.
#[derive(Default)]
struct Waker(OnceLock<Box<dyn Fn() + Send + Sync>>);

/// Raised by the first fault of files that were opened together: they are closed then, and never
/// trusted again.
pub(crate) struct FaultSignal {
    fault: OnceLock<(io::ErrorKind, String)>,
    waker: Arc<Waker>,
}

impl FaultState {
    pub(crate) fn new() -> Arc<Self> {
        let waker = Arc::<Waker>::default();
        let fault_signal =
            ArcSwap::from_pointee(FaultSignal { fault: OnceLock::new(), waker: waker.clone() });
        Arc::new(Self { fault_signal, waker })
    }

    /// The alarm of the files that are open.
    pub(crate) fn fault_signal(&self) -> Arc<FaultSignal> {
        self.fault_signal.load_full()
    }

    /// A silent alarm, for files that are about to be opened.
    pub(crate) fn next_signal(&self) -> Arc<FaultSignal> {
        Arc::new(FaultSignal { fault: OnceLock::new(), waker: self.waker.clone() })
    }

    /// The files of `alarm` are those that are open now.
    pub(crate) fn recover(&self, fault_signal: Arc<FaultSignal>) {
        self.fault_signal.store(fault_signal);
    }

    /// Refuses a write while the store has a fault.
    ///
    /// # Errors
    /// [`Error::WriteAborted`].
    pub(crate) fn check(&self) -> Result<()> {
        self.fault_signal.load().check()
    }

    /// Sets what wakes the writer's thread.
    pub(crate) fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        // There is one writer a store.
        let _ = self.waker.0.set(Box::new(wake));
    }
}

impl FaultSignal {
    /// Tells of a fault. The first one counts.
    pub(crate) fn report(&self, kind: io::ErrorKind, why: impl FnOnce() -> String) {
        let first = self.fault.get().is_none() && self.fault.set((kind, why())).is_ok();
        if let (true, Some(wake)) = (first, self.waker.0.get()) {
            wake();
        }
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.fault.get().is_some()
    }

    /// What the system said of the fault, if there is one.
    pub(crate) fn kind(&self) -> Option<io::ErrorKind> {
        self.fault.get().map(|(kind, _)| *kind)
    }

    /// # Errors
    /// [`Error::WriteAborted`] once it is raised.
    pub(crate) fn check(&self) -> Result<()> {
        match self.fault.get() {
            None => Ok(()),
            Some((kind, why)) => Err(Error::WriteAborted { kind: *kind, why: why.clone() }),
        }
    }
}

impl fmt::Debug for FaultSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alarm").field(&self.fault.get()).finish()
    }
}
