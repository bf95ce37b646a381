//! WAL recovery: acknowledged writes survive, a torn last record is ignored, damage is an error, and
//! a WAL that is not the store's own is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use convodb::{Durability, Error, Store, StoreOptions};

use crate::{TestUser, count};

/// A copy of the files of an open store, whose tables contain only the accounts: all conversations
/// are in the WAL.
struct Crashed {
    directory: tempfile::TempDir,
    acme: TestUser,
}

/// Simulates a crash after `rows` inserts, each in a group of its own, before any checkpoint.
fn crashed(rows: usize) -> Crashed {
    loop {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap();
        let acme = TestUser::of(&store);
        store.clone().close().unwrap();
        let store = Store::open(&path).unwrap();
        for _ in 0..rows {
            store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
        }
        let crashed = Crashed { directory: tempfile::tempdir().unwrap(), acme };
        let files: Vec<PathBuf> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        for file in &files {
            fs::copy(file, crashed.directory.path().join(file.file_name().unwrap())).unwrap();
        }
        // On a slow machine a checkpoint may have begun after a second. Then try again.
        if files.len() == 2 && files.iter().all(|file| file.exists()) {
            return crashed;
        }
    }
}

impl Crashed {
    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The path of the only WAL segment.
    fn segment(&self) -> PathBuf {
        segment_of(self.directory.path())
    }
}

/// The path of the only WAL segment in a directory.
fn segment_of(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_str().unwrap().contains("store-log.")).unwrap()
}

/// Copies all files of a directory: the disk after a crash at this moment.
fn copy_files(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// Recovers the store and expects it to be clean, with this number of conversations.
#[track_caller]
fn check(path: &Path, acme: &TestUser, rows: usize) {
    let store = Store::open(path).unwrap();
    assert_eq!(count(&store, acme.user), rows);
    assert!(store.snapshot().verify().unwrap().is_clean());
    store.close().unwrap();
}

#[test]
fn a_crash_loses_no_acknowledged_write() {
    let crashed = crashed(40);
    check(&crashed.store(), &crashed.acme, 40);
    let files = fs::read_dir(crashed.directory.path()).unwrap().count();
    assert_eq!(files, 1, "a closed store has no WAL");
    check(&crashed.store(), &crashed.acme, 40);
}

/// Expects the store to be refused and its files to be unchanged.
#[track_caller]
fn check_refused(path: &Path) {
    let files = || -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(path.parent().unwrap()).unwrap();
        entries.map(|e| e.unwrap().path()).map(|p| (p.clone(), fs::read(p).unwrap())).collect()
    };
    let before = files();
    for options in [StoreOptions::new(), StoreOptions::new().durability(Durability::Deferred)] {
        let refused = Store::open_with(path, &options).unwrap_err();
        assert!(matches!(refused, Error::WalMismatch { .. }), "{refused}");
    }
    assert!(files() == before, "a refused store was changed");
}

#[test]
fn a_wal_that_is_cut_short_is_refused() {
    let crashed = crashed(12);
    let segment = fs::read(crashed.segment()).unwrap();
    for cut in [0, 30, 60, segment.len() / 3, segment.len() / 2, segment.len() - 1] {
        fs::write(crashed.segment(), &segment[..cut]).unwrap();
        check_refused(&crashed.store());
    }
    fs::write(crashed.segment(), &segment).unwrap();
    check(&crashed.store(), &crashed.acme, 12);
}

