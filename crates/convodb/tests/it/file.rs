//! Store files: creation, clean close, the check on open, loss of the name while open, and rejection
//! of foreign files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convodb::{ConversationId, Durability, Error, IndexFamilies, Store, StoreOptions, StoreState};
use convodb_testkit::wait;
use redb::{Database, TableDefinition};

use crate::{TestUser, count};

const META: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("meta");

/// A path for a store in a new temporary directory.
fn store_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    (directory, path)
}

/// Opening the file fails, and changes no byte of it.
#[track_caller]
fn check_rejected(path: &Path, expected: fn(&Error) -> bool) {
    let before = fs::read(path).unwrap();
    let error = Store::open(path).unwrap_err();
    assert!(expected(&error), "{error}");
    assert!(fs::read(path).unwrap() == before, "the file was changed");
}

#[test]
fn a_closed_store_is_one_file_and_reopens() {
    let (directory, path) = store_path();
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    let names: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["store.convodb"]);
    assert_eq!(count(&Store::open(&path).unwrap(), acme.user), 1);
}

#[cfg(unix)]
#[test]
fn a_new_store_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = store_path();
    Store::open(&path).unwrap().close().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn dropping_the_last_clone_closes_the_file() {
    let (_directory, path) = store_path();
    let store = Store::open(&path).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(matches!(Store::open(&path), Err(Error::InUse { .. })), "a clone is still open");
    drop(clone);
    Store::open(&path).unwrap();
}

#[test]
fn closing_a_store_flushes_deferred_writes() {
    let (_directory, path) = store_path();
    let options = StoreOptions::new().durability(Durability::Deferred);
    let store = Store::open_with(&path, &options).unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    assert_eq!(count(&Store::open(&path).unwrap(), acme.user), 1);
}

/// A new store whose file names another format.
fn store_of_format(format: u32) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = store_path();
    Store::open(&path).unwrap().close().unwrap();
    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    let format = format.to_be_bytes();
    write.open_table(META).unwrap().insert(b"format".as_slice(), format.as_slice()).unwrap();
    write.commit().unwrap();
    database.close().unwrap();
    (directory, path)
}

#[test]
fn a_newer_format_is_rejected_and_the_file_is_unchanged() {
    let (_directory, path) = store_of_format(6);
    check_rejected(&path, |error| matches!(error, Error::NewerFormat { found: 6, supported: 5 }));
}

#[test]
fn an_older_format_is_not_upgraded_for_reading_only() {
    let (directory, path) = store_of_format(4);
    let before = files(directory.path());
    let error = Store::open_with(&path, &StoreOptions::new().read_only(true)).unwrap_err();
    assert!(matches!(error, Error::OlderFormat { found: 4, supported: 5 }), "{error}");
    assert!(files(directory.path()) == before, "a file was changed");
}

/// An older version would not keep it up.
#[test]
fn an_unknown_index_is_rejected_and_the_file_is_unchanged() {
    let (_directory, path) = store_path();
    Store::open_with(&path, &StoreOptions::new().indexes(IndexFamilies::ALL))
        .and_then(Store::close)
        .unwrap();
    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert(b"index.future".as_slice(), [2].as_slice()).unwrap();
    write.commit().unwrap();
    database.close().unwrap();
    check_rejected(
        &path,
        |error| matches!(error, Error::UnknownIndex { index } if index == "future"),
    );
}

#[test]
fn a_file_of_another_program_is_rejected_and_unchanged() {
    let not_a_store = |error: &Error| matches!(error, Error::NotAStore(_));
    let (_directory, path) = store_path();
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(TableDefinition::<u64, u64>::new("other")).unwrap();
    write.commit().unwrap();
    database.close().unwrap();
    check_rejected(&path, not_a_store);

    for text in ["", "not a store\n", &"{\"id\": 1}\n".repeat(2_000)] {
        fs::write(&path, text).unwrap();
        check_rejected(&path, not_a_store);
    }
}

#[test]
fn a_missing_directory_and_a_directory_as_path_are_io_errors() {
    let (directory, path) = store_path();
    assert!(matches!(Store::open(path.join("below")), Err(Error::Io(_))));
    assert!(matches!(Store::open(directory.path()), Err(Error::Io(_))));
}

/// Opens the store with a check of every page, and closes it.
fn open_checked(path: &Path) -> convodb::Result<()> {
    let options = StoreOptions::new().check_on_open(true);
    Store::open_with(path, &options)?.close()
}

/// One flipped bit in any page is detected, unless the last commit does not use the page.
#[test]
fn a_check_on_open_detects_damaged_pages() {
    let (_directory, path) = store_path();
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    for _ in 0..40 {
        store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    }
    store.close().unwrap();
    open_checked(&path).unwrap();
    let intact = fs::read(&path).unwrap();
    let mut detected = 0;
    for page in 1..intact.len() / 4096 {
        if intact[page * 4096..][..4096].iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut damaged = intact.clone();
        damaged[page * 4096 + 20] ^= 1;
        fs::write(&path, &damaged).unwrap();
        match open_checked(&path) {
            Err(Error::Corrupted { .. } | Error::NotAStore(_)) => {
                detected += 1;
                // Without the check, opening succeeds or fails, but does not panic.
                let _ = Store::open(&path);
            }
            Err(other) => panic!("page {page}: {other}"),
            Ok(()) => {
                let store = Store::open(&path).unwrap();
                assert_eq!(count(&store, acme.user), 40, "page {page}");
                assert!(store.snapshot().verify().unwrap().is_clean(), "page {page}");
                store.close().unwrap();
            }
        }
    }
    assert!(detected >= 10, "{detected} damaged pages were detected");
}

