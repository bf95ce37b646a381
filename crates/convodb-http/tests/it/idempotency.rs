//! Idempotency keys: a repeated request is executed once.

use serde_json::json;

use crate::client::{Response, send};
use crate::harness::{Harness, bot};

const PATH: &str = "/api/conversations";

#[track_caller]
fn post(harness: &Harness, token: &str, target: &str, keys: &[&str], body: &str) -> Response {
    let keys: String = keys.iter().map(|key| format!("Idempotency-Key: {key}\r\n")).collect();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n{keys}\r\n{body}",
        body.len()
    );
    send(harness.server.address, request.as_bytes())
}

#[test]
fn a_retry_writes_nothing_and_gets_the_same_response() {
    let harness = Harness::new();
    let body = format!(r#"{{"assistant_id":"{}"}}"#, bot().uuid());
    let create = |key: &str| post(&harness, &harness.token, PATH, &[key], &body);
    let first = create("k-1");
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(create("k-1").text(), first.text());
    assert_ne!(create("k-2").text(), first.text());
    assert_eq!(harness.list("").json()["data"].as_array().unwrap().len(), 2);

    let id = first.json()["conversation_id"].as_str().unwrap().to_owned();
    let messages = format!("{PATH}/{id}/messages");
    let say = |key: &str| {
        post(&harness, &harness.token, &messages, &[key], r#"{"message":"hi","cost":0.5}"#).json()
    };
    for _ in 0..3 {
        assert_eq!(say("m-1")["message_count"], 1);
    }
    assert_eq!(say("m-2")["message_count"], 2);
    let read = harness.request("GET", &format!("{PATH}/{id}"), &harness.token, "").json();
    assert_eq!((&read["message_count"], &read["total_cost"]), (&json!(2), &json!(1.0)));
}

#[test]
fn a_key_belongs_to_one_request_of_one_user() {
    let harness = Harness::new();
    let body = r#"{"assistant_id":1}"#;
    let first = post(&harness, &harness.token, PATH, &["k"], body);
    let other = post(&harness, &harness.token, PATH, &["k"], r#"{"assistant_id":1,"type":"test"}"#);
    let message = "The Idempotency-Key field must not be used for another request.";
    let refused = json!({"status": false, "error": message, "message": message,
                         "errors": {"Idempotency-Key": [message]}});
    assert_eq!((other.status, other.json()), (422, refused));
    let foreign = post(&harness, &harness.other_token, PATH, &["k"], body);
    assert_eq!(foreign.status, 200);
    assert_ne!(foreign.text(), first.text());
}

#[test]
fn a_failed_request_may_be_retried_with_its_key() {
    let harness = Harness::new();
    let refused = post(&harness, &harness.token, PATH, &["k"], r#"{"assistant_id":99}"#);
    assert_eq!(refused.status, 404);
    assert_eq!(post(&harness, &harness.token, PATH, &["k"], r#"{"assistant_id":1}"#).status, 200);
}

#[test]
fn an_invalid_key_answers_422() {
    let harness = Harness::new();
    let long = "k".repeat(256);
    for keys in [&[""][..], &[&long], &["a", "a"], &["caf\u{e9}"], &["a b"]] {
        let response = post(&harness, &harness.token, PATH, keys, r#"{"assistant_id":1}"#);
        assert_eq!(response.status, 422, "{keys:?}");
        assert!(response.json()["errors"]["Idempotency-Key"].is_array());
    }
    assert_eq!(harness.list("").json()["data"], json!([]));
}
