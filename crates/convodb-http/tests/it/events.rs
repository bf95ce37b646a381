//! Change events: streams over sockets, broken connections, limits, authority that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use convodb::{Channel, Conversation, Retention, Store, Timestamp, Variables};
use convodb_http::{Config, Limits};
use convodb_testkit::wait;
use serde_json::{Value, json};

use crate::harness::{Harness, LIST, conversation};

const FEED: &str = "/api/user/conversations/changes";
const SHORT: Duration = Duration::from_millis(100);
/// An upper bound that a busy machine stays far below.
const LONG: Duration = Duration::from_secs(20);

/// An open stream of events.
struct Stream {
    reader: BufReader<TcpStream>,
    head: String,
    text: String,
}

/// A received event.
#[derive(Debug)]
struct Event {
    id: Option<String>,
    name: Option<String>,
    data: Value,
}

impl Event {
    /// The changes of the event, by kind and row.
    fn changes(&self) -> Vec<(String, u8)> {
        let changes = self.data["data"].as_array().unwrap().iter();
        let row = |change: &Value| u8::from_str_radix(&change["id"].as_str().unwrap()[..2], 16);
        changes
            .map(|change| (change["change"].as_str().unwrap().to_owned(), row(change).unwrap()))
            .collect()
    }

    #[track_caller]
    fn id(&self) -> &str {
        self.id.as_deref().unwrap()
    }
}

impl Stream {
    /// Requests a stream and reads the head of the response.
    #[track_caller]
    fn open(harness: &Harness, query: &str, token: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(harness.server.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!(
            "GET {FEED}?{query} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "the head ended: {head}");
        }
        Self { reader, head, text: String::new() }
    }

    #[track_caller]
    fn of(harness: &Harness, query: &str) -> Self {
        let stream = Self::open(harness, query, &harness.token, "");
        assert_eq!(stream.status(), 200, "{}", stream.head);
        stream
    }

    /// A stream that continues after an event.
    #[track_caller]
    fn after(harness: &Harness, query: &str, id: &str) -> Self {
        let headers = format!("Last-Event-ID: {id}\r\n");
        let stream = Self::open(harness, query, &harness.token, &headers);
        assert_eq!(stream.status(), 200, "{}", stream.head);
        stream
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Reads the next chunk of the body; `false` at its end, or if the connection was closed.
    fn read_chunk(&mut self) -> bool {
        let mut size = String::new();
        if self.reader.read_line(&mut size).is_err() {
            return false;
        }
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        if size == 0 || self.reader.read_exact(&mut chunk).is_err() {
            return false;
        }
        self.text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        true
    }

    /// The next block of lines; `None` at the end.
    fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            if !self.read_chunk() {
                return None;
            }
        }
    }

    /// The next event, without comments; `None` at the end.
    fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let line = |name: &str| {
                let mut values = block.lines().filter_map(|line| line.strip_prefix(name));
                let value = values.next().map(str::to_owned);
                assert!(values.next().is_none(), "{name} occurs twice: {block}");
                value
            };
            if let Some(data) = line("data: ") {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { id: line("id: "), name: line("event: "), data });
            }
        }
    }
}

fn change(kind: &str, row: u8) -> (String, u8) {
    (kind.to_owned(), row)
}

fn harness(limits: Limits) -> Harness {
    Harness::of(Store::in_memory().unwrap(), Config { limits, ..Config::default() })
}

