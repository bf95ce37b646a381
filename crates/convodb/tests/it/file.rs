//! Files: made whole or not at all, and left alone when they are not ours.

use std::fs;
use std::path::{Path, PathBuf};

use convodb::{Durability, Error, Store, StoreOptions};
use redb::{Database, TableDefinition};

use crate::{Owner, count};

const META: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("meta");

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    (directory, path)
}

/// The file is refused, and not a byte of it changes.
#[track_caller]
fn check_refused(path: &Path, expected: fn(&Error) -> bool) {
    let before = fs::read(path).unwrap();
    let error = Store::open(path).unwrap_err();
    assert!(expected(&error), "{error}");
    assert!(fs::read(path).unwrap() == before, "the file was changed");
}

#[test]
fn a_new_store_is_one_file_and_opens_again() {
    let (directory, path) = directory();
    let store = Store::open(&path).unwrap();
    let owner = Owner::of(&store);
    store.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    let names: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["store.convodb"]);
    assert_eq!(count(&Store::open(&path).unwrap(), owner.user), 1);
}

#[cfg(unix)]
#[test]
fn a_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = directory();
    Store::open(&path).unwrap().close().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn dropping_the_last_clone_closes_the_file() {
    let (_directory, path) = directory();
    let store = Store::open(&path).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(matches!(Store::open(&path), Err(Error::InUse { .. })), "a clone still holds it");
    drop(clone);
    Store::open(&path).unwrap();
}

#[test]
fn deferred_writes_are_on_disk_once_the_store_is_closed() {
    let (_directory, path) = directory();
    let options = StoreOptions::new().durability(Durability::Deferred);
    let store = Store::open_with(&path, &options).unwrap();
    let owner = Owner::of(&store);
    store.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    assert_eq!(count(&Store::open(&path).unwrap(), owner.user), 1);
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let (_directory, path) = directory();
    Store::open(&path).unwrap().close().unwrap();
    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    let newer = 3_u32.to_be_bytes();
    write.open_table(META).unwrap().insert(b"format".as_slice(), newer.as_slice()).unwrap();
    write.commit().unwrap();
    database.close().unwrap();
    check_refused(&path, |error| matches!(error, Error::NewerFormat { found: 3, supported: 2 }));
}

#[test]
fn other_files_are_refused_untouched() {
    let not_a_store = |error: &Error| matches!(error, Error::NotAStore(_));
    let (_directory, path) = directory();
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(TableDefinition::<u64, u64>::new("other")).unwrap();
    write.commit().unwrap();
    database.close().unwrap();
    check_refused(&path, not_a_store);

    for text in ["", "not a store\n", &"{\"id\": 1}\n".repeat(2_000)] {
        fs::write(&path, text).unwrap();
        check_refused(&path, not_a_store);
    }
}

#[test]
fn a_directory_that_is_missing_or_a_path_that_is_one_is_an_error() {
    let (directory, path) = directory();
    assert!(matches!(Store::open(path.join("below")), Err(Error::Io(_))));
    assert!(matches!(Store::open(directory.path()), Err(Error::Io(_))));
}

/// Opens the store, every page checked, and closes it.
fn checked(path: &Path) -> convodb::Result<()> {
    let options = StoreOptions::new().check_on_open(true);
    Store::open_with(path, &options)?.close()
}

/// Each page with a byte changed is either found, or one that the last commit does not have.
#[test]
fn a_page_that_is_not_what_was_written_is_found() {
    let (_directory, path) = directory();
    let store = Store::open(&path).unwrap();
    let owner = Owner::of(&store);
    for _ in 0..40 {
        store.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
    }
    store.close().unwrap();
    checked(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    for page in 1..whole.len() / 4096 {
        if whole[page * 4096..][..4096].iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut damaged = whole.clone();
        damaged[page * 4096 + 20] ^= 1;
        fs::write(&path, &damaged).unwrap();
        match checked(&path) {
            Err(Error::Corrupted { .. } | Error::NotAStore(_)) => {
                found += 1;
                // It is opened, or refused, and ends no process.
                let _ = Store::open(&path);
            }
            Err(other) => panic!("page {page}: {other}"),
            Ok(()) => {
                let store = Store::open(&path).unwrap();
                assert_eq!(count(&store, owner.user), 40, "page {page}");
                assert!(store.snapshot().verify().unwrap().is_clean(), "page {page}");
                store.close().unwrap();
            }
        }
    }
    assert!(found >= 10, "{found} pages were found");
}
