//! Persistent map: a copy-on-write B+ tree; cloning is O(1).
//!
//! Clones share nodes until one of them changes; a change copies only the nodes on the path from
//! the root to it. The writer changes its own tree. Each commit publishes a clone, which readers
//! may keep for any length of time.
//!
//! A node has up to 64 entries. A lookup costs a binary search at each level: three levels for
//! 260,000 entries, more than a table usually gets before a checkpoint. Nodes are split when full
//! and removed when empty, but never merged: a map lives until the next checkpoint.

use std::sync::Arc;

/// Maximum number of entries of a node.
const MAX_ENTRIES: usize = 64;

/// An ordered map with O(1) clones and O(log n) reads and writes.
#[derive(Clone)]
pub(crate) struct PersistentMap<K, V> {
    root: Node<K, V>,
}

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Arc<Vec<(K, V)>>),
    /// Each child with a separator key: not greater than the child's first key, and greater than
    /// all keys of the child before.
    Branch(Arc<Vec<(K, Node<K, V>)>>),
}

impl<K, V> Default for PersistentMap<K, V> {
    fn default() -> Self {
        Self { root: Node::Leaf(Arc::default()) }
    }
}

impl<K: Ord + Copy, V: Clone> PersistentMap<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
                    return Some(&entries[at].1);
                }
                Node::Branch(children) => node = &children[child_of(children, key)].1,
            }
        }
    }

    /// Inserts a value and returns the one that it replaces.
    pub(crate) fn put(&mut self, key: K, value: V) -> Option<V> {
        let (replaced, split) = self.root.put(key, value);
        if let Some(right) = split {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Arc::default()));
            let children =
                [left, right].into_iter().filter_map(|node| Some((*node.first()?.0, node)));
            self.root = Node::Branch(Arc::new(children.collect()));
        }
        replaced
    }

    /// Removes an entry and returns its value, if it exists.
    pub(crate) fn take(&mut self, key: &K) -> Option<V> {
        // Without the entry, no node must be copied.
        self.get(key)?;
        let taken = self.root.take(key);
        if self.root.is_empty() {
            *self = Self::default();
        }
        taken
    }

    /// The first entry whose key is `key` or greater.
    pub(crate) fn at_or_above(&self, key: &K) -> Option<(&K, &V)> {
        self.root.first_where(&|other| other >= key)
    }

    /// The first entry whose key is greater than `key`.
    pub(crate) fn above(&self, key: &K) -> Option<(&K, &V)> {
        self.root.first_where(&|other| other > key)
    }

    /// The last entry whose key is `key` or less.
    pub(crate) fn at_or_below(&self, key: &K) -> Option<(&K, &V)> {
        self.root.last_where(&|other| other <= key)
    }

    /// The last entry whose key is less than `key`.
    pub(crate) fn below(&self, key: &K) -> Option<(&K, &V)> {
        self.root.last_where(&|other| other < key)
    }

    /// All entries in ascending order. One lookup for each entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        std::iter::successors(self.root.first(), |(key, _)| self.above(key))
    }
}

/// The index of the only child that may contain `key`.
fn child_of<K: Ord, N>(children: &[(K, N)], key: &K) -> usize {
    children.partition_point(|(first, _)| first <= key).saturating_sub(1)
}

impl<K: Ord + Copy, V: Clone> Node<K, V> {
    fn is_empty(&self) -> bool {
        match self {
            Node::Leaf(entries) => entries.is_empty(),
            Node::Branch(children) => children.is_empty(),
        }
    }

    /// Inserts a value; returns the one that it replaces, and the right half if the node was split.
    fn put(&mut self, key: K, value: V) -> (Option<V>, Option<Self>) {
        match self {
            Node::Leaf(entries) => {
                let entries = Arc::make_mut(entries);
                match entries.binary_search_by(|(other, _)| other.cmp(&key)) {
                    Ok(at) => return (Some(std::mem::replace(&mut entries[at].1, value)), None),
                    Err(at) => entries.insert(at, (key, value)),
                }
                (None, split(entries).map(|right| Node::Leaf(Arc::new(right))))
            }
            Node::Branch(children) => {
                let children = Arc::make_mut(children);
                let at = child_of(children, &key);
                let (first, child) = &mut children[at];
                *first = key.min(*first);
                let (replaced, right) = child.put(key, value);
                if let Some(right) = right
                    && let Some((first, _)) = right.first()
                {
                    children.insert(at + 1, (*first, right));
                }
                (replaced, split(children).map(|right| Node::Branch(Arc::new(right))))
            }
        }
    }

