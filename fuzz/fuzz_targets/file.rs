//! Fuzz target: a store file of arbitrary bytes opens and reads with a result or an error.
//!
//! redb may panic over a damaged page. The engine converts the panic into an error, so no panic may
//! reach the caller, and the process must not exit. Every page is checked on opening: redb 4.6 ends
//! the process when it commits over a damaged list of free pages, because it panics again while it
//! unwinds.
#![no_main]

use convodb::{ListRequest, Store, StoreOptions};
use convodb_fuzz::ScratchDirectory;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIRECTORY: ScratchDirectory = ScratchDirectory::new();
    /// A valid store file, which an input can patch.
    static VALID_FILE: Vec<u8> = valid_file();
}

fn valid_file() -> Vec<u8> {
    DIRECTORY.with(|directory| {
        let path = directory.path("valid");
        let store = Store::open(&path).expect("a new store");
        let at = convodb::Timestamp::MIN;
        let user = store.create_user("one", at).expect("a user").id;
        let bot = convodb_testkit::generators::assistants()[0];
        store.create_assistant(user, bot, "Bot").expect("an assistant");
        for number in 0..20 {
            let id = convodb::ConversationId::new(uuid::Uuid::from_u128(number));
            let row = convodb::Conversation::new(id, bot, convodb::Channel::Widget, at);
            store.insert(user, row, Vec::new()).expect("a row");
        }
        store.close().expect("close the store");
        std::fs::read(path).expect("read the file")
    })
}

/// The file of an input. An input that begins with `+` is a list of patches of the valid file, each
/// an offset in 4 bytes, little-endian, and the new byte. Any other input is the file itself.
fn file_of(data: &[u8]) -> Vec<u8> {
    let Some(patches) = data.strip_prefix(b"+") else { return data.to_vec() };
    let mut bytes = VALID_FILE.with(Clone::clone);
    for patch in patches.chunks_exact(5) {
        let offset = u32::from_le_bytes([patch[0], patch[1], patch[2], patch[3]]) as usize;
        let offset = offset % bytes.len();
        bytes[offset] = patch[4];
    }
    bytes
}

/// Opens the store, lists every user and verifies the store.
fn read(path: &std::path::Path) -> convodb::Result<()> {
    let options = StoreOptions::new().cache_bytes(1 << 20).check_on_open(true);
    let store = Store::open_with(path, &options)?;
    let snapshot = store.snapshot();
    for user in snapshot.users()? {
        snapshot.list(user.id, &ListRequest::default())?;
    }
    snapshot.verify()?;
    store.close()
}

fuzz_target!(
    init: {
        // libFuzzer's panic hook aborts the process even on a panic that is caught.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| {
        let bytes = file_of(data);
        DIRECTORY.with(|directory| {
            let path = directory.path("store");
            std::fs::write(&path, bytes).expect("write the file");
            let _ = read(&path);
        });
    }
);
