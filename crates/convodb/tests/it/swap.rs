//! Misplaced pages: detected as corruption, and never a leak of another user's data.

use std::fs;
use std::path::Path;

use convodb::{
    BulkOptions, Conversation, ConversationId, Error, Message, Role, Store, StoreOptions,
    Timestamp, UserId,
};

use crate::TestUser;

const PAGE: usize = 4096;
/// The number of messages that fills thirteen leaf pages exactly.
const MESSAGES: usize = 195;

/// Creates a store of two users with one long conversation each, in a file of full leaf pages.
fn create_two_users(path: &Path) -> [(UserId, ConversationId); 2] {
    let store = Store::open(path).unwrap();
    let mut loader = store.bulk_load(BulkOptions::default());
    let conversations = ["one", "two"].map(|name| {
        let acme = TestUser::of_name(&store, name);
        let row = acme.conversation();
        let content = |number| format!("{name} says {number:04} {}", "x".repeat(200));
        let messages: Vec<Message> = (0..MESSAGES)
            .map(|number| Message::new(Role::User, content(number), Timestamp::MIN).unwrap())
            .collect();
        let row = Conversation { message_count: u32::try_from(MESSAGES).unwrap(), ..row };
        loader.push(acme.user, &row, &messages).unwrap();
        (acme.user, row.id)
    });
    loader.finish().unwrap();
    store.close().unwrap();
    conversations
}

fn messages(path: &Path, user: UserId, id: ConversationId) -> Result<Option<Vec<Message>>, Error> {
    Store::open(path)?.snapshot().messages(user, id)
}

#[test]
fn swapped_leaf_pages_expose_no_message_of_another_user() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let conversations = create_two_users(&path);
    let intact = fs::read(&path).unwrap();
    let leaf_of = |content: &str| {
        let contains =
            |page: &[u8]| page.windows(content.len()).any(|bytes| bytes == content.as_bytes());
        intact.chunks(PAGE).position(contains).unwrap() * PAGE
    };
    // Both leaf pages contain messages of the same numbers.
    let (one, two) = (leaf_of("one says 0100"), leaf_of("two says 0100"));
    let mut bytes = intact.clone();
    bytes[one..][..PAGE].copy_from_slice(&intact[two..][..PAGE]);
    bytes[two..][..PAGE].copy_from_slice(&intact[one..][..PAGE]);
    fs::write(&path, bytes).unwrap();
    let [first, second] = conversations.map(|(user, id)| messages(&path, user, id));
    // The range scan of the first ends early, and finds fewer messages than the row has stored.
    assert!(matches!(first, Err(Error::Corrupted { table: "messages.v1", .. })), "{first:?}");
    assert!(matches!(second, Err(Error::Corrupted { .. })), "{second:?}");
    let options = StoreOptions::new().check_on_open(true);
    assert!(Store::open_with(&path, &options).is_err());
}