    /// Removes an entry and returns its value. Leaves a branch without children if it was the last.
    fn take(&mut self, key: &K) -> Option<V> {
        match self {
            Node::Leaf(entries) => {
                let at = entries.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
                Some(Arc::make_mut(entries).remove(at).1)
            }
            Node::Branch(children) => {
                let at = child_of(children, key);
                let children = Arc::make_mut(children);
                let taken = children[at].1.take(key);
                if children[at].1.is_empty() {
                    children.remove(at);
                }
                taken
            }
        }
    }

    fn first(&self) -> Option<(&K, &V)> {
        self.first_where(&|_| true)
    }

    /// The first entry whose key satisfies `from`, which must hold for all greater keys too.
    fn first_where(&self, from: &impl Fn(&K) -> bool) -> Option<(&K, &V)> {
        match self {
            Node::Leaf(entries) => {
                let at = entries.partition_point(|(key, _)| !from(key));
                entries.get(at).map(|(key, value)| (key, value))
            }
            Node::Branch(children) => {
                // The last child whose separator fails `from` may still end with keys that satisfy
                // it.
                let within = children.partition_point(|(first, _)| !from(first));
                let before = within.checked_sub(1).and_then(|at| children[at].1.first_where(from));
                before.or_else(|| children.get(within).and_then(|(_, node)| node.first_where(from)))
            }
        }
    }

    /// The last entry whose key satisfies `until`, which must hold for all smaller keys too.
    fn last_where(&self, until: &impl Fn(&K) -> bool) -> Option<(&K, &V)> {
        match self {
            Node::Leaf(entries) => {
                let end = entries.partition_point(|(key, _)| until(key));
                entries[..end].last().map(|(key, value)| (key, value))
            }
            Node::Branch(children) => {
                // A child's separator may outlive its first entry, so the child may contain no key
                // that satisfies `until`.
                let end = children.partition_point(|(first, _)| until(first));
                children[..end].iter().rev().find_map(|(_, node)| node.last_where(until))
            }
        }
    }
}

/// Splits off the right half if there are more than [`MAX_ENTRIES`].
fn split<T>(entries: &mut Vec<T>) -> Option<Vec<T>> {
    (entries.len() > MAX_ENTRIES).then(|| entries.split_off(MAX_ENTRIES / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u16, u8),
        Take(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..2_000_u16, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            1 => (0..2_000_u16).prop_map(Step::Take),
        ]
    }

    fn run(steps: Vec<Step>, map: &mut PersistentMap<u16, u8>, model: &mut BTreeMap<u16, u8>) {
        for step in steps {
            match step {
                Step::Put(key, value) => assert_eq!(map.put(key, value), model.insert(key, value)),
                Step::Take(key) => assert_eq!(map.take(&key), model.remove(&key)),
            }
        }
    }

    #[track_caller]
    fn check(map: &PersistentMap<u16, u8>, model: &BTreeMap<u16, u8>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.is_empty(), model.is_empty());
        for key in (0..2_001).step_by(7) {
            assert_eq!(map.get(&key), model.get(&key));
            assert_eq!(map.at_or_above(&key), model.range(key..).next());
            assert_eq!(map.above(&key), model.range(key + 1..).next());
            assert_eq!(map.at_or_below(&key), model.range(..=key).next_back());
            assert_eq!(map.below(&key), model.range(..key).next_back());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// It agrees with `BTreeMap`, and a clone does not see later changes.
        #[test]
        fn it_is_a_sorted_map_and_clones_do_not_change(
            before in prop::collection::vec(step(), 0..1_500),
            after in prop::collection::vec(step(), 0..1_500),
        ) {
            let (mut map, mut model) = (PersistentMap::default(), BTreeMap::new());
            run(before, &mut map, &mut model);
            let (clone, model_of_clone) = (map.clone(), model.clone());
            run(after, &mut map, &mut model);
            check(&map, &model);
            check(&clone, &model_of_clone);
        }

        /// Entries can be removed in any order, and the empty map can be read and filled again.
        #[test]
        fn it_can_be_emptied(keys in prop::collection::hash_set(0..5_000_u16, 0..1_000)) {
            let mut map = PersistentMap::default();
            for key in &keys {
                map.put(*key, 0);
            }
            for key in &keys {
                map.take(key);
            }
            check(&map, &BTreeMap::new());
            map.put(7, 1);
            check(&map, &BTreeMap::from([(7, 1)]));
        }
    }
}
