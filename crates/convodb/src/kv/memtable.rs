//! Memtable: what was written above a stored table, as entries and as *runs* of hidden stored keys.
//!
//! A removed key leaves the entries. If the stored table has it, it is hidden from then on. A run is
//! an interval whose ends are stored keys, and all of whose stored keys are hidden; the stored keys
//! before and after it are not. So a reader that meets a hidden key passes the whole run by one
//! lookup, and then stands before a visible key. There are no tombstones to step over.
//!
//! A removal looks up the stored neighbours of its key, and joins their runs. That is enough, because
//! a stored table never changes: a checkpoint writes the memtable into it and opens a new one.
//!
//! Entries may lie within a run, on its keys or between them. An entry is visible in any case, so
//! putting a removed key again changes no run.

use crate::kv::gap::{Gap, ScanDirection};
use crate::kv::persistent_map::PersistentMap;

/// Entries and runs of hidden keys above a stored table; cloning is O(1).
#[derive(Clone)]
pub(crate) struct Memtable<K, V> {
    entries: PersistentMap<K, V>,
    /// The last key of each run, by its first.
    runs: PersistentMap<K, K>,
    /// The number of hidden keys.
    hidden: u64,
}

/// The stored keys on both sides of a stored key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbours<K> {
    pub(crate) before: Option<K>,
    pub(crate) after: Option<K>,
}

impl<K> Neighbours<K> {
    /// The neighbours of a key that could not be looked up, which is hidden by itself, whether it is
    /// stored or not. Readers may then meet two runs in a row.
    pub(crate) const UNKNOWN: Self = Self { before: None, after: None };
}

/// A run as a scan meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run<K> {
    /// The key that the scan meets first.
    pub(crate) near: K,
    pub(crate) far: K,
}

/// What a change of a key replaced, to undo it: changes are undone in reverse order.
pub(crate) struct Undo<K, V> {
    pub(crate) key: K,
    entry: Option<V>,
    /// If the change hid the key: the neighbours that were hidden before.
    hidden: Option<Neighbours<K>>,
}

impl<K, V> Undo<K, V> {
    /// Whether the change replaced an entry of the memtable.
    pub(crate) const fn replaced(&self) -> bool {
        self.entry.is_some()
    }

    /// Whether the change changed nothing, if it was a removal.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entry.is_none() && self.hidden.is_none()
    }
}

impl<K, V> Default for Memtable<K, V> {
    fn default() -> Self {
        Self::new(PersistentMap::default())
    }
}

impl<K, V> Memtable<K, V> {
    /// A memtable that hides nothing.
    pub(crate) fn new(entries: PersistentMap<K, V>) -> Self {
        Self { entries, runs: PersistentMap::default(), hidden: 0 }
    }
}

