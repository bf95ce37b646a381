//! Commit notifier: wakes the requests that wait for changes, after each commit and at shutdown.

use std::fmt;
use std::sync::Arc;

use convodb::Store;
use tokio::sync::watch;

/// Notifies its subscribers of each commit of a store, and once of the server's shutdown.
#[derive(Clone)]
pub(crate) struct CommitNotifier {
    shutting_down: watch::Sender<bool>,
    /// The store calls this after each commit, until it is dropped.
    _on_commit: Arc<dyn Fn() + Send + Sync>,
}

impl CommitNotifier {
    /// Registers a notifier with the store.
    pub(crate) fn new(store: &Store) -> Self {
        let shutting_down = watch::Sender::new(false);
        let sender = shutting_down.clone();
        let on_commit = Arc::new(move || sender.send_modify(|_| ()));
        store.on_commit(&on_commit);
        Self { shutting_down, _on_commit: on_commit }
    }

    /// Returns a receiver that changes at each notification from now on. Its value is whether the
    /// server is shutting down.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.shutting_down.subscribe()
    }

    /// Notifies all subscribers that the server is shutting down, so that none waits any longer.
    pub(crate) fn shut_down(&self) {
        self.shutting_down.send_replace(true);
    }
}

impl fmt::Debug for CommitNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitNotifier").finish_non_exhaustive()
    }
}