/// An event has the body that a poll at its position gets, and the cursor behind it as its id.
#[test]
fn events_follow_the_feed() {
    let harness = Harness::new();
    let mut stream =
        Stream::open(&harness, "cursor=now", &harness.token, "Accept-Encoding: gzip, zstd\r\n");
    assert_eq!(stream.status(), 200);
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
        "x-accel-buffering: no\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        assert!(stream.head.contains(header), "{}", stream.head);
    }
    assert!(!stream.head.contains("content-encoding"), "{}", stream.head);
    assert!(stream.read_chunk() && stream.text.starts_with("retry: 1000\n"), "{}", stream.text);
    let begin = stream.next().unwrap();
    assert_eq!((begin.changes(), begin.name.as_deref()), (vec![], None));
    assert_eq!(begin.data["next_cursor"], begin.id());
    let mut before = begin.id().to_owned();
    harness.insert([1], &Channel::Widget);
    let patch = format!("/api/conversations/{}", conversation(1).id);
    for kind in ["created", "updated", "deleted"] {
        match kind {
            "created" => {}
            "updated" => {
                let broken = "{\"variables\":{\r\n\"a\":\"\u{e4}\\n\"}}";
                assert_eq!(harness.send("PATCH", &patch, broken).status, 200);
            }
            _ => assert_eq!(harness.request("DELETE", &patch, &harness.token, "").status, 200),
        }
        let event = stream.next().unwrap();
        assert_eq!(event.changes(), [change(kind, 1)]);
        let target = format!("{FEED}?cursor={before}");
        assert_eq!(event.data, harness.request("GET", &target, &harness.token, "").json());
        assert_eq!(event.data["next_cursor"], event.id());
        before = event.id().to_owned();
    }
}

/// The connection breaks in the middle of every second event, and after each of the others. Each
/// change arrives once, in the order of the commits, and the copy equals the list.
#[test]
fn a_client_that_loses_every_connection_misses_and_repeats_nothing() {
    const ROWS: u8 = 60;
    let harness = Harness::new();
    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    let mut copy = BTreeMap::new();
    let begin = Stream::of(&harness, "cursor=now&per_page=3").next().unwrap();
    let mut last = begin.id().to_owned();
    thread::scope(|scope| {
        scope.spawn(|| {
            for row in 1..=ROWS {
                harness.insert([row], &Channel::Widget);
                if row % 3 == 0 {
                    harness.store.delete(harness.user, conversation(row - 2).id).unwrap();
                }
                thread::yield_now();
            }
            harness.insert([255], &Channel::Widget);
        });
        for connection in 0.. {
            let mut stream = Stream::after(&harness, "cursor=now&per_page=3", &last);
            if connection % 2 == 1 {
                assert!(stream.read_chunk(), "a part of an event at most, and then nothing");
                continue;
            }
            let event = stream.next().unwrap();
            event.id().clone_into(&mut last);
            for ((kind, row), change) in
                event.changes().into_iter().zip(event.data["data"].as_array().unwrap())
            {
                match kind.as_str() {
                    "created" => created.push(row),
                    "deleted" => deleted.push(row),
                    _ => panic!("nothing was updated: {row}"),
                }
                copy.insert(row, change["conversation"].clone());
            }
            if copy.contains_key(&255) {
                break;
            }
        }
    });
    assert_eq!(deleted, (1..=ROWS).step_by(3).collect::<Vec<_>>(), "once each, in order");
    let is_deleted = |row: &u8| deleted.contains(row);
    let remaining: Vec<u8> =
        created.iter().copied().filter(|row| !is_deleted(row) && *row < 255).collect();
    assert_eq!(remaining, (1..=ROWS).filter(|row| !is_deleted(row)).collect::<Vec<_>>());
    assert!(created.is_sorted_by(|a, b| a < b), "once each: {created:?}");
    copy.retain(|_, conversation| !conversation.is_null());
    let newest_first: Vec<Value> = copy.into_values().rev().collect();
    assert_eq!(harness.list("per_page=100").json()["data"], Value::Array(newest_first));
}

