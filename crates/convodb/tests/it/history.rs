//! History: change cursors and versions are refused by every store whose history lacks them.

use std::fs;
use std::path::{Path, PathBuf};

use convodb::{
    ChangeCursor, ChangesSince, Error, ListRequest, PageSize, Store, StoreOptions, StoreVersion,
    compact, restore,
};

use crate::TestUser;

/// A store with three conversations, and a backup of it.
struct Fixture {
    directory: tempfile::TempDir,
    acme: TestUser,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let acme = TestUser::of(&store);
        insert(&store, &acme, 3);
        store.snapshot().backup(directory.path().join("backup")).unwrap();
        store.close().unwrap();
        Self { directory, acme }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self, name: &str) -> Store {
        Store::open(self.path(name)).unwrap()
    }
}

fn insert(store: &Store, acme: &TestUser, count: usize) {
    for _ in 0..count {
        store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    }
}

fn now(store: &Store, acme: &TestUser) -> (ChangeCursor, StoreVersion) {
    let snapshot = store.snapshot();
    let size = PageSize::default();
    let changes = snapshot.changes_since(acme.user, ChangesSince::Now, size).unwrap();
    (changes.next_cursor, snapshot.version())
}

#[track_caller]
fn check_expired(store: &Store, acme: &TestUser, (cursor, version): (ChangeCursor, StoreVersion)) {
    let snapshot = store.snapshot();
    let since = ChangesSince::Cursor(cursor);
    let read = snapshot.changes_since(acme.user, since, PageSize::default());
    assert!(matches!(read, Err(Error::ChangesExpired)), "{read:?}");
    assert!(!snapshot.contains(version));
}

#[track_caller]
fn check_changes(
    store: &Store,
    acme: &TestUser,
    (cursor, version): (ChangeCursor, StoreVersion),
    count: usize,
) {
    let snapshot = store.snapshot();
    let since = ChangesSince::Cursor(cursor);
    let changes = snapshot.changes_since(acme.user, since, PageSize::default()).unwrap();
    assert_eq!(changes.changes.len(), count);
    assert!(snapshot.contains(version));
}

/// Whether fewer, as many or more changes are written than were lost, no cursor of before is taken.
#[test]
fn after_a_restore_every_change_cursor_has_expired_and_page_cursors_go_on() {
    let fixture = Fixture::new();
    let acme = &fixture.acme;
    let store = fixture.open("store");
    let early = now(&store, acme);
    let request = ListRequest::new().page_size(1).unwrap();
    let page = *store.snapshot().list(acme.user, &request).unwrap().next_cursor().unwrap();
    insert(&store, acme, 4);
    let late = now(&store, acme);
    store.close().unwrap();
    for written in [0, 1, 4, 9] {
        let name = format!("restored-{written}");
        assert!(restore(fixture.path("backup"), fixture.path(&name)).unwrap().is_clean());
        let store = fixture.open(&name);
        insert(&store, acme, written);
        check_expired(&store, acme, early);
        check_expired(&store, acme, late);
        let next = store.snapshot().list(acme.user, &ListRequest::at(page)).unwrap();
        assert_eq!(next.len(), 1);
        let own = now(&store, acme);
        insert(&store, acme, 2);
        check_changes(&store, acme, own, 2);
    }
}

/// The same for a copy of the file that is put back, and for a copy that another server uses.
#[test]
fn a_copy_of_the_file_refuses_what_the_original_issued_later() {
    let fixture = Fixture::new();
    let acme = &fixture.acme;
    let store = fixture.open("store");
    let before = now(&store, acme);
    store.close().unwrap();
    fs::copy(fixture.path("store"), fixture.path("copy")).unwrap();
    let store = fixture.open("store");
    insert(&store, acme, 2);
    let after = now(&store, acme);
    store.close().unwrap();

    let copy = fixture.open("copy");
    check_changes(&copy, acme, before, 0);
    check_expired(&copy, acme, after);
    insert(&copy, acme, 5);
    check_changes(&copy, acme, before, 5);
    check_expired(&copy, acme, after);
}

#[test]
fn cursors_go_on_after_closing_compacting_and_a_crash() {
    let fixture = Fixture::new();
    let acme = &fixture.acme;
    let store = fixture.open("store");
    let first = now(&store, acme);
    insert(&store, acme, 1);
    let second = now(&store, acme);
    store.close().unwrap();
    compact(fixture.path("store")).unwrap();
    let store = fixture.open("store");
    check_changes(&store, acme, first, 1);
    insert(&store, acme, 1);
    let third = now(&store, acme);
    let crashed = copy_of(fixture.directory.path());
    drop(store);
    let store = Store::open(crashed.path().join("store")).unwrap();
    insert(&store, acme, 1);
    for (cursor, count) in [(first, 3), (second, 2), (third, 1)] {
        check_changes(&store, acme, cursor, count);
    }
}

#[test]
fn giving_up_the_wal_begins_a_new_history() {
    let fixture = Fixture::new();
    let acme = &fixture.acme;
    let store = fixture.open("store");
    let early = now(&store, acme);
    insert(&store, acme, 1);
    let late = now(&store, acme);
    store.close().unwrap();
    let options = StoreOptions::new().without_wal(true);
    let store = Store::open_with(fixture.path("store"), &options).unwrap();
    for cursor in [early, late] {
        check_expired(&store, acme, cursor);
        insert(&store, acme, 1);
        check_expired(&store, acme, cursor);
    }
}

fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}
