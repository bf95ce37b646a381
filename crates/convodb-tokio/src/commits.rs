//! Commit notifier: wakes tasks after each commit.
//!
//! One listener on the store counts commits into a `watch` channel. Receivers compare counts, so
//! any number of commits costs a slow receiver one wakeup.

use std::fmt;

use convodb::{CommitListener, Error, Result, Store, StoreState};
use tokio::sync::watch;

/// The sending side: one per [`AsyncStore`](crate::AsyncStore), created by its first receiver.
pub(crate) struct CommitNotifier {
    progress: watch::Sender<Progress>,
    _listener: CommitListener,
}

#[derive(Clone, Copy)]
struct Progress {
    /// The number of commits since the notifier was created.
    commits: u64,
    /// Whether the store was closed: no commit follows.
    is_closed: bool,
}

impl CommitNotifier {
    /// A notifier of the commits of `store` from now on.
    pub(crate) fn new(store: &Store) -> Self {
        let is_closed = store.state() == StoreState::Closed;
        let progress = watch::Sender::new(Progress { commits: 0, is_closed });
        let commits = progress.clone();
        let count = move || commits.send_modify(|progress| progress.commits += 1);
        let listener = store.on_commit(count);
        Self { progress, _listener: listener }
    }

    /// A receiver of the commits from now on.
    pub(crate) fn subscribe(&self) -> Commits {
        let progress = self.progress.subscribe();
        let seen = progress.borrow().commits;
        Commits { progress, seen }
    }

    /// Reports to all receivers that the store was closed.
    pub(crate) fn close(&self) {
        self.progress.send_modify(|progress| progress.is_closed = true);
    }
}

/// Notifications of commits. Created by [`AsyncStore::commits`](crate::AsyncStore::commits).
///
/// It does not keep the store open, and holds no snapshot.
pub struct Commits {
    progress: watch::Receiver<Progress>,
    /// The number of commits that were reported.
    seen: u64,
}

impl Commits {
    /// Waits until the store has committed since this receiver was created, or since the last call.
    ///
    /// Commits are coalesced: after any number of them, one call returns at once and the next one
    /// waits. A snapshot that is taken after the call contains all of them. A commit may be of any
    /// user. The call may return without a change of the data, for example after a checkpoint.
    ///
    /// Cancel-safe: dropping the future loses no notification. Works under any executor.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// let mut commits = store.commits();
    /// store.create_user("Acme", "2025-01-25".parse()?).await?;
    /// commits.changed().await?;
    /// assert_eq!(store.snapshot().users()?.len(), 1);
    ///
    /// store.close().await?;
    /// // Closing commits what is in the memtable; then the notifications end.
    /// while commits.changed().await.is_ok() {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] after all commits were reported, if
    /// [`AsyncStore::close`](crate::AsyncStore::close) closed the store or its last
    /// [`AsyncStore`](crate::AsyncStore) was dropped. A close through the engine's own handle is
    /// not reported.
    pub async fn changed(&mut self) -> Result<()> {
        loop {
            let Progress { commits, is_closed } = *self.progress.borrow_and_update();
            if commits != self.seen {
                self.seen = commits;
                return Ok(());
            }
            if is_closed {
                return Err(Error::Closed);
            }
            // Fails if the notifier was dropped, which happens with the last handle of the store.
            self.progress.changed().await.map_err(|_| Error::Closed)?;
        }
    }
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commits").finish_non_exhaustive()
    }
}