#[test]
fn the_last_event_id_wins_over_the_cursor() {
    let harness = Harness::new();
    let begin = Stream::of(&harness, "cursor=now").next().unwrap();
    harness.insert([1, 2], &Channel::Widget);
    let event = Stream::after(&harness, "cursor=now&per_page=1", begin.id()).next().unwrap();
    assert_eq!(event.changes(), [change("created", 1)]);
    let rest = Stream::after(&harness, "", event.id()).next().unwrap();
    assert_eq!(rest.changes(), [change("created", 2)]);
    assert_eq!(
        Stream::of(&harness, "").next().unwrap().changes(),
        [change("created", 1), change("created", 2)]
    );
}

#[test]
fn invalid_parameters_of_a_stream_answer_422() {
    let harness = Harness::new();
    let begin = Stream::of(&harness, "cursor=now").next().unwrap();
    let refused = |query: &str, token: &str, headers: &str, message: &str| {
        let headers = format!("Accept: text/event-stream\r\n{headers}");
        let response = harness.request("GET", &format!("{FEED}?{query}"), token, &headers);
        let body = response.json();
        assert_eq!((response.status, body["message"].as_str().unwrap()), (422, message), "{query}");
    };
    let wait = "The wait field is not a parameter here; the parameters are cursor, per_page.";
    refused("wait=1", &harness.token, "", wait);
    refused("cursor=x", &harness.token, "", "The selected cursor is invalid.");
    let id = "The selected Last-Event-ID is invalid.";
    refused("", &harness.token, "Last-Event-ID: x\r\n", id);
    refused("", &harness.other_token, &format!("Last-Event-ID: {}\r\n", begin.id()), id);
    refused("", &harness.token, "Last-Event-ID: 1\r\nLast-Event-ID: 2\r\n", id);
}

#[test]
fn an_expired_last_event_id_answers_410() {
    let harness = Harness::new();
    let begin = Stream::of(&harness, "cursor=now").next().unwrap();
    harness.insert([1], &Channel::Widget);
    let keep = Retention { changes: Duration::ZERO, ..Retention::default() };
    let hour = |hours: u64| Timestamp::from_millis(hours * 3_600_000).unwrap();
    harness.store.expire(hour(1), keep).unwrap();
    harness.store.expire(hour(3), keep).unwrap();
    let headers = format!("Last-Event-ID: {}\r\n", begin.id());
    assert_eq!(Stream::open(&harness, "", &harness.token, &headers).status(), 410);
    assert_eq!(Stream::open(&harness, "", &harness.token, "").status(), 410);
    assert!(Stream::of(&harness, "cursor=now").next().unwrap().changes().is_empty());
}

/// A revoked token gets no further change, and the stream says why it ends.
#[test]
fn revoking_the_token_ends_its_stream() {
    let harness = harness(Limits { event_heartbeat: SHORT, ..Limits::default() });
    let mut silent = Stream::of(&harness, "cursor=now");
    let mut busy = Stream::of(&harness, "cursor=now");
    assert!(silent.next().is_some() && busy.next().is_some());
    assert_eq!(silent.block().as_deref(), Some(":"), "a heartbeat");
    harness.store.revoke_token(harness.token.clone()).unwrap();
    harness.insert([1], &Channel::Widget);
    for stream in [&mut silent, &mut busy] {
        let end = stream.next().unwrap();
        assert_eq!((end.name.as_deref(), end.id), (Some("end"), None));
        assert_eq!(end.data, json!({"status": 401, "message": "Unauthenticated."}));
        assert!(stream.next().is_none());
    }
    assert_eq!(Stream::open(&harness, "", &harness.token, "").status(), 401);
}

/// Two for a user; the third is refused, but not another user's.
#[test]
fn streams_are_bounded_per_user_and_in_total() {
    let limits = Limits {
        max_event_streams: 10,
        max_event_streams_per_user: 2,
        event_heartbeat: SHORT,
        ..Limits::default()
    };
    let harness = harness(limits);
    let open = |token: &str| Stream::open(&harness, "cursor=now", token, "");
    let (first, second) = (open(&harness.token), open(&harness.token));
    assert_eq!((first.status(), second.status()), (200, 200));
    assert_eq!(open(&harness.token).status(), 503);
    let other = open(&harness.other_token);
    assert_eq!(other.status(), 200);
    drop(first);
    wait::until("a closed connection gives its place back", || {
        open(&harness.token).status() == 200
    });
    let poll = harness.request("GET", &format!("{FEED}?cursor=now"), &harness.token, "");
    assert_eq!(poll.status, 200, "polls have their own places");
}