impl<K: Ord + Copy, V: Clone> Memtable<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.runs.is_empty()
    }

    /// What the memtable says about a key: its entry, `Some(None)` if it is hidden, or `None` if the
    /// stored table decides.
    pub(crate) fn get(&self, key: &K) -> Option<Option<&V>> {
        match self.entries.get(key) {
            Some(value) => Some(Some(value)),
            None => self.run_around(key).map(|_| None),
        }
    }

    pub(crate) fn put(&mut self, key: K, value: V) -> Undo<K, V> {
        Undo { key, entry: self.entries.put(key, value), hidden: None }
    }

    /// Removes a key. `stored` has its neighbours if the stored table has the key and it is not yet
    /// hidden.
    pub(crate) fn remove(&mut self, key: K, stored: Option<Neighbours<K>>) -> Undo<K, V> {
        let hidden = stored.map(|neighbours| self.hide(key, neighbours));
        Undo { key, entry: self.entries.take(&key), hidden }
    }

    /// Whether a stored entry of this key is hidden.
    pub(crate) fn hides(&self, key: &K) -> bool {
        self.run_around(key).is_some()
    }

    /// The first and last key of the run that contains `key`.
    fn run_around(&self, key: &K) -> Option<(K, K)> {
        let (first, last) = self.runs.at_or_below(key)?;
        (last >= key).then_some((*first, *last))
    }

    /// Hides a stored key: joins the runs of its neighbours, and returns those that have one.
    fn hide(&mut self, key: K, stored: Neighbours<K>) -> Neighbours<K> {
        let left = stored.before.and_then(|before| self.run_around(&before));
        let right = stored.after.and_then(|after| self.run_around(&after));
        let first = left.map_or(key, |(first, _)| first);
        let last = right.map_or(key, |(_, last)| last);
        // The run on the right, and runs of keys that are not stored.
        while let Some((joined, _)) = self.runs.above(&first).filter(|(joined, _)| **joined <= last)
        {
            let joined = *joined;
            self.runs.take(&joined);
        }
        self.runs.put(first, last);
        self.hidden += 1;
        let (before, after) = (left.map(|(_, last)| last), right.map(|(first, _)| first));
        Neighbours { before, after }
    }

    /// Undoes the last change that was not undone yet.
    pub(crate) fn undo(&mut self, undo: Undo<K, V>) {
        let Undo { key, entry, hidden } = undo;
        if let Some(hidden) = hidden
            && let Some((first, last)) = self.run_around(&key)
        {
            match hidden.before {
                Some(before) => self.runs.put(first, before),
                None => self.runs.take(&first),
            };
            if let Some(after) = hidden.after {
                self.runs.put(after, last);
            }
            self.hidden -= 1;
        }
        match entry {
            Some(value) => {
                self.entries.put(key, value);
            }
            None => {
                self.entries.take(&key);
            }
        }
    }

    /// The next entry from a gap on.
    pub(crate) fn next(&self, gap: Gap<K>, direction: ScanDirection) -> Option<(&K, &V)> {
        next(&self.entries, gap, direction)
    }

    /// The next run from a gap on, which may lie on both sides of the gap.
    pub(crate) fn next_run(&self, gap: Gap<K>, direction: ScanDirection) -> Option<Run<K>> {
        let next = || next(&self.runs, gap, direction).map(|(first, last)| (*first, *last));
        let (first, last) = match direction {
            ScanDirection::Ascending => {
                let around = self.run_around(&gap.key());
                around.filter(|(_, last)| gap.is_before(last, direction)).or_else(next)?
            }
            ScanDirection::Descending => next()?,
        };
        Some(match direction {
            ScanDirection::Ascending => Run { near: first, far: last },
            ScanDirection::Descending => Run { near: last, far: first },
        })
    }

    /// The entries in ascending order.
    pub(crate) fn entries(&self) -> &PersistentMap<K, V> {
        &self.entries
    }

    /// The number of hidden keys.
    pub(crate) const fn hidden(&self) -> u64 {
        self.hidden
    }

    /// The first and last key of each run, in ascending order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&K, &K)> {
        self.runs.iter()
    }
}

