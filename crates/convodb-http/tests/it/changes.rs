//! Change feed: following, long polling, expired cursors.

use std::thread;
use std::time::{Duration, Instant};

use convodb::{Channel, Retention, Timestamp};
use convodb_http::{Config, Limits};
use convodb_testkit::wait;
use serde_json::{Value, json};

use crate::client::Response;
use crate::harness::{Harness, api, conversation};

const FEED: &str = "/api/user/conversations/changes";

#[track_caller]
fn feed(harness: &Harness, query: &str) -> Response {
    harness.request("GET", &format!("{FEED}?{query}"), &harness.token, "")
}

/// The changes of a response, by kind and row, and its next cursor.
#[track_caller]
fn parsed(response: &Response) -> (Vec<(String, u8)>, String) {
    assert_eq!(response.status, 200, "{}", response.text());
    let body = response.json();
    let parsed = |change: &Value| {
        let row = u8::from_str_radix(&change["id"].as_str().unwrap()[..2], 16).unwrap();
        let gone = change["change"] == "deleted";
        assert_eq!(change["conversation"].is_null(), gone);
        (change["change"].as_str().unwrap().to_owned(), row)
    };
    let changes = body["data"].as_array().unwrap().iter().map(parsed).collect();
    (changes, body["next_cursor"].as_str().unwrap().to_owned())
}

fn change(kind: &str, row: u8) -> (String, u8) {
    (kind.to_owned(), row)
}

#[test]
fn the_body_matches_the_documentation_byte_for_byte() {
    let harness = Harness::new();
    let (nothing, cursor) = parsed(&feed(&harness, ""));
    assert!(nothing.is_empty());
    harness.insert([1], &api("crm-1"));
    harness.insert([2], &Channel::Widget);
    harness.store.delete(harness.user, conversation(2).id).unwrap();
    let response = feed(&harness, &format!("cursor={cursor}&per_page=3"));
    let next = response.json()["next_cursor"].as_str().unwrap().to_owned();
    let expected = format!(
        r#"{{"data":[{{"change":"created","id":"01000000-0000-0000-0000-000000000000","conversation":{{"id":"01000000-0000-0000-0000-000000000000","assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Support","type":"api","variables":null,"external_identifier":"crm-1","message_count":0,"total_cost":0.0,"ai_enabled":true,"created_at":"2025-01-25 10:13:21","updated_at":"2025-01-25 10:13:21"}}}},{{"change":"deleted","id":"02000000-0000-0000-0000-000000000000","conversation":null}}],"per_page":3,"next_cursor":"{next}","has_more":false}}"#
    );
    assert_eq!(response.text(), expected);
    assert_eq!(response.header("cache-control"), "no-store");
}

