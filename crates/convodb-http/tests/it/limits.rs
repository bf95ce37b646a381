//! Clients that take too much: too long for a head, for a body, for taking an answer; too many
//! connections, too many requests.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use convodb::{Channel, Message, Role, Store, StoreOptions, Timestamp};
use convodb_http::{Config, Limits};

use crate::harness::{Harness, LIST, Server, bot, conversation};

const SHORT: Duration = Duration::from_millis(200);
/// Far longer than what is awaited takes on a machine that is busy.
const LONG: Duration = Duration::from_secs(20);

fn harness(limits: Limits) -> Harness {
    Harness::of(Store::in_memory().unwrap(), Config { limits, ..Config::default() })
}

/// Sends the beginning of a request, and gives what comes until the server closes.
#[track_caller]
fn begin(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(answer).unwrap()
}

/// How many connections the server counts, but for the one that asks.
fn others(server: &Server) -> u32 {
    let metrics = server.ask("GET", "/metrics", "");
    let line =
        metrics.text().lines().find(|line| line.starts_with("convodb_connections ")).unwrap();
    line.split(' ').nth(1).unwrap().parse::<u32>().unwrap() - 1
}

/// Waits until the server counts this many connections beside the one that asks.
#[track_caller]
fn await_others(server: &Server, count: u32) {
    let until = Instant::now() + LONG;
    while others(server) != count {
        assert!(Instant::now() < until, "still {} connections", others(server));
        thread::yield_now();
    }
}

#[test]
fn a_slow_head_is_given_up() {
    let harness = harness(Limits { header_timeout: SHORT, ..Limits::default() });
    for partial in ["", "G", "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let began = Instant::now();
        let answer = begin(&harness.server, partial);
        assert!(!answer.contains(" 200 "), "{answer}");
        assert!(began.elapsed() >= SHORT, "it was waited for");
    }
    // So is a connection that does nothing after a request.
    let answer = begin(&harness.server, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    await_others(&harness.server, 0);
}

#[test]
fn a_slow_body_is_given_up() {
    let harness =
        harness(Limits { body_timeout: SHORT, chunk_timeout: SHORT, ..Limits::default() });
    for (target, content_type, partial) in [
        ("/api/conversations", "application/json", "{\"assistant_id\":"),
        ("/api/user/assistants", "application/json", ""),
        ("/api/user/conversations/import", "application/x-ndjson", "{}\n{"),
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: {content_type}\r\nContent-Length: 100\r\n\r\n{partial}",
            harness.token
        );
        let began = Instant::now();
        let answer = begin(&harness.server, &request);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""message":"Request Timeout""#), "{answer}");
        assert!(began.elapsed() >= SHORT, "it was waited for");
    }
    await_others(&harness.server, 0);
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    let harness = harness(Limits { write_timeout: SHORT, ..Limits::default() });
    furnish(&harness);
    let (mut stream, status) = unread_export(&harness);
    assert_eq!(status, "HTTP/1.1 200");
    await_others(&harness.server, 0);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 40_000_000, "it was broken off");
}

/// Begins an export of more than all buffers on its way hold, and reads no more than its status.
fn unread_export(harness: &Harness) -> (TcpStream, String) {
    let request = format!(
        "GET {LIST}/export?messages=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        harness.token
    );
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    (stream, String::from_utf8(status.to_vec()).unwrap())
}

/// Forty conversations with a megabyte each.
fn furnish(harness: &Harness) {
    let content = "x".repeat(1_000_000);
    for row in 1..=40 {
        harness.insert([row], &Channel::Widget);
        let message = Message::new(Role::User, content.clone(), Timestamp::MIN).unwrap();
        harness.store.append_message(harness.user, conversation(row).id, message).unwrap();
    }
}

#[test]
fn an_export_that_takes_too_long_is_broken_off() {
    let harness = harness(Limits { export_timeout: Duration::ZERO, ..Limits::default() });
    furnish(&harness);
    let (mut stream, status) = unread_export(&harness);
    assert_eq!(status, "HTTP/1.1 200");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 40_000_000, "it was broken off");
    await_others(&harness.server, 0);
}

#[test]
fn a_user_with_a_slow_export_leaves_room_for_others() {
    let harness = harness(Limits { max_transfers_per_user: 1, ..Limits::default() });
    furnish(&harness);
    let (held, status) = unread_export(&harness);
    assert_eq!(status, "HTTP/1.1 200");
    let export = format!("{LIST}/export");
    assert_eq!(harness.ask("GET", &export, &harness.token, "").status, 503);
    assert_eq!(harness.ask("GET", &export, &harness.other_token, "").status, 200);
    assert_eq!(harness.ask("GET", &export, &harness.other_token, "").status, 200, "it has ended");
    drop(held);
    let until = Instant::now() + LONG;
    while harness.ask("GET", &export, &harness.token, "").status != 200 {
        assert!(Instant::now() < until, "a client that went away still has its place");
    }
}

