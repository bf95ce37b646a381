//! How many imports and exports go on at a time: of all users together, because each may hold a
//! line of many bytes, and of each, so that one who is slow leaves room for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use convodb::UserId;

/// The transfers that go on.
#[derive(Debug)]
pub(crate) struct TransferLimiter {
    most: usize,
    most_per_user: usize,
    /// How many each user has, for those who have any.
    under_way: Mutex<HashMap<UserId, usize>>,
}

impl TransferLimiter {
    pub(crate) fn new(most: usize, most_per_user: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_user, under_way: Mutex::default() })
    }

    /// Leave for one more transfer of the user's, while what this gives is held. None where there
    /// are as many as may be.
    pub(crate) fn begin(self: &Arc<Self>, user: UserId) -> Option<TransferPermit> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let own = under_way.get(&user).copied().unwrap_or_default();
        if own >= self.most_per_user || under_way.values().sum::<usize>() >= self.most {
            return None;
        }
        under_way.insert(user, own + 1);
        Some(TransferPermit { transfers: self.clone(), user })
    }

    fn end(&self, user: UserId) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.get_mut(&user) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                under_way.remove(&user);
            }
        }
    }
}

/// A transfer under way.
#[derive(Debug)]
pub(crate) struct TransferPermit {
    transfers: Arc<TransferLimiter>,
    user: UserId,
}

impl Drop for TransferPermit {
    fn drop(&mut self) {
        self.transfers.end(self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_a_bound_and_each_has_one() {
        let transfers = TransferLimiter::new(3, 2);
        let begin = |user| transfers.begin(UserId::new(user));
        let (first, second) = (begin(1), begin(1));
        assert!(first.is_some() && second.is_some());
        assert!(begin(1).is_none(), "one user leaves room");
        let third = begin(2);
        assert!(third.is_some());
        assert!(begin(3).is_none(), "all together have a bound");
        drop(first);
        let again = begin(1);
        assert!(again.is_some() && begin(2).is_none());
        drop((second, third, again));
        assert!(transfers.under_way.lock().unwrap().is_empty());
    }
}
