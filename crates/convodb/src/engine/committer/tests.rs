//! Tests of group commit: checkpoints beside groups, and epochs.

use super::*;
use crate::io::memory::MemoryVfs;
use crate::model::index_family::IndexFamilies;
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;
use crate::options::StoreOptions;

fn location() -> StoreLocation {
    StoreLocation {
        vfs: Arc::new(MemoryVfs::default()),
        path: "store".into(),
        cache_bytes: 1 << 20,
        check: false,
        without_wal: false,
        indexes: IndexFamilies::NONE,
    }
}

fn open(location: &StoreLocation) -> (Committer, Arc<Published>) {
    let signal = FaultSignal::detached();
    let recovered = Recovered::open_or_create(location, &signal).unwrap();
    let mode = StoreOptions::default().commit_mode();
    let publish = |state| Arc::new(Published::new(state));
    let committer = Committer::new(recovered, location, mode, signal, publish).unwrap();
    let published = committer.published().clone();
    (committer, published)
}

/// A group that goes straight into the tables waits for the running checkpoint, and is not
/// visible before its own commit.
#[test]
fn a_finished_checkpoint_does_not_publish_the_group_in_progress() {
    let (mut committer, published) = open(&location());
    let now = Instant::now();
    let name = |text: &str| text.parse::<Name>().unwrap();
    let is_visible = |text: &str| {
        let accounts = &published.load_full().tables.accounts;
        accounts.user_by_name(&name(text)).unwrap().is_some()
    };
    committer.run(|write| write.create_user(name("one"), Timestamp::MIN)).unwrap();
    committer.commit(now).unwrap();
    committer.start_checkpoint();
    committer.run(|write| write.create_user(name("two"), Timestamp::MIN)).unwrap();
    committer.finish_checkpoint();
    assert!(is_visible("one") && !is_visible("two"));
    committer.commit(now).unwrap();
    assert!(is_visible("one") && is_visible("two"));
    committer.close().unwrap();
}

/// A process that replays a WAL writes none of it anew: its checkpoint does not continue the
/// epoch of the process before, and its first write begins one.
#[test]
fn a_checkpoint_of_replayed_groups_begins_no_epoch() {
    let location = location();
    let (mut committer, _) = open(&location);
    let create = |committer: &mut Committer, name: &str| {
        let name = name.parse::<Name>().unwrap();
        committer.run(|write| write.create_user(name, Timestamp::MIN)).unwrap();
        committer.commit(Instant::now()).unwrap();
    };
    create(&mut committer, "one");
    let first = committer.published().load_full().version();
    committer.shut_down_after_fault();

    let (mut committer, published) = open(&location);
    committer.start_checkpoint();
    committer.finish_checkpoint();
    assert!(!published.load_full().epochs().is_open());
    create(&mut committer, "two");
    let state = published.load_full();
    assert!(state.version().epoch != first.epoch && state.contains(first));
    drop((state, published));
    committer.close().unwrap();
}
