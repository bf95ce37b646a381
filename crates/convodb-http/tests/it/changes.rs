//! The feed of changes, and waiting for it.

use std::thread;
use std::time::{Duration, Instant};

use convodb::{Channel, Keep, Timestamp};
use convodb_http::{Config, Limits};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::harness::{Harness, api, conversation};

const FEED: &str = "/api/user/conversations/changes";

#[track_caller]
fn feed(harness: &Harness, query: &str) -> Answer {
    harness.ask("GET", &format!("{FEED}?{query}"), &harness.token, "")
}

/// What happened to which rows, and where the feed goes on.
#[track_caller]
fn told(answer: &Answer) -> (Vec<(String, u8)>, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let told = |change: &Value| {
        let row = u8::from_str_radix(&change["id"].as_str().unwrap()[..2], 16).unwrap();
        let gone = change["change"] == "deleted";
        assert_eq!(change["conversation"].is_null(), gone);
        (change["change"].as_str().unwrap().to_owned(), row)
    };
    let changes = body["data"].as_array().unwrap().iter().map(told).collect();
    (changes, body["next_cursor"].as_str().unwrap().to_owned())
}

fn change(kind: &str, row: u8) -> (String, u8) {
    (kind.to_owned(), row)
}

#[test]
fn an_answer_is_byte_for_byte_as_documented() {
    let harness = Harness::new();
    let (nothing, cursor) = told(&feed(&harness, ""));
    assert!(nothing.is_empty());
    harness.insert([1], &api("crm-1"));
    harness.insert([2], &Channel::Widget);
    harness.store.delete(harness.user, conversation(2).id).unwrap();
    let answer = feed(&harness, &format!("cursor={cursor}&per_page=3"));
    let next = answer.json()["next_cursor"].as_str().unwrap().to_owned();
    let expected = format!(
        r#"{{"data":[{{"change":"created","id":"01000000-0000-0000-0000-000000000000","conversation":{{"id":"01000000-0000-0000-0000-000000000000","assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Support","type":"api","variables":null,"external_identifier":"crm-1","message_count":0,"total_cost":0,"ai_enabled":true,"created_at":"2025-01-25 10:13:21","updated_at":"2025-01-25 10:13:21"}}}},{{"change":"deleted","id":"02000000-0000-0000-0000-000000000000","conversation":null}}],"per_page":3,"next_cursor":"{next}","has_more":false}}"#
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// A program that begins in the middle: from now on, then the list, then what changed.
#[test]
fn a_copy_follows() {
    let harness = Harness::new();
    harness.insert(1..=5, &Channel::Widget);
    let (nothing, cursor) = told(&feed(&harness, "cursor=now"));
    assert!(nothing.is_empty());
    let patch = |row| format!("/api/conversations/{}", conversation(row).id);
    assert_eq!(harness.send("PATCH", &patch(2), r#"{"ai_enabled":false}"#).status, 200);
    harness.send("POST", &format!("{}/messages", patch(3)), r#"{"message":"hi"}"#);
    assert_eq!(harness.ask("DELETE", &patch(4), &harness.token, "").status, 200);
    harness.insert([6], &Channel::Widget);
    let first = feed(&harness, &format!("cursor={cursor}&per_page=2"));
    assert_eq!(first.json()["has_more"], true);
    let (changes, cursor) = told(&first);
    assert_eq!(changes, [change("updated", 2), change("updated", 3)]);
    let (changes, cursor) = told(&feed(&harness, &format!("cursor={cursor}")));
    assert_eq!(changes, [change("deleted", 4), change("created", 6)]);
    let (changes, again) = told(&feed(&harness, &format!("cursor={cursor}")));
    assert_eq!((changes, &again), (vec![], &cursor), "a cursor is never null, and stays good");
}

#[test]
fn who_waits_is_woken_by_a_commit() {
    let harness = Harness::new();
    let (_, cursor) = told(&feed(&harness, "cursor=now"));
    let target = format!("cursor={cursor}&wait=60");
    let began = Instant::now();
    let answer = thread::scope(|scope| {
        let waiting = scope.spawn(|| feed(&harness, &target));
        // Another user's commits wake nobody for good.
        let body = r#"{"assistant_id":1}"#;
        harness.send_as(&harness.other_token, "POST", "/api/conversations", body);
        harness.insert([7], &Channel::Widget);
        waiting.join().unwrap()
    });
    assert_eq!(told(&answer).0, [change("created", 7)]);
    assert!(began.elapsed() < Duration::from_secs(30), "it did not wait to the end");
}

#[test]
fn who_waits_for_nothing_is_told_so() {
    let harness = Harness::new();
    let (_, cursor) = told(&feed(&harness, "cursor=now"));
    let began = Instant::now();
    let (changes, again) = told(&feed(&harness, &format!("cursor={cursor}&wait=1")));
    assert!(changes.is_empty() && again == cursor);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// Neither the stop of a server nor the requests that wait hold each other up.
#[test]
fn a_stop_ends_the_waiting() {
    let limits = Limits { shutdown_timeout: Duration::from_secs(50), ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let harness = Harness::of(convodb::Store::in_memory().unwrap(), config);
    let (_, cursor) = told(&feed(&harness, "cursor=now"));
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
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            asked.wait();
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
            answer
        })
    };
    asked.wait();
    // Until the request is seen, a stop would turn it away.
    let in_flight = |metrics: &str| metrics.contains("convodb_connections 2");
    while !in_flight(harness.ask("GET", "/metrics", "", "").text()) {}
    drop(harness);
    let answer = waiting.join().unwrap();
    assert!(answer.is_empty() || answer.contains(r#""data":[]"#), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_is_wrong_is_told() {
    let harness = Harness::new();
    for (query, field, message) in [
        ("cursor=x", "cursor", "The selected cursor is invalid."),
        ("wait=61", "wait", "The wait field must be a number of seconds from 0 to 60."),
        ("wait=-1", "wait", "The wait field must be a number of seconds from 0 to 60."),
        ("per_page=0", "per_page", "The per page field must be at least 1."),
    ] {
        let answer = feed(&harness, query);
        let body = json!({"message": message, "errors": {field: [message]}});
        assert_eq!((answer.status, answer.json()), (422, body), "{query}");
    }
    let (_, cursor) = told(&feed(&harness, "cursor=now"));
    let target = format!("{FEED}?cursor={cursor}");
    assert_eq!(
        harness.ask("GET", &target, &harness.other_token, "").status,
        422,
        "another's cursor"
    );
    assert_eq!(harness.ask("GET", FEED, "nobody", "").status, 401);
}

#[test]
fn who_comes_back_too_late_is_told_what_to_do() {
    let harness = Harness::new();
    let (_, cursor) = told(&feed(&harness, "cursor=now"));
    harness.insert([1], &Channel::Widget);
    let keep = Keep { changes: Duration::ZERO, ..Keep::default() };
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
