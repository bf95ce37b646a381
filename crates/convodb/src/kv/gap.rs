//! Gap: a boundary between two keys, where scans in both directions begin.

use std::cmp::Ordering;

/// The order in which a cursor visits keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanDirection {
    Ascending,
    Descending,
}

impl ScanDirection {
    pub(crate) const fn reversed(self) -> Self {
        match self {
            ScanDirection::Ascending => ScanDirection::Descending,
            ScanDirection::Descending => ScanDirection::Ascending,
        }
    }

    /// Compares two keys in scan order: `Less` means that `key` is visited before `other`.
    pub(crate) fn order<K: Ord>(self, key: &K, other: &K) -> Ordering {
        match self {
            ScanDirection::Ascending => key.cmp(other),
            ScanDirection::Descending => other.cmp(key),
        }
    }
}

/// A boundary between two keys, named by the key on one side of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap<K> {
    Before(K),
    After(K),
}

impl<K: Copy + Ord> Gap<K> {
    /// The gap that a scan has reached once it has visited `key`.
    pub(crate) const fn beyond(key: K, direction: ScanDirection) -> Self {
        match direction {
            ScanDirection::Ascending => Gap::After(key),
            ScanDirection::Descending => Gap::Before(key),
        }
    }

    /// The key that names the gap.
    pub(crate) const fn key(&self) -> K {
        match self {
            Gap::Before(key) | Gap::After(key) => *key,
        }
    }

    /// Whether a scan in `direction` that has reached this gap has yet to visit `key`.
    pub(crate) fn is_before(&self, key: &K, direction: ScanDirection) -> bool {
        match (self, direction) {
            (Gap::Before(bound), ScanDirection::Ascending) => key >= bound,
            (Gap::After(bound), ScanDirection::Ascending) => key > bound,
            (Gap::Before(bound), ScanDirection::Descending) => key < bound,
            (Gap::After(bound), ScanDirection::Descending) => key <= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_separates_visited_keys_from_remaining_ones() {
        let remaining =
            |gap: Gap<u32>, direction| [4, 5, 6].map(|key| gap.is_before(&key, direction));
        assert_eq!(remaining(Gap::Before(5), ScanDirection::Ascending), [false, true, true]);
        assert_eq!(remaining(Gap::After(5), ScanDirection::Ascending), [false, false, true]);
        assert_eq!(remaining(Gap::Before(5), ScanDirection::Descending), [true, false, false]);
        assert_eq!(remaining(Gap::After(5), ScanDirection::Descending), [true, true, false]);
    }
}
