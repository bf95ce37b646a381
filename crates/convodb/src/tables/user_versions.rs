//! User versions: the group that last changed what belongs to each user.
//!
//! They are known in memory alone, from the opening of the store on. A user who was not seen to
//! change since then counts as changed by the last group before it. So equal versions of a user
//! always mean equal data, while equal data may have several versions.

use crate::kv::persistent_map::PersistentMap;
use crate::model::id::UserId;

/// The most users whose versions are known. With one more, all of them count as changed.
const CAPACITY: usize = 64 * 1024;

/// The sequence number of the last change of each user. Cloning is O(1).
#[derive(Clone, Default)]
pub(crate) struct UserVersions {
    /// The version of every user who is not in `changed`.
    all: u64,
    changed: PersistentMap<UserId, u64>,
    len: usize,
}

impl UserVersions {
    /// The last group that changed what belongs to the user, or a later one.
    pub(crate) fn of(&self, user: UserId) -> u64 {
        self.changed.get(&user).copied().unwrap_or(self.all)
    }

    /// Records that group `seqno` changed what belongs to these users.
    pub(crate) fn change(&mut self, users: impl IntoIterator<Item = UserId>, seqno: u64) {
        for user in users {
            let known = self.changed.put(user, seqno).is_some();
            self.len += usize::from(!known);
        }
        if self.len > CAPACITY {
            self.change_all(seqno);
        }
    }

    /// Records that group `seqno` may have changed what belongs to any user.
    pub(crate) fn change_all(&mut self, seqno: u64) {
        *self = Self { all: seqno, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_version_of_its_last_change() {
        let mut versions = UserVersions::default();
        versions.change_all(5);
        let before = versions.clone();
        versions.change([1, 2].map(UserId::new), 6);
        versions.change([UserId::new(2)], 7);
        let all = |versions: &UserVersions| [1, 2, 3].map(|user| versions.of(UserId::new(user)));
        assert_eq!((all(&before), all(&versions)), ([5; 3], [6, 7, 5]));
        versions.change_all(8);
        assert_eq!(all(&versions), [8; 3]);
    }

    #[test]
    fn the_number_of_known_users_is_bounded() {
        let mut versions = UserVersions::default();
        let mut last = 0;
        for seqno in 1..=CAPACITY as u64 + 1 {
            last += 1;
            versions.change([UserId::new(last)], seqno);
            assert!(versions.len <= CAPACITY);
        }
        let seqno = CAPACITY as u64 + 1;
        assert_eq!([1, last, last + 1].map(|user| versions.of(UserId::new(user))), [seqno; 3]);
    }
}