#[test]
fn a_wal_that_is_missing_is_refused_until_it_is_back_or_given_up() {
    let crashed = crashed(5);
    let (segment, elsewhere) = (crashed.segment(), crashed.directory.path().join("elsewhere"));
    fs::rename(&segment, &elsewhere).unwrap();
    check_refused(&crashed.store());
    fs::rename(&elsewhere, &segment).unwrap();
    let link = crashed.directory.path().join("link");
    fs::hard_link(crashed.store(), &link).unwrap();
    check_refused(&link);
    fs::remove_file(&link).unwrap();
    let copy = copy_files(crashed.directory.path());
    check(&copy.path().join("store"), &crashed.acme, 5);

    fs::remove_file(&segment).unwrap();
    let store = Store::open_with(crashed.store(), &StoreOptions::new().without_wal(true)).unwrap();
    assert_eq!(count(&store, crashed.acme.user), 0);
    store.insert(crashed.acme.user, crashed.acme.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    check(&crashed.store(), &crashed.acme, 1);
}

/// Two copies of a store have two histories. Neither replays the WAL of the other.
#[test]
fn the_wal_of_another_copy_is_refused() {
    let crashed = crashed(3);
    let copy = copy_files(crashed.directory.path());
    let other = copy.path().join("store");
    check(&other, &crashed.acme, 3);
    let closed = fs::read(&other).unwrap();
    // The copy is written, and crashes.
    let store = Store::open(&other).unwrap();
    store.insert(crashed.acme.user, crashed.acme.conversation(), Vec::new()).unwrap();
    let second = copy_files(copy.path());
    drop(store);
    let segment = segment_of(second.path());
    // Its log beside the original, beside a closed copy, and beside a copy that was written elsewhere.
    let original_segment = crashed.segment();
    let original = fs::read(&original_segment).unwrap();
    fs::remove_file(&original_segment).unwrap();
    fs::copy(&segment, crashed.directory.path().join(segment.file_name().unwrap())).unwrap();
    check_refused(&crashed.store());
    fs::remove_file(crashed.segment()).unwrap();
    fs::write(&original_segment, original).unwrap();
    check(&crashed.store(), &crashed.acme, 3);

    fs::write(second.path().join("store"), &closed).unwrap();
    check_refused(&second.path().join("store"));
    fs::remove_file(&segment).unwrap();
    check(&second.path().join("store"), &crashed.acme, 3);
}

#[test]
fn writes_after_a_torn_last_record_survive_a_second_crash() {
    let first = crashed(5);
    let mut segment = fs::read(first.segment()).unwrap();
    let last = segment.iter().rposition(|byte| *byte != 0).unwrap();
    segment[last - 3..=last].fill(0);
    fs::write(first.segment(), &segment).unwrap();
    let store = Store::open(first.store()).unwrap();
    store.insert(first.acme.user, first.acme.conversation(), Vec::new()).unwrap();
    store.insert(first.acme.user, first.acme.conversation(), Vec::new()).unwrap();
    let copy = copy_files(first.directory.path());
    check(&copy.path().join("store"), &first.acme, 6);
}

#[test]
fn damage_before_the_end_of_the_wal_is_corruption() {
    let crashed = crashed(12);
    let mut segment = fs::read(crashed.segment()).unwrap();
    segment[100] ^= 1;
    fs::write(crashed.segment(), &segment).unwrap();
    let error = Store::open(crashed.store()).unwrap_err();
    assert!(matches!(error, Error::Corrupted { table: "wal", .. }), "{error}");
}

#[test]
fn a_wal_without_its_store_is_refused() {
    let crashed = crashed(3);
    let store = fs::read(crashed.store()).unwrap();
    fs::remove_file(crashed.store()).unwrap();
    check_refused(&crashed.store());
    fs::write(crashed.store(), store).unwrap();
    check(&crashed.store(), &crashed.acme, 3);
}

#[test]
fn opening_with_deferred_durability_preserves_recovered_writes() {
    let crashed = crashed(9);
    let options = StoreOptions::new().durability(Durability::Deferred);
    let store = Store::open_with(crashed.store(), &options).unwrap();
    assert_eq!(count(&store, crashed.acme.user), 9);
    let copy = tempfile::tempdir().unwrap();
    fs::copy(crashed.store(), copy.path().join("store")).unwrap();
    check(&copy.path().join("store"), &crashed.acme, 9);
}

#[test]
fn recovery_replays_deletions_and_no_rolled_back_write() {
    let crashed = crashed(3);
    let (user, path) = (crashed.acme.user, crashed.store());
    let store = Store::open(&path).unwrap();
    let conversation = crashed.acme.conversation();
    let id = conversation.id;
    store.insert(user, conversation.clone(), Vec::new()).unwrap();
    store.delete(user, id).unwrap();
    let refused = store.write(move |transaction| {
        transaction.insert(user, conversation, Vec::new())?;
        Err::<(), _>(Error::UserNotFound)
    });
    assert!(matches!(refused, Err(Error::UserNotFound)));
    let copy = copy_files(crashed.directory.path());
    check(&copy.path().join("store"), &crashed.acme, 3);
}

/// The WAL is in the directory of the file itself, even if the store is opened through a link.
#[cfg(unix)]
#[test]
fn the_wal_is_found_through_a_symlink() {
    let crashed = crashed(3);
    let link = crashed.directory.path().join("link");
    std::os::unix::fs::symlink("store", &link).unwrap();
    check(&link, &crashed.acme, 3);
    check(&crashed.store(), &crashed.acme, 3);
}
