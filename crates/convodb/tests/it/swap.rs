//! A page that stands where another belongs is damage, and shows nobody what is another's.

use std::fs;
use std::path::Path;

use convodb::{
    BulkOptions, Conversation, ConversationId, Error, Message, Role, Store, StoreOptions,
    Timestamp, UserId,
};

use crate::Owner;

const PAGE: usize = 4096;
/// So many of the messages below fill thirteen leaves, to the last byte that matters.
const ALIGNED: usize = 195;

/// The store of two users with a long conversation each, in a file whose leaves are full.
fn two_users(path: &Path) -> [(UserId, ConversationId); 2] {
    let store = Store::open(path).unwrap();
    let mut loader = store.bulk_load(BulkOptions::default());
    let asked = ["one", "two"].map(|name| {
        let owner = Owner::of_name(&store, name);
        let row = owner.conversation();
        let said = |number| format!("{name} says {number:04} {}", "x".repeat(200));
        let history: Vec<Message> = (0..ALIGNED)
            .map(|number| Message::new(Role::User, said(number), Timestamp::MIN).unwrap())
            .collect();
        let row = Conversation { message_count: u32::try_from(ALIGNED).unwrap(), ..row };
        loader.push(owner.user, &row, &history).unwrap();
        (owner.user, row.id)
    });
    loader.finish().unwrap();
    store.close().unwrap();
    asked
}

fn history(path: &Path, user: UserId, id: ConversationId) -> Result<Option<Vec<Message>>, Error> {
    Store::open(path)?.snapshot().messages(user, id)
}

#[test]
fn a_leaf_in_anothers_place_shows_no_words_of_another_user() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let asked = two_users(&path);
    let whole = fs::read(&path).unwrap();
    let leaf = |words: &str| {
        let has = |page: &[u8]| page.windows(words.len()).any(|bytes| bytes == words.as_bytes());
        whole.chunks(PAGE).position(has).unwrap() * PAGE
    };
    // They have messages of the same numbers.
    let (one, two) = (leaf("one says 0100"), leaf("two says 0100"));
    let mut bytes = whole.clone();
    bytes[one..][..PAGE].copy_from_slice(&whole[two..][..PAGE]);
    bytes[two..][..PAGE].copy_from_slice(&whole[one..][..PAGE]);
    fs::write(&path, bytes).unwrap();
    let [first, second] = asked.map(|(user, id)| history(&path, user, id));
    // What a range leads to may end early, which the audit tells.
    let first = first.unwrap().unwrap();
    assert!(first.len() < ALIGNED && first.iter().all(|said| said.content().starts_with("one")));
    assert!(matches!(second, Err(Error::Corrupted { .. })), "{second:?}");
    let options = StoreOptions::new().check_on_open(true);
    assert!(Store::open_with(&path, &options).is_err());
}
