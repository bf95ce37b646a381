//! What all readers share until the next commit: one committed state with its tables open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};
use redb::ReadTransaction;

use crate::encoding::index_term::Fingerprinter;
use crate::encoding::token::Sealer;
use crate::error::Result;
use crate::metrics::SnapshotGuard;
use crate::tables::Tables;
use crate::tables::meta::{self, Meta};

/// One committed state. Readers hold it by reference count; a commit puts a new one in its place.
pub(crate) struct CommittedState {
    pub(crate) tables: Tables,
    keys: Arc<Secrets>,
    _guard: SnapshotGuard,
}

/// What is made from the store's secrets, which hardly ever change.
struct Secrets {
    fingerprinter: Fingerprinter,
    sealer: Sealer,
    /// What they are made from, and all else that the store knows of itself.
    meta: Meta,
}

impl CommittedState {
    /// The state `tables`, with the secrets that `read` has.
    pub(crate) fn open(read: &ReadTransaction, tables: Tables) -> Result<Self> {
        let secrets = meta::secrets(read)?;
        let keys = Secrets {
            fingerprinter: Fingerprinter::new(secrets.fingerprints),
            sealer: Sealer::new(secrets.cursors),
            meta: meta::open(read)?,
        };
        let guard = tables.metrics().show();
        Ok(Self { tables, keys: Arc::new(keys), _guard: guard })
    }

    /// The state `tables`, where no secret changed since this one.
    pub(crate) fn with(&self, tables: Tables) -> Self {
        let guard = tables.metrics().show();
        Self { tables, keys: self.keys.clone(), _guard: guard }
    }

    pub(crate) fn fingerprinter(&self) -> &Fingerprinter {
        &self.keys.fingerprinter
    }

    /// What the store knew of itself when its tables last changed; the tail adds nothing to that.
    pub(crate) fn meta(&self) -> &Meta {
        &self.keys.meta
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.keys.sealer
    }
}

/// What is called after each commit.
pub(crate) type Listener = dyn Fn() + Send + Sync;

/// The state of the last commit, and who wants to know of the next one.
pub(crate) struct Published {
    state: ArcSwap<CommittedState>,
    listeners: Mutex<Vec<Weak<Listener>>>,
}

impl Published {
    pub(crate) fn new(state: CommittedState) -> Self {
        Self { state: ArcSwap::from_pointee(state), listeners: Mutex::default() }
    }

    /// The present state, for a short while.
    pub(crate) fn load(&self) -> Guard<Arc<CommittedState>> {
        self.state.load()
    }

    /// The present state, to keep.
    pub(crate) fn load_full(&self) -> Arc<CommittedState> {
        self.state.load_full()
    }

    /// Shows readers a new state, and tells those who listen.
    pub(crate) fn show(&self, state: CommittedState) {
        self.state.store(Arc::new(state));
        for listener in self.listening() {
            // The writer goes on, whatever becomes of those that it tells, or has to let go of.
            let _ = catch_unwind(AssertUnwindSafe(move || listener()));
        }
    }

    /// Those who listen still. They are called without the lock, so they may bring others.
    fn listening(&self) -> Vec<Arc<Listener>> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listening = Vec::new();
        listeners.retain(|listener| {
            listening.extend(listener.upgrade());
            listener.strong_count() > 0
        });
        listening
    }

    /// Tells `listener` of each new state, until it is dropped.
    pub(crate) fn listen(&self, listener: Weak<Listener>) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }
}