/// A follower that starts in the middle: cursor of now, the list, then the changes.
#[test]
fn a_follower_sees_every_change_once() {
    let harness = Harness::new();
    harness.insert(1..=5, &Channel::Widget);
    let (nothing, cursor) = parsed(&feed(&harness, "cursor=now"));
    assert!(nothing.is_empty());
    let patch = |row| format!("/api/conversations/{}", conversation(row).id);
    assert_eq!(harness.send("PATCH", &patch(2), r#"{"ai_enabled":false}"#).status, 200);
    harness.send("POST", &format!("{}/messages", patch(3)), r#"{"message":"hi"}"#);
    assert_eq!(harness.request("DELETE", &patch(4), &harness.token, "").status, 200);
    harness.insert([6], &Channel::Widget);
    let first = feed(&harness, &format!("cursor={cursor}&per_page=2"));
    assert_eq!(first.json()["has_more"], true);
    let (changes, cursor) = parsed(&first);
    assert_eq!(changes, [change("updated", 2), change("updated", 3)]);
    let (changes, cursor) = parsed(&feed(&harness, &format!("cursor={cursor}")));
    assert_eq!(changes, [change("deleted", 4), change("created", 6)]);
    let (changes, again) = parsed(&feed(&harness, &format!("cursor={cursor}")));
    assert_eq!((changes, &again), (vec![], &cursor), "the cursor is never null and stays valid");
}

#[test]
fn a_commit_wakes_a_waiting_request() {
    let harness = Harness::new();
    let (_, cursor) = parsed(&feed(&harness, "cursor=now"));
    let target = format!("cursor={cursor}&wait=60");
    let began = Instant::now();
    let response = thread::scope(|scope| {
        let waiting = scope.spawn(|| feed(&harness, &target));
        // Commits of another user do not end the wait.
        let body = r#"{"assistant_id":1}"#;
        harness.send_as(&harness.other_token, "POST", "/api/conversations", body);
        harness.insert([7], &Channel::Widget);
        waiting.join().unwrap()
    });
    assert_eq!(parsed(&response).0, [change("created", 7)]);
    assert!(began.elapsed() < Duration::from_secs(30), "the response came before the deadline");
}

#[test]
fn a_wait_without_changes_answers_an_empty_page() {
    let harness = Harness::new();
    let (_, cursor) = parsed(&feed(&harness, "cursor=now"));
    let began = Instant::now();
    let (changes, again) = parsed(&feed(&harness, &format!("cursor={cursor}&wait=1")));
    assert!(changes.is_empty() && again == cursor);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// A shutdown does not wait for waiting requests to time out.
#[test]
fn shutdown_ends_waiting_requests() {
    let limits = Limits { shutdown_timeout: Duration::from_secs(50), ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let harness = Harness::of(convodb::Store::in_memory().unwrap(), config);
    let (_, cursor) = parsed(&feed(&harness, "cursor=now"));
    let (address, token) = (harness.server.address, harness.token.clone());
    let (began, asked) = (Instant::now(), std::sync::Arc::new(std::sync::Barrier::new(2)));
    let waiting = {
        let asked = asked.clone();
        thread::spawn(move || {
            let head = format!(
                "GET {FEED}?cursor={cursor}&wait=60 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                 Authorization: Bearer {token}\r\n\r\n"
            );
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            asked.wait();
            let mut response = String::new();
            std::io::Read::read_to_string(&mut stream, &mut response).unwrap();
            response
        })
    };
    asked.wait();
    // Before the server has seen the request, a shutdown would refuse it.
    wait::until("the server has the request", || {
        harness.request("GET", "/metrics", "", "").text().contains("convodb_connections 2")
    });
    drop(harness);
    let response = waiting.join().unwrap();
    assert!(response.is_empty() || response.contains(r#""data":[]"#), "{response}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn invalid_parameters_answer_422() {
    let harness = Harness::new();
    for (query, field, message) in [
        ("cursor=x", "cursor", "The selected cursor is invalid."),
        ("wait=61", "wait", "The wait field must be a number of seconds from 0 to 60."),
        ("wait=-1", "wait", "The wait field must be a number of seconds from 0 to 60."),
        ("per_page=0", "per_page", "The per page field must be at least 1."),
    ] {
        let response = feed(&harness, query);
        let body = json!({"message": message, "errors": {field: [message]}});
        assert_eq!((response.status, response.json()), (422, body), "{query}");
    }
    let (_, cursor) = parsed(&feed(&harness, "cursor=now"));
    let target = format!("{FEED}?cursor={cursor}");
    assert_eq!(
        harness.request("GET", &target, &harness.other_token, "").status,
        422,
        "the cursor of another user"
    );
    assert_eq!(harness.request("GET", FEED, "unknown", "").status, 401);
}

#[test]
fn an_expired_cursor_answers_410() {
    let harness = Harness::new();
    let (_, cursor) = parsed(&feed(&harness, "cursor=now"));
    harness.insert([1], &Channel::Widget);
    let keep = Retention { changes: Duration::ZERO, ..Retention::default() };
    let hour = |hours: u64| Timestamp::from_millis(hours * 3_600_000).unwrap();
    harness.store.expire(hour(1), keep).unwrap();
    harness.store.expire(hour(3), keep).unwrap();
    let late = feed(&harness, &format!("cursor={cursor}"));
    let message = "The changes after this cursor are forgotten. Read the whole list, then follow the \
                   changes from cursor=now.";
    assert_eq!((late.status, late.json()), (410, json!({ "message": message })));
    assert_eq!(feed(&harness, "").status, 410);
    assert_eq!(feed(&harness, "cursor=now").status, 200);
}
