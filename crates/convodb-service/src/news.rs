//! News: a task waits until a user's conversations may have changed.

use convodb_tokio::Commits;
use tokio::sync::watch;

/// Notifications about the changes of one user's conversations from now on.
#[derive(Debug)]
pub enum News {
    /// Those of an embedded store: each commit.
    Embedded(Commits),
    /// Those of a remote store: the number of the user's last change, as often as it is seen to grow.
    Remote(watch::Receiver<u64>),
}

impl News {
    /// Waits for a change that was not waited for yet; may return without one. Returns at once after
    /// the store was closed. Nothing is lost if the future is dropped.
    pub async fn changed(&mut self) {
        match self {
            Self::Embedded(commits) => {
                let _ = commits.changed().await;
            }
            Self::Remote(last_change) => {
                let _ = last_change.changed().await;
            }
        }
    }
}