/// Writes until one is refused, and returns the ids of those that were acknowledged.
fn write_until_refused(store: &Store, acme: &TestUser) -> Vec<ConversationId> {
    let (mut acknowledged, since) = (Vec::new(), Instant::now());
    loop {
        let conversation = acme.conversation();
        let id = conversation.id;
        match store.insert(acme.user, conversation, Vec::new()) {
            Ok(()) => acknowledged.push(id),
            Err(error) => {
                assert!(matches!(error, Error::WriteAborted { .. }), "{error}");
                return acknowledged;
            }
        }
        assert!(since.elapsed() < Duration::from_secs(20), "writes are acknowledged for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a write is accepted again, and checks that all that was acknowledged is there.
fn check_recovered(store: &Store, acme: &TestUser, acknowledged: &[ConversationId]) {
    wait::until("the store recovers", || {
        store.insert(acme.user, acme.conversation(), Vec::new()).is_ok()
    });
    for id in acknowledged {
        assert!(store.snapshot().conversation(acme.user, *id).unwrap().is_some());
    }
    assert!(store.snapshot().verify().unwrap().is_clean());
}

#[cfg(unix)]
#[test]
fn a_file_that_loses_its_name_is_noticed_and_taken_up_again() {
    let (directory, path) = store_path();
    let (_other_directory, other) = store_path();
    Store::open(&other).unwrap().close().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);

    fs::rename(&path, &elsewhere).unwrap();
    let mut acknowledged = write_until_refused(&store, &acme);
    assert_ne!(store.state(), StoreState::Open);
    let fault = store.last_fault().unwrap().to_string();
    assert!(fault.contains("removed or moved"), "{fault}");
    fs::rename(&elsewhere, &path).unwrap();
    check_recovered(&store, &acme, &acknowledged);

    // Another store takes the name.
    fs::rename(&path, &elsewhere).unwrap();
    fs::copy(&other, &path).unwrap();
    acknowledged.extend(write_until_refused(&store, &acme));
    fs::rename(&elsewhere, &path).unwrap();
    check_recovered(&store, &acme, &acknowledged);
    store.close().unwrap();
    let names = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 1, "a segment was left");
}

#[cfg(unix)]
#[test]
fn closing_a_removed_store_fails_if_its_file_lacks_writes() {
    let (directory, path) = store_path();
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    let acknowledged = write_until_refused(&store, &acme);
    assert!(store.close().is_err());
    // The log is still there.
    fs::rename(&elsewhere, &path).unwrap();
    let store = Store::open(&path).unwrap();
    check_recovered(&store, &acme, &acknowledged);
}

#[cfg(unix)]
#[test]
fn a_truncated_file_is_noticed() {
    let (_directory, path) = store_path();
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
    write_until_refused(&store, &acme);
    assert!(store.close().is_err());
}

/// The files of a directory with their bytes.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_store_that_is_opened_for_reading_only_changes_no_file() {
    let (directory, path) = store_path();
    let options = StoreOptions::new().background_checkpoints(false);
    let store = Store::open_with(&path, &options).unwrap();
    let acme = TestUser::of(&store);
    for _ in 0..3 {
        store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    }
    // As a crash leaves them: the last writes are in the WAL alone.
    let crashed = tempfile::tempdir().unwrap();
    for (file, bytes) in files(directory.path()) {
        fs::write(crashed.path().join(file.file_name().unwrap()), bytes).unwrap();
    }
    let path = crashed.path().join("store.convodb");
    let before = files(crashed.path());
    assert!(before.len() > 1, "a WAL is beside the store");

    let read_only = StoreOptions::new().read_only(true);
    let (one, two) = (Store::open_with(&path, &read_only), Store::open_with(&path, &read_only));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((count(&one, acme.user), one.state()), (3, StoreState::ReadOnly));
    assert!(one.snapshot().verify().unwrap().is_clean());
    let refused = one.insert(acme.user, acme.conversation(), Vec::new());
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    assert!(one.last_fault().is_none());
    one.close().unwrap();
    let waiting = Store::open(&path).unwrap();
    assert_eq!((count(&waiting, acme.user), waiting.state()), (3, StoreState::ReadOnly));
    assert!(waiting.delete_assistant(acme.user, acme.assistant).unwrap_err().is_retryable());
    drop(waiting);
    two.close().unwrap();
    assert!(files(crashed.path()) == before, "a file was changed");

    assert_eq!(count(&Store::open(&path).unwrap(), acme.user), 3);
    let missing = crashed.path().join("missing");
    assert!(Store::open_with(&missing, &read_only).is_err() && !missing.exists());
    assert_eq!(count(&store, acme.user), 3);
    let error = Store::open_with(directory.path().join("store.convodb"), &read_only).unwrap_err();
    assert!(matches!(error, Error::InUse { this_process: true, .. }), "{error}");
}
