//! Properties of cursors: forged tokens are rejected, valid cursors survive a round trip.

use convodb::UserId;
use convodb::fuzzing::CursorKeys;

const USER: UserId = UserId::new(5);
const OTHER_USER: UserId = UserId::new(6);

/// Keys with which no token of the corpus was sealed.
fn keys() -> CursorKeys {
    CursorKeys::new(&[[3; 32], [4; 32]], [7; 32])
}

/// Checks that a token which the store did not seal is rejected.
///
/// # Panics
/// Panics if it opens as a cursor.
pub fn check_token(token: &str) {
    let keys = keys();
    assert!(keys.open_page_cursor(token, USER).is_err());
    assert!(keys.open_change_cursor(token, USER).is_err());
}

/// Checks that a payload is rejected, or is a cursor whose token opens to the same cursor, for the
/// same user and the same endpoint only. Such a payload needs the sealing key.
///
/// # Panics
/// Panics if the cursor changes, or opens for another user or endpoint.
pub fn check_payload(payload: &[u8]) {
    let keys = keys();
    let Some(cursor) = keys.decode_page_cursor(payload, USER) else { return };
    let token = keys.seal_page_cursor(&cursor);
    assert_eq!(keys.open_page_cursor(&token, USER).expect("a sealed token"), cursor);
    assert!(keys.open_page_cursor(&token, OTHER_USER).is_err());
    assert!(keys.open_change_cursor(&token, USER).is_err());
}
