//! Ranges of users, into which the verification is divided, and the keys that begin with them.

use std::ops::RangeInclusive;

use crate::encoding::key::FixedKey;
use crate::model::id::UserId;

/// At most `count` ranges that contain all possible users, with about as many of `users` each.
pub(super) fn ranges(users: &[UserId], count: usize) -> Vec<RangeInclusive<UserId>> {
    let size = users.len().div_ceil(count).max(1);
    let mut starts: Vec<u32> = users.chunks(size).map(|chunk| chunk[0].get()).collect();
    // What belongs to no user is part of the range around it.
    match starts.first_mut() {
        Some(first) => *first = 0,
        None => starts.push(0),
    }
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([u32::MAX]);
    starts.iter().zip(ends).map(|(first, last)| UserId::new(*first)..=UserId::new(last)).collect()
}

/// The range of all keys of some users in a table whose keys begin with their user.
pub(super) fn keys_of<K: FixedKey>(users: &RangeInclusive<UserId>) -> RangeInclusive<K> {
    let key = |user: &UserId, rest: u8| {
        let mut bytes = vec![rest; K::WIDTH];
        bytes[..UserId::WIDTH].copy_from_slice(&user.encode());
        K::decode(&bytes)
    };
    key(users.start(), 0)..=key(users.end(), u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_every_user_once() {
        for (users, count) in [(0, 3), (1, 3), (7, 3), (9, 3), (200, 64)] {
            let users: Vec<UserId> = (0..users).map(|number| UserId::new(5 + 3 * number)).collect();
            let ranges = ranges(&users, count);
            assert!(!ranges.is_empty() && ranges.len() <= count, "{ranges:?}");
            assert_eq!(ranges[0].start().get(), 0);
            assert_eq!(ranges[ranges.len() - 1].end().get(), u32::MAX);
            let meet =
                |pair: &[RangeInclusive<UserId>]| pair[0].end().get() + 1 == pair[1].start().get();
            assert!(ranges.windows(2).all(meet), "{ranges:?}");
            let most =
                ranges.iter().map(|range| users.iter().filter(|user| range.contains(user)).count());
            assert!(most.max() <= Some(users.len().div_ceil(count)), "{ranges:?}");
        }
    }

    #[test]
    fn keys_of_users_are_those_that_begin_with_them() {
        let users = UserId::new(7)..=UserId::new(8);
        let keys = keys_of::<crate::encoding::key::MessageKey>(&users);
        assert_eq!(keys.start().encode(), [0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(keys.end().encode()[..4], [0, 0, 0, 8]);
        assert!(keys.end().encode()[4..].iter().all(|byte| *byte == u8::MAX));
    }
}
