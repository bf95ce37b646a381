//! Backup, restore and compaction: consistent copies, and rejection of modified backups.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use convodb::{
    ChecksumPolicy, Error, ListRequest, MaintenanceOptions, Message, Page, Role, Snapshot, Store,
    StoreOptions, Timestamp, UserId, checksum_path, compact, restore, restore_with,
};

use crate::{TestUser, count, user_of};

/// A temporary directory.
struct Directory {
    temporary: tempfile::TempDir,
}

impl Directory {
    fn new() -> Self {
        Self { temporary: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.temporary.path().join(name)
    }

    /// The names of all files, sorted.
    fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temporary.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn is_clean(path: &Path) -> bool {
    let store = Store::open(path).unwrap();
    let clean = store.snapshot().verify().unwrap().is_clean();
    store.close().unwrap();
    clean
}

#[test]
fn a_backup_contains_the_memtables_and_its_cursors_and_tokens_stay_valid() {
    let directory = Directory::new();
    let store = Store::open(directory.path("store")).unwrap();
    let acme = TestUser::of(&store);
    let token = store.create_token(acme.user, Timestamp::MIN).unwrap();
    let write = |rows: usize| {
        for _ in 0..rows {
            let conversation = acme.conversation();
            let id = conversation.id;
            store.insert(acme.user, conversation, Vec::new()).unwrap();
            let message = Message::new(Role::User, "hi", Timestamp::MIN).unwrap();
            store.append_message(acme.user, id, message).unwrap();
        }
    };
    write(300);
    store.rotate_cursor_key().unwrap();
    write(20);
    let snapshot = store.snapshot();
    write(5);

    let request = ListRequest::new().page_size(7).unwrap();
    let page = snapshot.list(acme.user, &request).unwrap();
    let cursor = snapshot.seal_cursor(page.next_cursor().unwrap());
    let mut progress = (0, 0);
    let backup = snapshot
        .backup_with(
            directory.path("b"),
            MaintenanceOptions::new().progress(|done, total| progress = (done, total)),
        )
        .unwrap();
    assert_eq!(progress, (backup.entries, backup.entries));
    assert_eq!(backup.bytes, fs::metadata(directory.path("b")).unwrap().len());
    let checksum_file = fs::read_to_string(checksum_path(&directory.path("b"))).unwrap();
    assert_eq!(checksum_file, format!("{}  b\n", backup.checksum));

    let report = restore(directory.path("b"), directory.path("r")).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.conversations, report.messages), (320, 320));
    let restored = Store::open(directory.path("r")).unwrap();
    let restored_snapshot = restored.snapshot();
    assert_eq!(user_of(&restored_snapshot, &token), Some(acme.user));
    let at = restored_snapshot.open_cursor(acme.user, &cursor).unwrap();
    let next = ListRequest::at(at);
    let original_page = snapshot.list(acme.user, &next).unwrap();
    let restored_page = restored_snapshot.list(acme.user, &next).unwrap();
    let ids = |page: &Page| page.conversations().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&original_page), ids(&restored_page));
    // The restored store is writable, and its writes survive reopening.
    restored.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    restored.close().unwrap();
    let restored = Store::open(directory.path("r")).unwrap();
    assert_eq!(count(&restored, acme.user), 321);
    restored.close().unwrap();
    store.close().unwrap();
    assert_eq!(directory.file_names(), ["b", "b.b3", "r", "store"]);
}

