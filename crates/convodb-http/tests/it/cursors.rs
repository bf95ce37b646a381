//! Cursors over HTTP: lines 16, 17 and 23 to 25 of the pagination contract.

use crate::harness::{Harness, Server, whatsapp};
use convodb::{Channel, Store};
use convodb_http::Config;

const REFUSAL: &str = "The selected cursor is invalid.";

fn with_seven_rows() -> Harness {
    let harness = Harness::new();
    harness.insert(1..=7, &whatsapp("+1", "+2"));
    harness.insert(8..=9, &Channel::Widget);
    harness
}

#[test]
fn a_cursor_alone_contains_filters_page_size_and_order() {
    let harness = with_seven_rows();
    for (query, rows) in [
        ("type=whatsapp&per_page=3", [4, 3, 2]),
        ("customer_phone=+2&order=asc&per_page=3", [4, 5, 6]),
        ("created_to=2025-01-25T10:13:26.999Z&per_page=3", [3, 2, 1]),
    ] {
        let cursor = harness.list(query).cursor("next_cursor").unwrap();
        let alone = harness.list(&format!("cursor={cursor}"));
        assert_eq!(alone.rows(), rows, "{query}");
        assert_eq!(alone.json()["per_page"], 3, "{query}");
        assert_eq!(
            harness.list(&format!("{query}&cursor={cursor}")).text(),
            alone.text(),
            "{query}"
        );
    }
}

#[test]
fn a_conflicting_filter_beside_a_cursor_answers_422() {
    let harness = with_seven_rows();
    let cursor = harness.list("type=whatsapp&per_page=2").cursor("next_cursor").unwrap();
    for (filter, field) in [
        ("type=widget", "type"),
        ("customer_phone=+2", "customer_phone"),
        ("whatsapp_sender_phone=+1", "whatsapp_sender_phone"),
        ("assistant_id=1", "assistant_id"),
        ("external_identifier=a", "external_identifier"),
        ("created_from=2025-01-01", "created_from"),
        ("created_to=2025-01-01", "created_to"),
        ("order=asc", "order"),
    ] {
        let name = field.replace('_', " ");
        let message =
            format!("The {name} field must be the one of the list that the cursor continues.");
        harness.refused(&format!("cursor={cursor}&{filter}"), field, &message);
    }
    let wider = harness.list(&format!("cursor={cursor}&per_page=4"));
    assert_eq!(wider.rows(), [5, 4, 3, 2]);
}

#[test]
fn tokens_are_short_and_url_safe() {
    let harness = with_seven_rows();
    let query = "type=whatsapp&assistant_id=1&customer_phone=+2&whatsapp_sender_phone=+1&\
                 created_from=2025-01-01&created_to=2026-01-01&per_page=2";
    let token = harness.list(query).cursor("next_cursor").unwrap();
    assert!(token.len() <= 128);
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{token}");
    assert_eq!(harness.list(query).cursor("next_cursor").unwrap(), token);
}

#[test]
fn a_modified_token_is_refused() {
    let harness = with_seven_rows();
    let token = harness.list("customer_phone=+2&per_page=2").cursor("next_cursor").unwrap();
    let refused = |token: &str| harness.refused(&format!("cursor={token}"), "cursor", REFUSAL);
    // Flips one bit of each character's six.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in 0..token.len() {
        let place = alphabet.iter().position(|c| *c == token.as_bytes()[at]).unwrap();
        let mut changed = token.clone().into_bytes();
        changed[at] = alphabet[place ^ (1 << (at % 6))];
        refused(std::str::from_utf8(&changed).unwrap());
        if at > 0 {
            refused(&token[..at]);
        }
    }
    for wrong in ["null", "0", "%00", "eyJpZCI6N30", "+", "%F0%9F%98%80", &format!("{token}A")] {
        refused(wrong);
    }
    refused(&format!("{token}="));
    refused(&"A".repeat(129));
    let long = "The cursor field must not be greater than 512 bytes.";
    harness.refused(&format!("cursor={}", "A".repeat(7000)), "cursor", long);
}

#[test]
fn a_cursor_of_another_user_or_store_is_refused() {
    let harness = with_seven_rows();
    let token = harness.list("per_page=2").cursor("next_cursor").unwrap();
    let stolen = harness.list_of(&harness.other_token, &format!("cursor={token}"));
    let body = format!(r#"{{"message":"{REFUSAL}","errors":{{"cursor":["{REFUSAL}"]}}}}"#);
    assert_eq!((stolen.status, stolen.text()), (422, body.as_str()));
    with_seven_rows().refused(&format!("cursor={token}"), "cursor", REFUSAL);
}

#[test]
fn a_cursor_survives_a_restart_and_a_key_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.convodb");
    let harness = Harness::of(Store::open(&path).unwrap(), Config::default());
    harness.insert(1..=7, &Channel::Widget);
    let cursor = format!("cursor={}", harness.list("per_page=3").cursor("next_cursor").unwrap());
    let before = harness.list(&cursor);
    assert_eq!(before.rows(), [4, 3, 2]);

    let Harness { server, store, user, token, other_token } = harness;
    drop(server);
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    let server = Server::start(&store, Config::default());
    let harness = Harness { server, store, user, token, other_token };
    assert_eq!(harness.list(&cursor).text(), before.text());
    harness.store.rotate_cursor_key().unwrap();
    assert_eq!(harness.list(&cursor).rows(), before.rows());
}
