//! Budget: a limited number of bytes, or of places, that users share.
//!
//! A user may hold at most as much as is left for the others. So one user alone can take half of a
//! budget, two can take a third each, and the next user always finds some of it free. The
//! first thing that a user takes may be all that is free.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convodb::UserId;

/// A budget of one kind: bytes in memory, waiting writes, imports and exports.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    max_per_user: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_all: usize,
    /// Each user who holds anything.
    by_users: BTreeMap<UserId, HeldByUser>,
}

#[derive(Clone, Copy, Debug, Default)]
struct HeldByUser {
    amount: usize,
    /// The largest amount that was refused since the user last gave something back.
    refused: usize,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Self::with_max_per_user(total, usize::MAX)
    }

    /// A budget whose users cannot have more than `max_per_user`, even if it is free.
    pub(crate) fn with_max_per_user(total: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self { total, max_per_user, held: Mutex::default() })
    }

    /// Takes an amount for the user, until the returned share is dropped; `None` if it is beyond
    /// what the user may hold.
    pub(crate) fn try_take(self: &Arc<Self>, user: UserId, amount: usize) -> Option<Share> {
        let mut share = Share { budget: self.clone(), user, amount: 0 };
        share.try_grow(amount).then_some(share)
    }

    /// Whether the user may take `amount`, and has given something back since more was refused. A
    /// request that is bound to be refused is so before any work.
    pub(crate) fn has_room(&self, user: UserId, amount: usize) -> bool {
        let held = self.lock();
        let by_user = held.by_users.get(&user).copied().unwrap_or_default();
        let free = self.total.saturating_sub(held.by_all);
        self.allows(by_user.amount, amount.max(by_user.refused), free)
    }

    /// What all users hold together.
    pub(crate) fn held(&self) -> usize {
        self.lock().by_all
    }

    /// Whether a user who holds `held` may take `amount` more of what is free.
    fn allows(&self, held: usize, amount: usize, free: usize) -> bool {
        let Some(left) = free.checked_sub(amount) else { return false };
        let after = held.saturating_add(amount);
        after <= self.max_per_user && (held == 0 || after <= left)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request holds of a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    user: UserId,
    amount: usize,
}

impl Share {
    /// What the user of this share holds of the budget, this share included.
    pub(crate) fn held_by_user(&self) -> usize {
        let held = self.budget.lock();
        held.by_users.get(&self.user).map_or(0, |by_user| by_user.amount)
    }

    /// Takes an amount in addition. Returns whether the user may; if not, the share is unchanged.
    pub(crate) fn try_grow(&mut self, amount: usize) -> bool {
        let mut held = self.budget.lock();
        let by_user = held.by_users.get(&self.user).copied().unwrap_or_default();
        let free = self.budget.total.saturating_sub(held.by_all);
        if !self.budget.allows(by_user.amount, amount, free) {
            if let Some(by_user) = held.by_users.get_mut(&self.user) {
                by_user.refused = by_user.refused.max(amount);
            }
            return false;
        }
        if amount > 0 {
            held.by_all += amount;
            held.by_users.entry(self.user).or_default().amount += amount;
            self.amount += amount;
        }
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        held.by_all -= self.amount;
        match held.by_users.get_mut(&self.user) {
            Some(by_user) if self.amount == 0 || by_user.amount > self.amount => {
                by_user.amount -= self.amount;
                if self.amount > 0 {
                    by_user.refused = 0;
                }
            }
            _ => {
                held.by_users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one unit after the other for each user in turn of `users`, as long as it is allowed.
    fn take_all(budget: &Arc<Budget>, user: u32) -> Vec<Share> {
        std::iter::from_fn(|| budget.try_take(UserId::new(user), 1)).collect()
    }

    #[test]
    fn a_user_holds_at_most_what_is_left_for_the_others() {
        let budget = Budget::new(96);
        let first = take_all(&budget, 1);
        assert_eq!(first.len(), 48);
        let second = take_all(&budget, 2);
        assert_eq!(second.len(), 24);
        assert_eq!((first[0].held_by_user(), second[0].held_by_user()), (48, 24));
        let third = take_all(&budget, 3);
        assert_eq!(third.len(), 12);
        assert!(budget.try_take(UserId::new(4), 1).is_some(), "some is free for the next user");
        drop(first);
        assert_eq!(take_all(&budget, 4).len(), 30);
        drop((second, third));
        assert!(budget.lock().by_users.is_empty() && budget.held() == 0);
    }

    #[test]
    fn what_was_refused_is_not_tried_again_before_something_is_given_back() {
        let budget = Budget::new(100);
        let user = UserId::new(1);
        let (first, second) =
            (budget.try_take(user, 20).unwrap(), budget.try_take(user, 20).unwrap());
        assert!(budget.has_room(user, 5));
        assert!(budget.try_take(user, 11).is_none());
        assert!(!budget.has_room(user, 5), "the next one may be as large");
        assert!(budget.has_room(UserId::new(2), 5));
        drop(first);
        assert!(budget.has_room(user, 5));
        drop(second);
    }

    #[test]
    fn users_have_a_bound_of_their_own() {
        let budget = Budget::with_max_per_user(16, 4);
        let shares: Vec<_> = (1..=5).map(|user| take_all(&budget, user)).collect();
        assert_eq!(shares.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 2, 1]);
    }

    #[test]
    fn the_first_thing_may_be_all_that_is_free_and_a_share_grows_within_the_budget() {
        let budget = Budget::new(100);
        let (one, two) = (UserId::new(1), UserId::new(2));
        assert!(budget.try_take(one, 101).is_none());
        drop(budget.try_take(one, 100).unwrap());
        let mut share = budget.try_take(one, 10).unwrap();
        assert!(budget.has_room(one, 40) && !budget.has_room(one, 41));
        assert!(share.try_grow(40) && !share.try_grow(1));
        assert_eq!(budget.held(), 50);
        assert!(budget.try_take(one, 1).is_none(), "the user's requests count together");
        assert!(budget.try_take(two, 50).is_some());
        drop(share);
        assert_eq!(budget.held(), 0);
        assert!(budget.lock().by_users.is_empty());
        assert!(Budget::new(0).try_take(one, 1).is_none());
    }
}
