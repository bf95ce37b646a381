//! Directory of a simulated disk: file names in memory, and the names that a power cut leaves.
//!
//! A sync of the directory makes name changes durable. A power cut applies any subset of the later
//! ones. A rename over an existing file leaves the name with the old file or with the new one,
//! never with neither.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::inode::Survival;

/// Names, each with the number of its inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    current: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Changes since the last sync, in order.
    unsynced: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    /// From the first name to the second.
    Rename(PathBuf, PathBuf, usize),
}

impl Directory {
    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.current.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether the inode has a name.
    pub(super) fn has(&self, inode: usize) -> bool {
        self.current.values().any(|named| *named == inode)
    }

    pub(super) fn check_absent(&self, path: &Path) -> io::Result<()> {
        match self.current.contains_key(path) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => Ok(()),
        }
    }

    pub(super) fn list(&self, directory: &Path) -> Vec<PathBuf> {
        self.current.keys().filter(|path| path.parent() == Some(directory)).cloned().collect()
    }

    pub(super) fn link(&mut self, path: &Path, inode: usize) {
        self.change(NameChange::Link(path.to_owned(), inode));
    }

    pub(super) fn unlink(&mut self, path: &Path) {
        self.change(NameChange::Unlink(path.to_owned()));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, inode: usize) {
        self.change(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current, true);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.current.clone();
        self.unsynced.clear();
    }

    /// The directory after a power cut.
    pub(super) fn after_power_cut(&self, survival: &mut Survival) -> Self {
        let mut names = self.durable.clone();
        for change in &self.unsynced {
            if survival.keeps_change() {
                // A rename may leave the old name too, but never removes it without adding the new
                // one.
                let complete = !matches!(change, NameChange::Rename(..)) || survival.keeps_change();
                change.apply(&mut names, complete);
            }
        }
        Self { current: names.clone(), durable: names, unsynced: Vec::new() }
    }
}

impl NameChange {
    /// Applies the change. A rename that is not `complete` leaves the old name.
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>, complete: bool) {
        match self {
            NameChange::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to, inode) => {
                names.insert(to.clone(), *inode);
                if complete {
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
    fn power_cut_during_rename_leaves_the_old_file_or_the_new_one() {
        let (old, new) = (Path::new("/a"), Path::new("/.a.new"));
        let mut names = Directory::default();
        names.link(old, 1);
        names.link(new, 2);
        names.sync();
        names.rename(new, old, 2);
        assert_eq!((names.find(old).ok(), names.find(new).ok()), (Some(2), None));
        let after_cut = |names: &Directory, seed| {
            let mut survival = Survival::random(ChaCha8Rng::seed_from_u64(seed));
            let left = names.after_power_cut(&mut survival);
            (left.find(old).ok(), left.find(new).ok())
        };
        let seen: BTreeSet<_> = (0..100).map(|seed| after_cut(&names, seed)).collect();
        let expected = [(Some(1), Some(2)), (Some(2), None), (Some(2), Some(2))];
        assert_eq!(seen, BTreeSet::from(expected));
        names.sync();
        assert!((0..100).all(|seed| after_cut(&names, seed) == (Some(2), None)));
    }
}
