//! Cursor tokens of a store (lines 23 to 25 of the pagination contract).
//!
//! The bytes of a token are tested in `query/cursor.rs`.

use convodb::{Error, ListRequest, Snapshot, Store, UserId};
use convodb_testkit::oracle::ListQuery;

use convodb_testkit::harness::Harness;
use convodb_testkit::page_walk::{first_page_request, page_conversations};

fn token(snapshot: &Snapshot, user: UserId) -> String {
    let page = snapshot.list(user, &first_page_request(&ListQuery::default(), 3)).unwrap();
    snapshot.seal_cursor(page.next_cursor().unwrap())
}

#[test]
fn line_25_a_token_survives_key_rotations() {
    let harness = Harness::with_conversations(9);
    let user = harness.users[0];
    let before = token(&harness.store.snapshot(), user);
    assert_eq!(before, token(&harness.store.snapshot(), user), "tokens are deterministic");
    for _ in 0..3 {
        harness.store.rotate_cursor_key().unwrap();
    }
    let snapshot = harness.store.snapshot();
    let after = token(&snapshot, user);
    assert_ne!(before, after);
    let [old, new] = [before, after].map(|token| {
        let cursor = snapshot.open_cursor(user, &token).unwrap();
        page_conversations(&snapshot.list(user, &ListRequest::at(cursor)).unwrap())
    });
    assert_eq!(old, new);
}

#[test]
fn line_24_a_token_is_valid_for_one_store_and_one_user() {
    let (harness, other) = (Harness::with_conversations(9), Harness::with_conversations(9));
    let [one, two] = harness.users;
    let token = token(&harness.store.snapshot(), one);
    let rejected = |snapshot: Snapshot, user| {
        matches!(snapshot.open_cursor(user, &token), Err(Error::InvalidCursor))
    };
    assert!(rejected(harness.store.snapshot(), two));
    assert!(rejected(other.store.snapshot(), one));

    // A cursor that was never converted to a token is bound to its user too.
    let snapshot = harness.store.snapshot();
    let cursor = snapshot.open_cursor(one, &token).unwrap();
    let foreign = snapshot.list(two, &ListRequest::at(cursor));
    assert!(matches!(foreign, Err(Error::InvalidCursor)));
}

#[test]
fn line_24_a_closed_store_validates_tokens_without_a_read() {
    let harness = Harness::with_conversations(9);
    let snapshot = harness.store.snapshot();
    let user = harness.users[0];
    let valid = token(&snapshot, user);
    let store: Store = harness.store;
    store.close().unwrap();
    assert!(snapshot.open_cursor(user, &valid).is_ok());
    assert!(matches!(snapshot.open_cursor(user, "AQEA"), Err(Error::InvalidCursor)));
}
