//! Last use of tokens: recorded at most once an hour for each, in batches, without a request waiting
//! for it.
//!
//! Uses are collected for ten seconds; the next request of any token after that queues one write of
//! all of them. A batch that the queue or the disk refuses is lost, and so is one that no request
//! follows: a last use is an aid for an operator, not a log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use convodb::{Access, Store, Timestamp, TokenId, Transaction};

/// The shortest time between two records of a token.
const INTERVAL_MILLIS: u64 = 3_600_000;
/// The time for which uses are collected.
const BATCH_MILLIS: u64 = 10_000;
/// The most tokens of a batch. The uses of others are recorded later.
const CAPACITY: usize = 10_000;

/// The uses that are not recorded yet, with their times.
#[derive(Debug, Default)]
pub(crate) struct TokenUses {
    collected: Mutex<HashMap<TokenId, Timestamp>>,
}

impl TokenUses {
    /// Collects the use at `now`, unless one of the hour before is stored, and queues a write of what
    /// was collected ten seconds ago and since.
    pub(crate) fn record(&self, store: &Store, access: &Access, now: Timestamp) {
        if access.last_used_at.is_some_and(|at| is_within(INTERVAL_MILLIS, at, now)) {
            return;
        }
        let Some(batch) = self.collect(access.token, now) else { return };
        let write = move |transaction: &mut Transaction<'_>| {
            batch.into_iter().try_for_each(|(token, at)| transaction.record_token_use(token, at))
        };
        // The outcome concerns nobody.
        let _ = store.submit(write, |_| {});
    }

    /// Collects a use, and returns the whole batch if it is due.
    fn collect(&self, token: TokenId, now: Timestamp) -> Option<HashMap<TokenId, Timestamp>> {
        let mut collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        if collected.len() < CAPACITY {
            collected.entry(token).or_insert(now);
        }
        let is_due = collected.values().any(|at| !is_within(BATCH_MILLIS, *at, now));
        is_due.then(|| std::mem::take(&mut *collected))
    }
}

/// Whether `now` is less than `millis` after `at`.
fn is_within(millis: u64, at: Timestamp, now: Timestamp) -> bool {
    now.millis() < at.millis().saturating_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::TokenOptions;

    #[test]
    fn a_use_is_recorded_once_an_hour_in_a_batch() {
        let store = Store::in_memory().unwrap();
        let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
        let token = || {
            let options = TokenOptions::default();
            store.create_token_with(user, Timestamp::MIN, options).unwrap().token
        };
        let (one, other) = (token(), token());
        let uses = TokenUses::default();
        let stored = |token: &str| {
            let access = store.snapshot().authenticate(token, Timestamp::MIN).unwrap().unwrap();
            access.last_used_at.map(|at| at.millis() / 1000)
        };
        let commits = || store.metrics().commits;
        for (second, token, expected) in [
            (100, &one, [None, None]),
            (105, &other, [None, None]),
            (109, &one, [None, None]),
            (110, &one, [Some(100), Some(105)]),
            (150, &one, [Some(100), Some(105)]),
            (3699, &one, [Some(100), Some(105)]),
            (3701, &one, [Some(100), Some(105)]),
            (3712, &other, [Some(3701), Some(3712)]),
        ] {
            let now = Timestamp::from_millis(second * 1000).unwrap();
            let access = store.snapshot().authenticate(token, now).unwrap().unwrap();
            let (before, was) = (commits(), [stored(&one), stored(&other)]);
            uses.record(&store, &access, now);
            // A write that follows in the queue is stored after the batch.
            store.write(|_| Ok::<_, convodb::Error>(())).unwrap();
            assert_eq!([stored(&one), stored(&other)], expected, "second {second}");
            assert_eq!(commits() > before, was != expected, "second {second}");
        }
    }
}