#[test]
fn one_connection_more_waits() {
    let harness = harness(Limits { max_connections: 1, ..Limits::default() });
    let mut held = TcpStream::connect(harness.server.address).unwrap();
    held.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut some = [0; 12];
    held.read_exact(&mut some).unwrap();

    let mut waiting = TcpStream::connect(harness.server.address).unwrap();
    waiting.set_read_timeout(Some(SHORT)).unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let early = waiting.read(&mut some).unwrap_err().kind();
    assert!(matches!(early, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early:?}");
    drop(held);
    waiting.set_read_timeout(Some(LONG)).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn one_write_more_is_refused() {
    let harness = harness(Limits { max_waiting_writes: 0, ..Limits::default() });
    let answer = harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#);
    assert_eq!((answer.status, answer.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(harness.list("").status, 200, "reads go on");
}

/// While the queue of writes is full a write is refused, and an import waits for its place.
#[test]
fn a_full_queue_refuses_a_write_and_holds_an_import_up() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { queue_depth: 1, ..StoreOptions::default() };
    let store = Store::open_with(directory.path().join("s.convodb"), &options).unwrap();
    let harness = Harness::of(store, Config::default());
    let (enter, entered) = channel();
    let (release, released) = channel::<()>();
    let store = harness.store.clone();
    let slow = thread::spawn(move || {
        store.write(move |_| {
            enter.send(()).unwrap();
            let _ = released.recv();
            Ok(())
        })
    });
    entered.recv().unwrap();
    // Of two writes one takes the only place, and the other one is told that it is taken.
    let (report, reported) = channel();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (store, report) = (harness.store.clone(), report.clone());
            thread::spawn(move || report.send(store.write(|_| Ok(())).is_ok()))
        })
        .collect();
    assert!(!reported.recv().unwrap());

    let answer = harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#);
    assert_eq!((answer.status, answer.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(harness.list("").status, 200, "reads go on");

    let line = format!(
        r#"{{"id":"{}","assistant_id":"{}","type":"test","created_at":"2025-01-25"}}"#,
        conversation(1).id,
        bot().uuid()
    );
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    let request = format!(
        "POST {LIST}/import HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {}\r\n\r\n{line}",
        harness.token,
        line.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let early = stream.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(early, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early:?}");
    release.send(()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#"{"inserted":1,"#), "{answer}");
    slow.join().unwrap().unwrap();
    for waiting in waiting {
        waiting.join().unwrap().unwrap();
    }
    assert_eq!(harness.list("").rows(), [1]);
}

#[test]
fn each_token_has_its_own_rate() {
    let rate_limit = Some("2/h".parse().unwrap());
    let config = Config { rate_limit, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    // Who is nobody does not count.
    assert_eq!(harness.list_of("x", "").status, 401);
    for (answer, left, until) in [
        (harness.list("per_page=0"), "1", 1800),
        (harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#), "0", 3600),
    ] {
        assert!(matches!(answer.status, 200 | 422), "{}", answer.text());
        assert_eq!(answer.header("ratelimit-policy"), "\"token\";q=2;w=3600");
        assert_eq!(answer.header("ratelimit"), format!("\"token\";r={left};t={until}"));
        assert_eq!(answer.header("x-ratelimit-limit"), "2");
        assert_eq!(answer.header("x-ratelimit-remaining"), left);
    }
    for answer in
        [harness.list(""), harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#)]
    {
        assert_eq!((answer.status, answer.text()), (429, r#"{"message":"Too Many Requests"}"#));
        let seconds: u32 = answer.header("retry-after").parse().unwrap();
        assert!((1..=1800).contains(&seconds), "{seconds}");
        assert_eq!(answer.header("ratelimit-policy"), "\"token\";q=2;w=3600");
        assert_eq!(answer.header("ratelimit"), format!("\"token\";r=0;t={seconds}"));
        assert_eq!(answer.header("x-ratelimit-remaining"), "0");
    }
    let other = harness.list_of(&harness.other_token, "");
    assert_eq!((other.status, other.maybe_header("retry-after")), (200, None));
    let nobody = harness.server.ask("GET", "/healthz", "");
    assert_eq!((nobody.status, nobody.maybe_header("ratelimit")), (200, None));
}
