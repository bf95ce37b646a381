//! Commit notifier: wakes tasks after each commit, or after those that changed one user.
//!
//! One listener on the store counts commits into `watch` channels: one for all commits, and one for
//! each user with a receiver. Receivers compare counts, so any number of commits costs a slow
//! receiver one wakeup, and a commit wakes only the receivers of the users that it changed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convodb::{ChangedUsers, CommitListener, Error, Result, Store, StoreState, UserId};
use tokio::sync::watch;

/// The sending side: one per [`AsyncStore`](crate::AsyncStore), created by its first receiver.
pub(crate) struct CommitNotifier {
    channels: Arc<Channels>,
    _listener: CommitListener,
}

struct Channels {
    /// Counts all commits.
    all: watch::Sender<Progress>,
    /// Counts the commits of each user who has receivers, or had some since the last sweep.
    of_users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    senders: HashMap<UserId, watch::Sender<Progress>>,
    /// The number of senders at which those without receivers are removed.
    sweep_at: usize,
}

/// The fewest senders that are swept.
const MIN_SWEEP: usize = 64;

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
        let all = watch::Sender::new(Progress { commits: 0, is_closed });
        let channels = Arc::new(Channels { all, of_users: Mutex::default() });
        let counted = channels.clone();
        let listener = store.on_change(move |changed| counted.count(changed));
        Self { channels, _listener: listener }
    }

    /// A receiver of the commits from now on.
    pub(crate) fn subscribe(&self) -> Commits {
        Commits::new(self.channels.all.subscribe())
    }

    /// A receiver of the commits from now on that change conversations of a user.
    pub(crate) fn subscribe_to(&self, user: UserId) -> Commits {
        let mut users = self.channels.users();
        // Read under the lock, because `close` takes it after it has closed the channel of all.
        let Progress { is_closed, .. } = *self.channels.all.borrow();
        let new = || watch::Sender::new(Progress { commits: 0, is_closed });
        let commits = Commits::new(users.senders.entry(user).or_insert_with(new).subscribe());
        if users.senders.len() >= users.sweep_at.max(MIN_SWEEP) {
            users.senders.retain(|_, sender| sender.receiver_count() > 0);
            users.sweep_at = 2 * users.senders.len();
        }
        commits
    }

    /// Reports to all receivers that the store was closed.
    pub(crate) fn close(&self) {
        let close = |progress: &mut Progress| progress.is_closed = true;
        self.channels.all.send_modify(close);
        self.channels.users().senders.values().for_each(|sender| sender.send_modify(close));
    }
}

impl Channels {
    fn users(&self) -> MutexGuard<'_, Users> {
        self.of_users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, changed: &ChangedUsers) {
        let count = |sender: &watch::Sender<Progress>| {
            sender.send_modify(|progress| progress.commits += 1);
        };
        count(&self.all);
        let users = self.users();
        match changed {
            ChangedUsers::Any => users.senders.values().for_each(count),
            ChangedUsers::These(ids) => {
                ids.iter().filter_map(|user| users.senders.get(user)).for_each(count);
            }
        }
    }
}

/// Notifications of commits. Created by [`AsyncStore::commits`](crate::AsyncStore::commits) and
/// [`AsyncStore::commits_of`](crate::AsyncStore::commits_of).
///
/// It does not keep the store open, and holds no snapshot.
pub struct Commits {
    progress: watch::Receiver<Progress>,
    /// The number of commits that were reported.
    seen: u64,
}

impl Commits {
    fn new(progress: watch::Receiver<Progress>) -> Self {
        let seen = progress.borrow().commits;
        Self { progress, seen }
    }

    /// Waits until the store has committed since this receiver was created, or since the last call.
    ///
    /// Commits are coalesced: after any number of them, one call returns at once and the next one
    /// waits. A snapshot that is taken after the call contains all of them. The call may return without a change of the data, for example after a checkpoint.
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
