//! Transfer limiter: bounds the concurrent imports and exports, of all users and of each.
//!
//! The total is bounded because each may buffer a long line. The number of each user is bounded so
//! that a slow user cannot block the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use convodb::UserId;

/// Counts the transfers in progress.
#[derive(Debug)]
pub(crate) struct TransferLimiter {
    max: usize,
    max_per_user: usize,
    /// The transfers of each user who has any.
    in_progress: Mutex<HashMap<UserId, usize>>,
}

impl TransferLimiter {
    pub(crate) fn new(max: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_user, in_progress: Mutex::default() })
    }

    /// Returns a permit for one transfer of the user, valid until it is dropped; `None` if a bound
    /// is reached.
    pub(crate) fn try_acquire(self: &Arc<Self>, user: UserId) -> Option<TransferPermit> {
        let mut in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = in_progress.get(&user).copied().unwrap_or_default();
        if of_user >= self.max_per_user || in_progress.values().sum::<usize>() >= self.max {
            return None;
        }
        in_progress.insert(user, of_user + 1);
        Some(TransferPermit { limiter: self.clone(), user })
    }

    fn release(&self, user: UserId) {
        let mut in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        match in_progress.get_mut(&user) {
            Some(of_user) if *of_user > 1 => *of_user -= 1,
            _ => {
                in_progress.remove(&user);
            }
        }
    }
}

/// A permit for one transfer.
#[derive(Debug)]
pub(crate) struct TransferPermit {
    limiter: Arc<TransferLimiter>,
    user: UserId,
}

impl Drop for TransferPermit {
    fn drop(&mut self) {
        self.limiter.release(self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_bounded_in_total_and_per_user() {
        let limiter = TransferLimiter::new(3, 2);
        let acquire = |user| limiter.try_acquire(UserId::new(user));
        let (first, second) = (acquire(1), acquire(1));
        assert!(first.is_some() && second.is_some());
        assert!(acquire(1).is_none(), "the bound per user");
        let third = acquire(2);
        assert!(third.is_some());
        assert!(acquire(3).is_none(), "the bound of all");
        drop(first);
        let again = acquire(1);
        assert!(again.is_some() && acquire(2).is_none());
        drop((second, third, again));
        assert!(limiter.in_progress.lock().unwrap().is_empty());
    }
}
