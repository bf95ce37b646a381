//! The published state: what new snapshots see, replaced atomically at each commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};

use crate::model::id::UserId;
use crate::tables::state::CommittedState;

type Callback = dyn Fn(&ChangedUsers) + Send + Sync;

/// The users whose conversations a commit has changed. See
/// [`Store::on_change`](crate::Store::on_change).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedUsers {
    /// These users, in ascending order; none for a commit that changed no conversation.
    These(Vec<UserId>),
    /// Any users: a bulk load, a revoked token, or the store has reopened its files.
    Any,
}

/// Keeps a callback of [`Store::on_commit`](crate::Store::on_commit) registered until it is
/// dropped.
#[must_use = "dropping the listener removes its callback"]
pub struct CommitListener {
    _callback: Arc<Callback>,
}

impl std::fmt::Debug for CommitListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitListener").finish_non_exhaustive()
    }
}

/// The last committed state and the listeners of the next one.
pub(crate) struct Published {
    state: ArcSwap<CommittedState>,
    listeners: Mutex<Vec<Weak<Callback>>>,
}

impl Published {
    pub(crate) fn new(state: CommittedState) -> Self {
        Self { state: ArcSwap::from_pointee(state), listeners: Mutex::default() }
    }

    /// The state, borrowed for a short time.
    pub(crate) fn load(&self) -> Guard<Arc<CommittedState>> {
        self.state.load()
    }

    /// The state, shared for as long as it is needed.
    pub(crate) fn load_full(&self) -> Arc<CommittedState> {
        self.state.load_full()
    }

    /// Publishes a new state and calls the listeners.
    pub(crate) fn publish(&self, state: CommittedState, changed: &ChangedUsers) {
        self.state.store(Arc::new(state));
        for listener in self.live_listeners() {
            // A panicking listener must not stop the writer.
            let _ = catch_unwind(AssertUnwindSafe(move || listener(changed)));
        }
    }

    /// Replaces the state by one with the same contents, which no listener needs to hear of.
    pub(crate) fn replace(&self, state: CommittedState) {
        self.state.store(Arc::new(state));
    }

    /// Whether anybody listens to commits.
    pub(crate) fn has_listeners(&self) -> bool {
        !self.listeners.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The registered listeners, to be called without the lock, so that a listener can register
    /// another one.
    fn live_listeners(&self) -> Vec<Arc<Callback>> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = Vec::new();
        listeners.retain(|listener| {
            live.extend(listener.upgrade());
            listener.strong_count() > 0
        });
        live
    }

    /// Calls `callback` after each publication, until the returned listener is dropped.
    pub(crate) fn listen(
        &self,
        callback: impl Fn(&ChangedUsers) + Send + Sync + 'static,
    ) -> CommitListener {
        let callback: Arc<Callback> = Arc::new(callback);
        let weak = Arc::downgrade(&callback);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(weak);
        CommitListener { _callback: callback }
    }
}
