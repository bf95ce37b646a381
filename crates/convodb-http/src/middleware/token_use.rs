//! Last use of tokens: recorded at most once an hour for each, without a request waiting for it.
//!
//! A record is one more write in the queue, which the group commit writes together with others. One
//! that the queue or the disk refuses is lost, and tried again with a use an hour later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use convodb::{Access, Store, Timestamp, TokenId};

/// The shortest time between two records of a token.
const INTERVAL_MILLIS: u64 = 3_600_000;
/// The most tokens whose records are remembered. A full map is emptied, because the store knows,
/// too, when it recorded a use.
const CAPACITY: usize = 10_000;

/// When a use of each token was last queued.
#[derive(Debug, Default)]
pub(crate) struct TokenUses {
    queued: Mutex<HashMap<TokenId, Timestamp>>,
}

impl TokenUses {
    /// Queues a record of the use, unless one was queued or stored within the hour before `now`.
    pub(crate) fn record(&self, store: &Store, access: &Access, now: Timestamp) {
        if access.last_used_at.is_some_and(|at| is_recent(at, now)) || !self.claim(access, now) {
            return;
        }
        let token = access.token;
        // The outcome concerns nobody.
        let _ = store.submit(move |transaction| transaction.record_token_use(token, now), |_| {});
    }

    /// Whether the caller is the first to record a use within the hour.
    fn claim(&self, access: &Access, now: Timestamp) -> bool {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if queued.get(&access.token).is_some_and(|at| is_recent(*at, now)) {
            return false;
        }
        if queued.len() >= CAPACITY {
            queued.clear();
        }
        queued.insert(access.token, now);
        true
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.millis() < at.millis().saturating_add(INTERVAL_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::TokenOptions;

    #[test]
    fn a_use_is_recorded_once_an_hour() {
        let store = Store::in_memory().unwrap();
        let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
        let created = store.create_token_with(user, Timestamp::MIN, TokenOptions::default());
        let token = created.unwrap().token;
        let uses = TokenUses::default();
        let commits = || store.metrics().commits;
        for (minute, recorded) in [(1, 1), (2, 1), (60, 1), (61, 61), (62, 61), (200, 200)] {
            let now = Timestamp::from_millis(minute * 60_000).unwrap();
            let access = store.snapshot().authenticate(&token, now).unwrap().unwrap();
            let before = commits();
            uses.record(&store, &access, now);
            // A write that follows in the queue is stored after the record.
            store.write(|_| Ok::<_, convodb::Error>(())).unwrap();
            let expected = Timestamp::from_millis(recorded * 60_000).unwrap();
            let stored = store.snapshot().authenticate(&token, now).unwrap().unwrap();
            assert_eq!(stored.last_used_at, Some(expected), "minute {minute}");
            assert_eq!(commits() > before, minute == recorded, "minute {minute}");
        }
    }
}
