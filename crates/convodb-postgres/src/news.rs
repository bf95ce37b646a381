//! News of changes: one poller for all tasks of the process that wait for changes of users.
//!
//! While a task waits, one statement reads the last changes of all users that are waited for, five
//! times a second. Writes of this process wake their waiters at once. `LISTEN` would order the commits
//! of the whole database by a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convodb::UserId;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::error::Result;
use crate::pool::{SessionPool, Statements as _};
use crate::rows::Columns;

/// The time between two reads.
const INTERVAL: Duration = Duration::from_millis(200);
/// The time after a read that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The users that are waited for.
#[derive(Debug, Default)]
pub(crate) struct NewsPoller(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// The last changes of the users that have receivers, or had some at the last read.
    last_changes: HashMap<UserId, watch::Sender<u64>>,
    is_polling: bool,
}

impl NewsPoller {
    /// A receiver of the number of the user's last change, which is read from now on, and is 0 before.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        pool: &Arc<SessionPool>,
        user: UserId,
    ) -> watch::Receiver<u64> {
        let mut waiting = self.waiting();
        let sender = waiting.last_changes.entry(user).or_insert_with(|| watch::Sender::new(0));
        let receiver = sender.subscribe();
        if !waiting.is_polling {
            waiting.is_polling = true;
            tokio::spawn(poll(self.clone(), pool.clone()));
        }
        receiver
    }

    /// Wakes those who wait for changes of a user.
    pub(crate) fn wake(&self, user: UserId) {
        if let Some(sender) = self.waiting().last_changes.get(&user) {
            sender.send_modify(|_| ());
        }
    }

    /// The users that are waited for; if there are none, the poller ends.
    fn users(&self) -> Vec<i32> {
        let mut waiting = self.waiting();
        waiting.last_changes.retain(|_, sender| sender.receiver_count() > 0);
        waiting.is_polling = !waiting.last_changes.is_empty();
        // A user with a number beyond has no row here.
        waiting.last_changes.keys().filter_map(|user| i32::try_from(user.get()).ok()).collect()
    }

    fn advance(&self, user: UserId, last_change: u64) {
        if let Some(sender) = self.waiting().last_changes.get(&user) {
            sender.send_if_modified(|known| {
                let is_new = *known < last_change;
                *known = last_change;
                is_new
            });
        }
    }

    fn is_polling(&self) -> bool {
        self.waiting().is_polling
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until nobody waits.
async fn poll(news: Arc<NewsPoller>, pool: Arc<SessionPool>) {
    loop {
        sleep(INTERVAL).await;
        let users = news.users();
        if !news.is_polling() {
            return;
        }
        if let Err(error) = read(&news, &pool, &users).await {
            tracing::warn!(cause = %error, "cannot read whether there are changes");
            sleep(AFTER_FAILURE).await;
        }
    }
}

async fn read(news: &NewsPoller, pool: &SessionPool, users: &[i32]) -> Result<()> {
    let sql = "select owner, feed from head where owner = any ($1)";
    for row in pool.rows(sql, &[&users]).await? {
        let mut columns = Columns::new(&row, 0, "head");
        let user: i32 = columns.next()?;
        news.advance(UserId::new(user.cast_unsigned()), columns.unsigned()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_is_woken_by_a_later_change_alone() {
        let (news, user) = (NewsPoller::default(), UserId::new(1));
        let mut receiver = {
            let mut waiting = news.waiting();
            waiting.is_polling = true;
            waiting.last_changes.entry(user).or_insert_with(|| watch::Sender::new(0)).subscribe()
        };
        news.advance(UserId::new(2), 9);
        assert!(!receiver.has_changed().unwrap());
        news.advance(user, 3);
        assert_eq!(*receiver.borrow_and_update(), 3);
        news.advance(user, 3);
        assert!(!receiver.has_changed().unwrap());
        news.wake(user);
        assert!(receiver.has_changed().unwrap());
        assert_eq!(news.users(), [1]);
        drop(receiver);
        assert!(news.users().is_empty());
        assert!(!news.is_polling());
    }
}
