//! The names on a disk: as the running system sees them, and as a power cut would leave them.
//!
//! What becomes of names is durable from the next sync of the directory on. Of what came later a
//! power cut leaves any part; a name that a file took from another is the one's or the other's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::inode::Luck;

/// Directory, each of the file with this number.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// What is not durable yet, in order.
    pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Given(PathBuf, usize),
    Taken(PathBuf),
    /// The second name is given in place of the first.
    Replaced(PathBuf, PathBuf, usize),
}

impl Directory {
    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.live.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn check_free(&self, path: &Path) -> io::Result<()> {
        match self.live.contains_key(path) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => Ok(()),
        }
    }

    pub(super) fn inside(&self, directory: &Path) -> Vec<PathBuf> {
        self.live.keys().filter(|path| path.parent() == Some(directory)).cloned().collect()
    }

    pub(super) fn give(&mut self, path: &Path, file: usize) {
        self.change(NameChange::Given(path.to_owned(), file));
    }

    pub(super) fn take(&mut self, path: &Path) {
        self.change(NameChange::Taken(path.to_owned()));
    }

    pub(super) fn replace(&mut self, from: &Path, to: &Path, file: usize) {
        self.change(NameChange::Replaced(from.to_owned(), to.to_owned(), file));
    }

    fn change(&mut self, renaming: NameChange) {
        renaming.apply(&mut self.live, true);
        self.pending.push(renaming);
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.live.clone();
        self.pending.clear();
    }

    /// What a power cut leaves of them.
    pub(super) fn survivor(&self, luck: &mut Luck) -> Self {
        let mut names = self.durable.clone();
        for renaming in &self.pending {
            if luck.keeps() {
                // The name that it had before may be left, but never goes alone.
                let whole = !matches!(renaming, NameChange::Replaced(..)) || luck.keeps();
                renaming.apply(&mut names, whole);
            }
        }
        Self { live: names.clone(), durable: names, pending: Vec::new() }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>, whole: bool) {
        match self {
            NameChange::Given(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameChange::Taken(path) => {
                names.remove(path);
            }
            NameChange::Replaced(from, to, file) => {
                names.insert(to.clone(), *file);
                if whole {
                    names.remove(from);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_cut_leaves_a_replaced_name_with_the_one_file_or_the_other() {
        let (old, new) = (Path::new("/a"), Path::new("/.a.new"));
        let mut names = Directory::default();
        names.give(old, 1);
        names.give(new, 2);
        names.sync();
        names.replace(new, old, 2);
        assert_eq!((names.find(old).ok(), names.find(new).ok()), (Some(2), None));
        let left = |names: &Directory, seed| {
            let mut luck = Luck::new(ChaCha8Rng::seed_from_u64(seed));
            let left = names.survivor(&mut luck);
            (left.find(old).ok(), left.find(new).ok())
        };
        let seen: BTreeSet<_> = (0..100).map(|seed| left(&names, seed)).collect();
        let expected = [(Some(1), Some(2)), (Some(2), None), (Some(2), Some(2))];
        assert_eq!(seen, BTreeSet::from(expected));
        names.sync();
        assert!((0..100).all(|seed| left(&names, seed) == (Some(2), None)));
    }
}
