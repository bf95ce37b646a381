//! Backups: one state, whole, while others write; restored only where it is what it was.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use convodb::{
    ChecksumPolicy, Error, ListRequest, MaintenanceOptions, PageSize, Role, Store, StoreOptions,
    Timestamp, checksum_path, compact, restore, restore_with,
};

use crate::{Owner, count};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
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
fn a_backup_has_the_tail_too_and_its_cursors_and_tokens_are_valid() {
    let place = Place::new();
    let store = Store::open(place.path("store")).unwrap();
    let owner = Owner::of(&store);
    let token = store.create_token(owner.user, Timestamp::MIN).unwrap();
    let write = |rows: usize| {
        for _ in 0..rows {
            let conversation = owner.conversation();
            let id = conversation.id;
            store.insert(owner.user, conversation, Vec::new()).unwrap();
            let said = convodb::Message::new(Role::User, "hi".to_owned(), Timestamp::MIN).unwrap();
            store.append_message(owner.user, id, said).unwrap();
        }
    };
    write(300);
    store.rotate_cursor_key().unwrap();
    write(20);
    let snapshot = store.snapshot();
    write(5);

    let request = ListRequest { page_size: Some(PageSize::new(7).unwrap()), ..Default::default() };
    let page = snapshot.list(owner.user, &request).unwrap();
    let cursor = snapshot.seal_cursor(page.next_cursor().unwrap());
    let mut told = (0, 0);
    let made = snapshot
        .backup_with(
            place.path("b"),
            MaintenanceOptions::new().progress(|done, total| told = (done, total)),
        )
        .unwrap();
    assert_eq!(told, (made.entries, made.entries));
    assert_eq!(made.bytes, fs::metadata(place.path("b")).unwrap().len());
    let beside = fs::read_to_string(checksum_path(&place.path("b"))).unwrap();
    assert_eq!(beside, format!("{}  b\n", made.checksum));

    let audit = restore(place.path("b"), place.path("r")).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((audit.conversations, audit.messages), (320, 320));
    let restored = Store::open(place.path("r")).unwrap();
    let there = restored.snapshot();
    assert_eq!(there.authenticate(&token).unwrap(), Some(owner.user));
    let at = there.open_cursor(owner.user, &cursor).unwrap();
    let (ours, theirs) = (
        snapshot.list(owner.user, &ListRequest::at(at)).unwrap(),
        there.list(owner.user, &ListRequest::at(at)).unwrap(),
    );
    let ids = |page: &convodb::Page| page.conversations().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&ours), ids(&theirs));
    // It is a store to write to, and one that a crash does not take back.
    restored.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
    restored.close().unwrap();
    let restored = Store::open(place.path("r")).unwrap();
    assert_eq!(count(&restored, owner.user), 321);
    restored.close().unwrap();
    store.close().unwrap();
    assert_eq!(place.names(), ["b", "b.b3", "r", "store"]);
}