/// The next entry of a map from a gap on.
fn next<K: Ord + Copy, V: Clone>(
    map: &PersistentMap<K, V>,
    gap: Gap<K>,
    direction: ScanDirection,
) -> Option<(&K, &V)> {
    match (gap, direction) {
        (Gap::Before(key), ScanDirection::Ascending) => map.at_or_above(&key),
        (Gap::Before(key), ScanDirection::Descending) => map.below(&key),
        (Gap::After(key), ScanDirection::Ascending) => map.above(&key),
        (Gap::After(key), ScanDirection::Descending) => map.at_or_below(&key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const KEYS: u8 = 24;

    /// A stored table, the keys of it that are hidden, and the entries above it.
    #[derive(Clone, Default)]
    struct Model {
        stored: BTreeSet<u8>,
        hidden: BTreeSet<u8>,
        entries: BTreeMap<u8, u8>,
    }

    impl Model {
        fn neighbours(&self, key: u8) -> Option<Neighbours<u8>> {
            self.stored.contains(&key).then(|| Neighbours {
                before: self.stored.range(..key).next_back().copied(),
                after: self.stored.range(key + 1..).next().copied(),
            })
        }

        /// The maximal runs of stored keys that are hidden.
        fn runs(&self) -> Vec<(u8, u8)> {
            let stored: Vec<u8> = self.stored.iter().copied().collect();
            let groups = stored.chunk_by(|a, b| self.hidden.contains(a) == self.hidden.contains(b));
            let hidden = groups.filter(|group| self.hidden.contains(&group[0]));
            hidden.map(|group| (group[0], group[group.len() - 1])).collect()
        }

        #[track_caller]
        fn check(&self, memtable: &Memtable<u8, u8>) {
            let runs = self.runs();
            assert!(memtable.runs().map(|(first, last)| (*first, *last)).eq(runs.iter().copied()));
            assert!(memtable.entries().iter().eq(self.entries.iter()));
            assert_eq!(memtable.hidden(), self.hidden.len() as u64);
            assert_eq!(memtable.is_empty(), runs.is_empty() && self.entries.is_empty());
            for key in 0..KEYS {
                let entry = self.entries.get(&key).map(Some);
                let hidden = runs.iter().any(|(first, last)| (first..=last).contains(&&key));
                assert_eq!(memtable.get(&key), entry.or(hidden.then_some(None)));
                assert_eq!(memtable.hides(&key), hidden);
                for gap in [Gap::Before(key), Gap::After(key)] {
                    let up = ScanDirection::Ascending;
                    let run = runs.iter().find(|(_, last)| gap.is_before(last, up));
                    let run = run.map(|(first, last)| Run { near: *first, far: *last });
                    assert_eq!(memtable.next_run(gap, up), run);
                    let down = ScanDirection::Descending;
                    let run = runs.iter().rfind(|(first, _)| gap.is_before(first, down));
                    let run = run.map(|(first, last)| Run { near: *last, far: *first });
                    assert_eq!(memtable.next_run(gap, down), run);
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Remove(u8),
        /// Undoes this many of the last changes.
        Undo(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0..KEYS, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            4 => (0..KEYS).prop_map(Step::Remove),
            1 => (0..8_u8).prop_map(Step::Undo),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Runs are exactly the maximal intervals of hidden stored keys, whatever is removed, put
        /// again and undone; and a clone does not change.
        #[test]
        fn runs_are_the_maximal_intervals_of_hidden_stored_keys(
            stored in prop::collection::btree_set(0..KEYS, 0..usize::from(KEYS)),
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut model = Model { stored, ..Model::default() };
            let mut memtable = Memtable::default();
            let mut undone = Vec::new();
            for step in steps {
                let (clone, before) = (memtable.clone(), model.clone());
                match step {
                    Step::Put(key, value) => {
                        undone.push((memtable.put(key, value), before.clone()));
                        model.entries.insert(key, value);
                    }
                    Step::Remove(key) => {
                        let hides = !model.hidden.contains(&key);
                        let stored = model.neighbours(key).filter(|_| hides);
                        let removed = model.entries.remove(&key).is_some() || stored.is_some();
                        let undo = memtable.remove(key, stored);
                        prop_assert_eq!(undo.is_empty(), !removed);
                        undone.push((undo, before.clone()));
                        if model.stored.contains(&key) {
                            model.hidden.insert(key);
                        }
                    }
                    Step::Undo(count) => {
                        for _ in 0..count {
                            if let Some((undo, before)) = undone.pop() {
                                memtable.undo(undo);
                                model = before;
                            }
                        }
                    }
                }
                model.check(&memtable);
                before.check(&clone);
            }
        }

        /// Some keys are hidden without their neighbours: nothing else is hidden, in any direction.
        #[test]
        fn keys_hidden_without_their_neighbours_hide_no_others(
            stored in prop::collection::btree_set(0..KEYS, 0..usize::from(KEYS)),
            removed in prop::collection::vec((0..KEYS, any::<bool>()), 0..40),
        ) {
            let mut model = Model { stored, ..Model::default() };
            let mut memtable = Memtable::<u8, u8>::default();
            for (key, known) in removed {
                if !memtable.hides(&key) {
                    let unknown = Some(Neighbours::UNKNOWN);
                    memtable.remove(key, if known { model.neighbours(key) } else { unknown });
                }
                model.hidden.insert(key);
                let visible = model.stored.difference(&model.hidden).copied();
                let visible: Vec<u8> = visible.collect();
                let hides = |key: &&u8| memtable.hides(key);
                prop_assert!(model.stored.iter().filter(|key| !hides(key)).eq(visible.iter()));
                for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
                    prop_assert_eq!(scan(&memtable, &model.stored, direction), visible.clone());
                }
            }
        }
    }

    /// The visible stored keys, in ascending order, as a scan in `direction` finds them by its runs.
    fn scan(
        memtable: &Memtable<u8, u8>,
        stored: &BTreeSet<u8>,
        direction: ScanDirection,
    ) -> Vec<u8> {
        let mut keys: Vec<u8> = stored.iter().copied().collect();
        keys.sort_unstable_by(|a, b| direction.order(a, b));
        let start = match direction {
            ScanDirection::Ascending => Gap::Before(0),
            ScanDirection::Descending => Gap::After(KEYS),
        };
        let mut run = memtable.next_run(start, direction);
        let is_visible = |key: &u8| {
            while let Some(Run { near, far }) = run {
                if direction.order(key, &near).is_lt() {
                    return true;
                }
                if direction.order(key, &far).is_le() {
                    return false;
                }
                run = memtable.next_run(Gap::beyond(far, direction), direction);
            }
            true
        };
        let mut visible: Vec<u8> = keys.into_iter().filter(is_visible).collect();
        visible.sort_unstable();
        visible
    }
}
