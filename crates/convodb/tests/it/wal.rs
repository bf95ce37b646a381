//! What the log promises: what was acknowledged is there after a crash, and what is not whole is told.

use std::fs;
use std::path::{Path, PathBuf};

use convodb::{Durability, Error, Store, StoreOptions};

use crate::{Owner, count};

/// The files of a store, taken while it was open with nothing in its tables yet but its accounts.
struct Crashed {
    directory: tempfile::TempDir,
    owner: Owner,
}

/// A crash after `rows` writes, each a group of its own, none of which a checkpoint has seen.
fn crashed(rows: usize) -> Crashed {
    loop {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap();
        let owner = Owner::of(&store);
        store.clone().close().unwrap();
        let store = Store::open(&path).unwrap();
        for _ in 0..rows {
            store.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
        }
        let crashed = Crashed { directory: tempfile::tempdir().unwrap(), owner };
        let files: Vec<PathBuf> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        for file in &files {
            fs::copy(file, crashed.directory.path().join(file.file_name().unwrap())).unwrap();
        }
        // On a slow machine a checkpoint may have begun after a second: then once more.
        if files.len() == 2 && files.iter().all(|file| file.exists()) {
            return crashed;
        }
    }
}

impl Crashed {
    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn segment(&self) -> PathBuf {
        let mut files = fs::read_dir(self.directory.path()).unwrap().map(|e| e.unwrap().path());
        files.find(|path| path.file_name().unwrap() != "store").unwrap()
    }
}

#[track_caller]
fn check(path: &Path, owner: &Owner, rows: usize) {
    let store = Store::open(path).unwrap();
    assert_eq!(count(&store, owner.user), rows);
    assert!(store.snapshot().verify().unwrap().is_clean());
    store.close().unwrap();
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    let crashed = crashed(40);
    check(&crashed.store(), &crashed.owner, 40);
    let files = fs::read_dir(crashed.directory.path()).unwrap().count();
    assert_eq!(files, 1, "a store that was closed has no log");
    check(&crashed.store(), &crashed.owner, 40);
}

#[test]
fn a_log_cut_anywhere_loses_only_the_writes_that_were_cut() {
    let crashed = crashed(12);
    let (store, segment) =
        (fs::read(crashed.store()).unwrap(), fs::read(crashed.segment()).unwrap());
    let path = crashed.segment();
    let record = (segment.len() - 28) / 12;
    for cut in (0..segment.len()).step_by(97) {
        fs::write(crashed.store(), &store).unwrap();
        fs::write(&path, &segment[..cut]).unwrap();
        check(&crashed.store(), &crashed.owner, cut.saturating_sub(28) / record);
    }
}

#[test]
fn a_store_goes_on_after_a_torn_log_and_crashes_again() {
    let first = crashed(5);
    let segment = fs::read(first.segment()).unwrap();
    fs::write(first.segment(), &segment[..segment.len() - 3]).unwrap();
    let store = Store::open(first.store()).unwrap();
    store.insert(first.owner.user, first.owner.conversation(), Vec::new()).unwrap();
    store.insert(first.owner.user, first.owner.conversation(), Vec::new()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(first.directory.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    check(&copy.path().join("store"), &first.owner, 6);
}

#[test]
fn damage_before_the_end_of_the_log_is_told() {
    let crashed = crashed(12);
    let mut segment = fs::read(crashed.segment()).unwrap();
    segment[100] ^= 1;
    fs::write(crashed.segment(), &segment).unwrap();
    let refused = Store::open(crashed.store()).unwrap_err();
    assert!(matches!(refused, Error::Corrupted { table: "wal", .. }), "{refused}");
}

#[test]
fn a_log_without_its_store_is_not_thrown_away() {
    let crashed = crashed(3);
    fs::remove_file(crashed.store()).unwrap();
    let refused = Store::open(crashed.store()).unwrap_err();
    assert!(matches!(refused, Error::Corrupted { table: "wal", .. }), "{refused}");
    assert!(crashed.segment().exists());
}

#[test]
fn deferred_writes_after_a_crash_keep_what_was_durable_before() {
    let crashed = crashed(9);
    let options = StoreOptions::new().durability(Durability::Deferred);
    let store = Store::open_with(crashed.store(), &options).unwrap();
    assert_eq!(count(&store, crashed.owner.user), 9);
    let again = tempfile::tempdir().unwrap();
    fs::copy(crashed.store(), again.path().join("store")).unwrap();
    check(&again.path().join("store"), &crashed.owner, 9);
}

#[test]
fn removals_and_failures_leave_nothing_in_the_log_that_is_not_so() {
    let crashed = crashed(3);
    let (user, path) = (crashed.owner.user, crashed.store());
    let store = Store::open(&path).unwrap();
    let kept = crashed.owner.conversation();
    let (id, row) = (kept.id, kept.clone());
    store.insert(user, row, Vec::new()).unwrap();
    store.delete(user, id).unwrap();
    let refused = store.write(move |transaction| {
        transaction.insert(user, kept, Vec::new())?;
        Err::<(), _>(Error::UserNotFound)
    });
    assert!(matches!(refused, Err(Error::UserNotFound)));
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(crashed.directory.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    check(&copy.path().join("store"), &crashed.owner, 3);
}

/// The log stands beside the file, whichever link the store is opened by.
#[cfg(unix)]
#[test]
fn the_log_is_found_through_a_link() {
    let crashed = crashed(3);
    let link = crashed.directory.path().join("link");
    std::os::unix::fs::symlink("store", &link).unwrap();
    check(&link, &crashed.owner, 3);
    check(&crashed.store(), &crashed.owner, 3);
}
