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
pub(crate) struct Health {
    /// The alarm of the files that are open.
    alarm: ArcSwap<Alarm>,
    bell: Arc<Bell>,
}

/// Wakes the writer's thread. Silent until that is there.
#[derive(Default)]
struct Bell(OnceLock<Box<dyn Fn() + Send + Sync>>);

/// Raised by the first fault of files that were opened together: they are closed then, and never
/// trusted again.
pub(crate) struct Alarm {
    fault: OnceLock<(io::ErrorKind, String)>,
    bell: Arc<Bell>,
}

impl Health {
    pub(crate) fn new() -> Arc<Self> {
        let bell = Arc::<Bell>::default();
        let alarm = ArcSwap::from_pointee(Alarm { fault: OnceLock::new(), bell: bell.clone() });
        Arc::new(Self { alarm, bell })
    }

    /// The alarm of the files that are open.
    pub(crate) fn alarm(&self) -> Arc<Alarm> {
        self.alarm.load_full()
    }

    /// A silent alarm, for files that are about to be opened.
    pub(crate) fn next_alarm(&self) -> Arc<Alarm> {
        Arc::new(Alarm { fault: OnceLock::new(), bell: self.bell.clone() })
    }

    /// The files of `alarm` are those that are open now.
    pub(crate) fn recover(&self, alarm: Arc<Alarm>) {
        self.alarm.store(alarm);
    }

    /// Refuses a write while the store has a fault.
    ///
    /// # Errors
    /// [`Error::GivenUp`].
    pub(crate) fn check(&self) -> Result<()> {
        self.alarm.load().check()
    }

    /// Sets what wakes the writer's thread.
    pub(crate) fn set_bell(&self, ring: impl Fn() + Send + Sync + 'static) {
        // There is one writer a store.
        let _ = self.bell.0.set(Box::new(ring));
    }
}

impl Alarm {
    /// Tells of a fault. The first one counts.
    pub(crate) fn raise(&self, kind: io::ErrorKind, why: impl FnOnce() -> String) {
        let first = self.fault.get().is_none() && self.fault.set((kind, why())).is_ok();
        if let (true, Some(ring)) = (first, self.bell.0.get()) {
            ring();
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.fault.get().is_some()
    }

    /// What the system said of the fault, if there is one.
    pub(crate) fn kind(&self) -> Option<io::ErrorKind> {
        self.fault.get().map(|(kind, _)| *kind)
    }

    /// # Errors
    /// [`Error::GivenUp`] once it is raised.
    pub(crate) fn check(&self) -> Result<()> {
        match self.fault.get() {
            None => Ok(()),
            Some((kind, why)) => Err(Error::GivenUp { kind: *kind, why: why.clone() }),
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alarm").field(&self.fault.get()).finish()
    }
}