/// Four writers keep a sum in each write: every state has as many conversations of one as of the other.
#[test]
fn a_backup_under_load_is_one_state() {
    let place = Place::new();
    let options = StoreOptions::new().memtable_bytes(64 << 10);
    let store = Store::open_with(place.path("store"), &options).unwrap();
    let (owner, other) = (Owner::of(&store), Owner::of_name(&store, "Other"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = None;
                while !done.load(Ordering::Relaxed) {
                    let (one, two) = (owner.conversation(), other.conversation());
                    let (user, user_two) = (owner.user, other.user);
                    let gone = last.replace((one.id, two.id));
                    store
                        .write(move |write| {
                            write.insert(user, one, Vec::new())?;
                            write.insert(user_two, two, Vec::new())?;
                            // Half of what is written goes again, which makes checkpoints.
                            if let Some((one, two)) =
                                gone.filter(|(one, _)| one.uuid().as_u128() % 2 == 0)
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
                store.snapshot().list(owner.user, &ListRequest::default()).unwrap();
            }
        });
        for round in 0..8 {
            let snapshot = store.snapshot();
            let at = count_of(&snapshot, owner.user);
            let path = place.path(&format!("b{round}"));
            snapshot.backup(&path).unwrap();
            assert!(is_clean(&path));
            let copy = Store::open(&path).unwrap();
            assert_eq!(count(&copy, owner.user), at);
            assert_eq!(count(&copy, other.user), at);
            copy.close().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    store.close().unwrap();
    assert!(is_clean(&place.path("store")));
}

fn count_of(snapshot: &convodb::Snapshot, user: convodb::UserId) -> usize {
    snapshot.conversations(user, &ListRequest::default()).map(Result::unwrap).count()
}

#[test]
fn nothing_is_overwritten() {
    let place = Place::new();
    let store = Store::in_memory().unwrap();
    store.snapshot().backup(place.path("b")).unwrap();
    let refused = store.snapshot().backup(place.path("b"));
    assert!(matches!(refused, Err(Error::FileExists(path)) if path == place.path("b")));
    let target = |name: &str| restore(place.path("b"), place.path(name)).map(|_| ());
    assert!(matches!(target("b"), Err(Error::FileExists(_))));
    fs::write(place.path("r-log.00000000000000000001"), "").unwrap();
    match target("r") {
        Err(Error::FileExists(path)) => assert!(path.ends_with("r-log.00000000000000000001")),
        other => panic!("{other:?}"),
    }
    fs::remove_file(place.path("r-log.00000000000000000001")).unwrap();
    target("r").unwrap();
    assert_eq!(place.names(), ["b", "b.b3", "r"]);
}

#[test]
fn a_backup_that_changed_is_not_restored() {
    let place = Place::new();
    let store = Store::in_memory().unwrap();
    let owner = Owner::of(&store);
    store.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
    store.snapshot().backup(place.path("b")).unwrap();
    let whole = fs::read(place.path("b")).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(place.path("b"), flipped).unwrap();
        let refused = restore(place.path("b"), place.path("r"));
        assert!(matches!(refused, Err(Error::Corrupted { table: "backup", .. })), "{refused:?}");
    }
    fs::write(place.path("b"), &whole[..whole.len() - 4096]).unwrap();
    assert!(restore(place.path("b"), place.path("r")).is_err());
    fs::write(place.path("b"), &whole).unwrap();
    fs::remove_file(checksum_path(&place.path("b"))).unwrap();
    let without = restore(place.path("b"), place.path("r"));
    assert!(matches!(without, Err(Error::Io(_))), "{without:?}");
    assert_eq!(place.names(), ["b"]);
    restore_with(
        place.path("b"),
        place.path("r"),
        MaintenanceOptions::new().checksum(ChecksumPolicy::Ignored),
    )
    .unwrap();
}

#[test]
fn compaction_gives_back_what_was_deleted_and_changes_nothing_else() {
    let place = Place::new();
    let path = place.path("store");
    let store = Store::open(&path).unwrap();
    let owner = Owner::of(&store);
    let rows: Vec<_> = (0..4000).map(|_| owner.conversation()).collect();
    let (user, kept) = (owner.user, rows[3999].clone());
    store
        .write(move |write| {
            rows.iter().try_for_each(|row| write.insert(user, row.clone(), Vec::new()))
        })
        .unwrap();
    let all =
        store.delete_all(user, &ListRequest::default(), |_| std::ops::ControlFlow::Continue(()));
    assert_eq!(all.unwrap(), 4000);
    store.insert(user, kept.clone(), Vec::new()).unwrap();
    let usage = store.usage().unwrap();
    assert!(usage.file_bytes > 1 << 20 && usage.wal_bytes > 0, "{usage:?}");
    assert!(usage.tables.contains(&("conversations.v1", 1)), "{usage:?}");
    assert!(matches!(compact(&path), Err(Error::InUse { .. })));
    store.close().unwrap();
    fs::write(place.path(".store.0123456789abcdef.new"), "left behind by a crash").unwrap();

    let done = compact(&path).unwrap();
    assert_eq!(done.bytes_after, fs::metadata(&path).unwrap().len());
    // What is left is the feed: that 4,000 conversations came and went.
    assert!(done.bytes_after * 5 < done.bytes_before * 2, "{done:?}");
    assert_eq!(place.names(), ["store"]);
    assert!(is_clean(&path));
    let store = Store::open(&path).unwrap();
    assert_eq!(store.snapshot().conversation(user, kept.id).unwrap(), Some(kept));
    let bytes = store.snapshot().table_bytes().unwrap();
    let rows = bytes.iter().find(|bytes| bytes.table == "conversations.v1").unwrap();
    assert!(rows.content > 60 && rows.pages >= 4096, "{rows:?}");
    store.close().unwrap();
}

/// The file that takes the store's place is for whom the store was, and a link to it stays one.
#[cfg(unix)]
#[test]
fn compaction_keeps_permissions_and_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let place = Place::new();
    let (path, link) = (place.path("store"), place.path("link"));
    let store = Store::open(&path).unwrap();
    let owner = Owner::of(&store);
    store.insert(owner.user, owner.conversation(), Vec::new()).unwrap();
    store.close().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("store", &link).unwrap();
    let done = compact(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let made = fs::metadata(&path).unwrap();
    assert_eq!((made.permissions().mode() & 0o777, made.len()), (0o640, done.bytes_after));
    assert_eq!(place.names(), ["link", "store"]);
    let store = Store::open(&path).unwrap();
    assert_eq!(count(&store, owner.user), 1);
    store.close().unwrap();
}
