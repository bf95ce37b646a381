//! A whole file: bytes of anybody's, opened and read. redb may panic over a damaged page, which the
//! engine makes an error of; no panic may reach its caller, and the process may not end.
#![no_main]

use convodb::{ListRequest, Store, StoreOptions};
use convodb_fuzz::Place;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PLACE: Place = Place::new();
    /// A small store, of which an input changes some bytes.
    static WHOLE: Vec<u8> = whole();
}

fn whole() -> Vec<u8> {
    PLACE.with(|place| {
        let path = place.path("whole");
        let store = Store::open(&path).expect("a new store");
        let at = convodb::Timestamp::MIN;
        let user = store.create_user("one".parse().expect("a name"), at).expect("a user").id;
        let bot = convodb_testkit::strategies::assistants()[0];
        store.create_assistant(user, bot, "Bot".parse().expect("a name")).expect("an assistant");
        for number in 0..20 {
            let id = convodb::ConversationId::new(uuid::Uuid::from_u128(number));
            let row = convodb::Conversation::new(id, bot, convodb::Channel::Widget, at);
            store.insert(user, row).expect("a row");
        }
        store.close().expect("a store that closes");
        std::fs::read(path).expect("its file")
    })
}

/// An input is the whole file, or, where it begins with a `+`, places of 4 bytes with a byte each.
fn file_of(data: &[u8]) -> Vec<u8> {
    let Some(changes) = data.strip_prefix(b"+") else { return data.to_vec() };
    let mut bytes = WHOLE.with(Clone::clone);
    for change in changes.chunks_exact(5) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize;
        let place = place % bytes.len();
        bytes[place] = change[4];
    }
    bytes
}

fn read(path: &std::path::Path) -> convodb::Result<()> {
    let options = StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::default() };
    let store = Store::open_with(path, &options)?;
    let snapshot = store.snapshot();
    for user in snapshot.users()? {
        snapshot.list(user.id, &ListRequest::default())?;
    }
    let audit = snapshot.verify(|_, _| {})?;
    drop(audit);
    store.close()
}

fuzz_target!(
    init: {
        // The fuzzer's own hook ends the process at every panic, also at one that is caught.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| {
        let bytes = file_of(data);
        PLACE.with(|place| {
            let path = place.path("store");
            std::fs::write(&path, bytes).expect("a file");
            let _ = read(&path);
        });
    }
);
