//! Tokens of cursors through the store: lines 23 to 25 of the contract. The bits of a token are
//! tested where they are made, in the engine's `query/cursor.rs`.

use convodb::{Error, ListRequest, Snapshot, Store, UserId};
use convodb_testkit::oracle::ListQuery;

use convodb_testkit::harness::Harness;
use convodb_testkit::page_walk::{owned, request};

fn token(snapshot: &Snapshot, user: UserId) -> String {
    let page = snapshot.list(user, &request(&ListQuery::default(), 3)).unwrap();
    snapshot.seal_cursor(page.next().unwrap())
}

#[test]
fn line_25_a_token_outlives_a_rotation_of_keys() {
    let harness = Harness::with_conversations(9);
    let user = harness.users[0];
    let before = token(&harness.store.snapshot(), user);
    assert_eq!(before, token(&harness.store.snapshot(), user), "deterministic");
    for _ in 0..3 {
        harness.store.rotate_cursor_key().unwrap();
    }
    let snapshot = harness.store.snapshot();
    let after = token(&snapshot, user);
    assert_ne!(before, after);
    let [old, new] = [before, after].map(|token| {
        let cursor = snapshot.open_cursor(user, &token).unwrap();
        owned(&snapshot.list(user, &ListRequest::at(cursor)).unwrap())
    });
    assert_eq!(old, new);
}

#[test]
fn line_24_a_token_is_for_one_store_and_one_user() {
    let (harness, other) = (Harness::with_conversations(9), Harness::with_conversations(9));
    let [one, two] = harness.users;
    let token = token(&harness.store.snapshot(), one);
    let refused = |snapshot: Snapshot, user| {
        matches!(snapshot.open_cursor(user, &token), Err(Error::InvalidCursor))
    };
    assert!(refused(harness.store.snapshot(), two));
    assert!(refused(other.store.snapshot(), one));

    // And a cursor that never was a token does not cross users either.
    let snapshot = harness.store.snapshot();
    let cursor = snapshot.open_cursor(one, &token).unwrap();
    let crossed = snapshot.list(two, &ListRequest::at(cursor));
    assert!(matches!(crossed, Err(Error::InvalidCursor)));
}

#[test]
fn line_24_a_closed_store_still_refuses_a_token_without_a_read() {
    let harness = Harness::with_conversations(9);
    let snapshot = harness.store.snapshot();
    let user = harness.users[0];
    let good = token(&snapshot, user);
    let store: Store = harness.store;
    store.close().unwrap();
    assert!(snapshot.open_cursor(user, &good).is_ok());
    assert!(matches!(snapshot.open_cursor(user, "AQEA"), Err(Error::InvalidCursor)));
}