/// Every write of the four writers inserts or deletes a conversation of both users, so every
/// committed state has the same number of conversations for each.
#[test]
fn a_backup_under_load_is_one_committed_state() {
    let directory = Directory::new();
    let options = StoreOptions::new().memtable_bytes(64 << 10);
    let store = Store::open_with(directory.path("store"), &options).unwrap();
    let (acme, other) = (TestUser::of(&store), TestUser::of_name(&store, "Other"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = None;
                while !done.load(Ordering::Relaxed) {
                    let (one, two) = (acme.conversation(), other.conversation());
                    let (user, user_two) = (acme.user, other.user);
                    let previous = last.replace((one.id, two.id));
                    store
                        .write(move |write| {
                            write.insert(user, one, Vec::new())?;
                            write.insert(user_two, two, Vec::new())?;
                            // Deletes half of the conversations: more writes, so that
                            // checkpoints run meanwhile.
                            if let Some((one, two)) =
                                previous.filter(|(one, _)| one.uuid().as_u128() % 2 == 0)
                            {
                                write.delete(user, one)?;
                                write.delete(user_two, two)?;
                            }
                            Ok::<_, Error>(())
                        })
                        .unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.snapshot().list(acme.user, &ListRequest::default()).unwrap();
            }
        });
        for round in 0..8 {
            let snapshot = store.snapshot();
            let expected = count_in(&snapshot, acme.user);
            let path = directory.path(&format!("b{round}"));
            snapshot.backup(&path).unwrap();
            assert!(is_clean(&path));
            let copy = Store::open(&path).unwrap();
            assert_eq!(count(&copy, acme.user), expected);
            assert_eq!(count(&copy, other.user), expected);
            copy.close().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    store.close().unwrap();
    assert!(is_clean(&directory.path("store")));
}

/// The number of the user's conversations in a snapshot.
fn count_in(snapshot: &Snapshot, user: UserId) -> usize {
    snapshot.conversations(user, &ListRequest::default()).map(Result::unwrap).count()
}

#[test]
fn backup_and_restore_overwrite_no_file() {
    let directory = Directory::new();
    let store = Store::in_memory().unwrap();
    store.snapshot().backup(directory.path("b")).unwrap();
    let outcome = store.snapshot().backup(directory.path("b"));
    assert!(matches!(outcome, Err(Error::FileExists(path)) if path == directory.path("b")));
    let restore_to = |name: &str| restore(directory.path("b"), directory.path(name)).map(|_| ());
    assert!(matches!(restore_to("b"), Err(Error::FileExists(_))));
    fs::write(directory.path("r-log.00000000000000000001"), "").unwrap();
    match restore_to("r") {
        Err(Error::FileExists(path)) => assert!(path.ends_with("r-log.00000000000000000001")),
        other => panic!("{other:?}"),
    }
    fs::remove_file(directory.path("r-log.00000000000000000001")).unwrap();
    restore_to("r").unwrap();
    assert_eq!(directory.file_names(), ["b", "b.b3", "r"]);
}

#[test]
fn a_modified_backup_is_not_restored() {
    let directory = Directory::new();
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.snapshot().backup(directory.path("b")).unwrap();
    let intact = fs::read(directory.path("b")).unwrap();
    for at in [0, intact.len() / 2, intact.len() - 1] {
        let mut modified = intact.clone();
        modified[at] ^= 1;
        fs::write(directory.path("b"), modified).unwrap();
        let outcome = restore(directory.path("b"), directory.path("r"));
        assert!(matches!(outcome, Err(Error::Corrupted { table: "backup", .. })), "{outcome:?}");
    }
    fs::write(directory.path("b"), &intact[..intact.len() - 4096]).unwrap();
    assert!(restore(directory.path("b"), directory.path("r")).is_err());
    fs::write(directory.path("b"), &intact).unwrap();
    fs::remove_file(checksum_path(&directory.path("b"))).unwrap();
    let without_checksum = restore(directory.path("b"), directory.path("r"));
    assert!(matches!(without_checksum, Err(Error::Io(_))), "{without_checksum:?}");
    assert_eq!(directory.file_names(), ["b"]);
    restore_with(
        directory.path("b"),
        directory.path("r"),
        MaintenanceOptions::new().checksum(ChecksumPolicy::Ignored),
    )
    .unwrap();
}

#[test]
fn compaction_frees_deleted_space_and_preserves_the_rest() {
    let directory = Directory::new();
    let path = directory.path("store");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    let rows: Vec<_> = (0..4000).map(|_| acme.conversation()).collect();
    let (user, survivor) = (acme.user, rows[3999].clone());
    store
        .write(move |write| {
            rows.iter().try_for_each(|row| write.insert(user, row.clone(), Vec::new()))
        })
        .unwrap();
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    let deleted = store.delete_all(user, &ListRequest::default());
    assert_eq!(deleted.unwrap(), 4000);
    store.insert(user, survivor.clone(), Vec::new()).unwrap();
    let usage = store.usage().unwrap();
    assert!(usage.file_bytes > 1 << 20 && usage.wal_bytes > 0, "{usage:?}");
    assert!(usage.tables.contains(&("conversations.v1", 1)), "{usage:?}");
    assert!(matches!(compact(&path), Err(Error::InUse { .. })));
    store.close().unwrap();
    fs::write(directory.path(".store.0123456789abcdef.new"), "a remainder of a crash").unwrap();

    let report = compact(&path).unwrap();
    assert_eq!(report.bytes_after, fs::metadata(&path).unwrap().len());
    // Most of the remainder is the change feed of the 4,000 deleted conversations.
    assert!(report.bytes_after * 5 < report.bytes_before * 2, "{report:?}");
    assert_eq!(directory.file_names(), ["store"]);
    assert!(is_clean(&path));
    let store = Store::open(&path).unwrap();
    assert_eq!(store.snapshot().conversation(user, survivor.id).unwrap(), Some(survivor));
    let bytes = store.snapshot().table_bytes().unwrap();
    let rows = bytes.iter().find(|bytes| bytes.table == "conversations.v1").unwrap();
    assert!(rows.content > 60 && rows.pages >= 4096, "{rows:?}");
    store.close().unwrap();
}

/// The compacted file replaces the target of a symlink, not the link, and inherits its mode.
#[cfg(unix)]
#[test]
fn compaction_preserves_permissions_and_symlinks() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = Directory::new();
    let (path, link) = (directory.path("store"), directory.path("link"));
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("store", &link).unwrap();
    let report = compact(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    assert_eq!(metadata.len(), report.bytes_after);
    assert_eq!(directory.file_names(), ["link", "store"]);
    let store = Store::open(&path).unwrap();
    assert_eq!(count(&store, acme.user), 1);
    store.close().unwrap();
}

/// A crash can leave a temporary file; the next opening removes it, and nothing else: not those of
/// other stores, and not the one that a backup of another process is writing.
#[test]
fn opening_removes_the_temporary_files_of_killed_commands() {
    let directory = Directory::new();
    let store = Store::open(directory.path("store")).unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    let left = [".store.00000000000000aa.new", ".store.00000000000000aa.new-log.1"];
    let of_others = [".other.00000000000000aa.new", ".store.note.new"];
    for name in left.iter().chain(&of_others) {
        fs::write(directory.path(name), "left").unwrap();
    }
    let opened = Store::open(directory.path("store")).unwrap();
    assert_eq!(count(&opened, acme.user), 1);
    let mut names = directory.file_names();
    names.retain(|name| !name.starts_with("store"));
    assert_eq!(names, of_others);

    // A second opening fails, and removes nothing: the file may be one that the first writes.
    fs::write(directory.path(left[0]), "being written").unwrap();
    assert!(matches!(Store::open(directory.path("store")), Err(Error::InUse { .. })));
    assert!(directory.path(left[0]).exists());

    // A store is opened while this backup beside it is written.
    let other = directory.path("other-store");
    Store::open(&other).unwrap().close().unwrap();
    let mut while_written = false;
    let progress = |_, _| {
        if !while_written {
            while_written = true;
            Store::open(&other).unwrap().close().unwrap();
        }
    };
    let options = MaintenanceOptions::new().progress(progress);
    opened.snapshot().backup_with(directory.path("other-store.backup"), options).unwrap();
    assert!(is_clean(&directory.path("other-store.backup")));
}

#[test]
fn a_new_file_is_never_taken_for_a_part_of_another_store() {
    let directory = Directory::new();
    let path = directory.path("store");
    let store = Store::open(&path).unwrap();
    let acme = TestUser::of(&store);
    store.insert(acme.user, acme.conversation(), Vec::new()).unwrap();
    let before = directory.file_names();
    let backup = |to: &Path| store.snapshot().backup(to).map(drop);
    fs::create_dir(directory.path("d")).unwrap();
    for name in ["store-log.00000000000000000099", "store-log.7", ".store.00000000000000aa.new"] {
        for to in [directory.path(name), directory.path("d").join("..").join(name)] {
            let refused = backup(&to);
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{name}: {refused:?}");
            assert!(matches!(Store::open(&to).err(), Some(Error::Invalid { .. })), "{name}");
        }
    }
    for to in [path.clone(), directory.path("d").join("..").join("store")] {
        assert!(matches!(backup(&to), Err(Error::FileExists(_))));
    }
    #[cfg(unix)]
    {
        // A link to a name that is free: neither followed nor replaced.
        let link = directory.path("d").join("link");
        std::os::unix::fs::symlink(directory.path("store-log.7"), &link).unwrap();
        assert!(matches!(backup(&link), Err(Error::FileExists(_))));
        fs::remove_file(link).unwrap();
    }
    // The name of a checksum file is taken by another store, which must survive.
    let other = directory.path("b.b3");
    Store::open(&other).unwrap().close().unwrap();
    let bytes = fs::read(&other).unwrap();
    assert!(matches!(backup(&directory.path("b")), Err(Error::FileExists(path)) if path == other));
    assert!(fs::read(&other).unwrap() == bytes);
    // The WAL of a store that was moved away: restored under its name, the backup would replay it.
    fs::write(directory.path("moved-log.00000000000000000003"), "left").unwrap();
    assert!(matches!(backup(&directory.path("moved")), Err(Error::FileExists(_))));
    fs::remove_file(directory.path("moved-log.00000000000000000003")).unwrap();
    fs::remove_file(other).unwrap();
    fs::remove_dir(directory.path("d")).unwrap();
    assert_eq!(directory.file_names(), before);
    // The checksum of a backup that no longer exists is replaced.
    backup(&directory.path("b")).unwrap();
    fs::remove_file(directory.path("b")).unwrap();
    backup(&directory.path("b")).unwrap();
    restore(directory.path("b"), directory.path("r")).unwrap();
    assert!(matches!(
        restore(directory.path("b"), directory.path("store-log.5")),
        Err(Error::Invalid { .. })
    ));
}
