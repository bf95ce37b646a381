//! What wakes requests that wait for news of the store: a commit, or the stop of the server, which
//! finds none of them still waiting.

use std::fmt;
use std::sync::Arc;

use convodb::Store;
use tokio::sync::watch;

/// Rings at each commit, and for the last time when the server stops.
#[derive(Clone)]
pub(crate) struct CommitNotifier {
    stopped: watch::Sender<bool>,
    /// The store rings as long as this is held.
    _rope: Arc<dyn Fn() + Send + Sync>,
}

impl CommitNotifier {
    /// The bell of a store.
    pub(crate) fn of(store: &Store) -> Self {
        let stopped = watch::Sender::new(false);
        let ring = stopped.clone();
        let rope = Arc::new(move || ring.send_modify(|_| ()));
        store.on_commit(&rope);
        Self { stopped, _rope: rope }
    }

    /// Hears each ring from now on, and whether the server has stopped.
    pub(crate) fn listen(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// Nobody is to wait any longer.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

impl fmt::Debug for CommitNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitNotifier").finish_non_exhaustive()
    }
}