/// A client that stops reading is closed. Meanwhile the server holds one event for it, whatever is
/// written, and from its last event on nothing is missing.
#[test]
fn a_client_that_does_not_read_is_closed_and_can_continue() {
    const ROWS: u8 = 200;
    let limits = Limits {
        write_timeout: Duration::from_secs(1),
        event_heartbeat: SHORT,
        ..Limits::default()
    };
    let harness = harness(limits);
    let mut stream = Stream::of(&harness, "cursor=now&per_page=1");
    let begin = stream.next().unwrap().id().to_owned();
    let text = "x".repeat(60_000);
    let variables: Variables = format!(r#"{{"text":"{text}"}}"#).parse().unwrap();
    let large = |row| Conversation { variables: Some(variables.clone()), ..conversation(row) };
    let mut held = 0;
    for row in 1..=ROWS {
        harness.store.insert(harness.user, large(row), Vec::new()).unwrap();
        held = held.max(bodies_bytes(&harness));
    }
    wait::until("the connection is closed", || bodies_bytes(&harness) == 0);
    // What hyper's buffer, at most 400 KiB, and the event that follows hold.
    assert!(held <= 600_000, "{held} bytes for a client that does not read");
    let mut rows: Vec<u8> = Vec::new();
    let mut last = begin;
    while let Some(event) = stream.next() {
        event.id().clone_into(&mut last);
        rows.extend(event.changes().iter().map(|(_, row)| *row));
    }
    assert!(rows.len() < usize::from(ROWS), "the buffers of the system held all of it");
    let mut stream = Stream::after(&harness, "per_page=100", &last);
    while rows.len() < usize::from(ROWS) {
        rows.extend(stream.next().unwrap().changes().iter().map(|(_, row)| *row));
    }
    assert_eq!(rows, (1..=ROWS).collect::<Vec<_>>());
}

fn bodies_bytes(harness: &Harness) -> usize {
    let metrics = harness.server.request("GET", "/metrics", "");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix("convodb_bodies_bytes "));
    line.unwrap().parse().unwrap()
}

/// A token that is limited to one assistant gets the events of this one alone.
#[test]
fn a_restricted_token_gets_the_events_of_its_assistant() {
    let harness = Harness::new();
    let other = harness.send("POST", "/api/user/assistants", r#"{"name":"Sales"}"#).json();
    let only = other["uuid"].as_str().unwrap().parse().unwrap();
    let options = convodb::TokenOptions { assistant: Some(only), ..Default::default() };
    let token =
        harness.store.create_token_with(harness.user, Timestamp::MIN, options).unwrap().token;
    let mut stream = Stream::open(&harness, "cursor=now", &token, "");
    assert!(stream.next().unwrap().changes().is_empty());
    harness.insert([1], &Channel::Widget);
    let sales = Conversation { assistant: only, ..conversation(2) };
    harness.store.insert(harness.user, sales, Vec::new()).unwrap();
    assert_eq!(stream.next().unwrap().changes(), [change("created", 2)]);
    assert_eq!(harness.request("GET", LIST, &token, "").rows(), [2]);
}

#[test]
fn shutdown_ends_streams() {
    let limits = Limits { shutdown_timeout: Duration::from_secs(50), ..Limits::default() };
    let harness = harness(limits);
    let mut stream = Stream::of(&harness, "cursor=now");
    assert!(stream.next().is_some());
    let began = Instant::now();
    drop(harness);
    assert!(stream.next().is_none());
    assert!(began.elapsed() < LONG);
}
