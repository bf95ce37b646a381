//! Limits: timeouts for slow clients; bounds on connections, writes, transfers and request rates.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use convodb::{Channel, Conversation, Message, Role, Store, StoreOptions, Timestamp, Variables};
use convodb_http::{Config, Limits};
use convodb_testkit::wait;

use crate::harness::{Harness, LIST, Server, bot, conversation};

const SHORT: Duration = Duration::from_millis(200);
/// An upper bound that a busy machine stays far below.
const LONG: Duration = Duration::from_secs(20);

fn harness(limits: Limits) -> Harness {
    Harness::of(Store::in_memory().unwrap(), Config { limits, ..Config::default() })
}

/// Sends the beginning of a request, and returns all bytes until the server closes.
#[track_caller]
fn begin(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(response).unwrap()
}

/// The number of connections that the server counts, without the one of this request.
fn others(server: &Server) -> u32 {
    let metrics = server.request("GET", "/metrics", "");
    let line =
        metrics.text().lines().find(|line| line.starts_with("convodb_connections ")).unwrap();
    line.split(' ').nth(1).unwrap().parse::<u32>().unwrap() - 1
}

/// Waits until the server counts this many other connections.
#[track_caller]
fn await_others(server: &Server, count: u32) {
    wait::until(&format!("{count} other connections"), || others(server) == count);
}

#[test]
fn a_slow_request_head_times_out() {
    let harness = harness(Limits { header_timeout: SHORT, ..Limits::default() });
    for partial in ["", "G", "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let began = Instant::now();
        let response = begin(&harness.server, partial);
        assert!(!response.contains(" 200 "), "{response}");
        assert!(began.elapsed() >= SHORT, "the server waited until the timeout");
    }
    // So does an idle connection.
    let response = begin(&harness.server, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.ends_with(r#"{"status":"ok"}"#), "{response}");
    await_others(&harness.server, 0);
}

#[test]
fn a_slow_body_answers_408() {
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
        let response = begin(&harness.server, &request);
        assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
        assert!(response.contains(r#""message":"Request Timeout""#), "{response}");
        assert!(began.elapsed() >= SHORT, "the server waited until the timeout");
    }
    await_others(&harness.server, 0);
}

#[test]
fn a_client_that_stops_reading_is_disconnected() {
    let harness = harness(Limits { write_timeout: SHORT, ..Limits::default() });
    fill(&harness);
    let (mut stream, status) = unread_export(&harness);
    assert_eq!(status, "HTTP/1.1 200");
    await_others(&harness.server, 0);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 40_000_000, "the export was cut off");
}

/// Begins an export that exceeds all buffers, and reads only its status.
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

/// Inserts forty conversations of one megabyte each.
fn fill(harness: &Harness) {
    let content = "x".repeat(1_000_000);
    for row in 1..=40 {
        harness.insert([row], &Channel::Widget);
        let message = Message::new(Role::User, content.clone(), Timestamp::MIN).unwrap();
        harness.store.append_message(harness.user, conversation(row).id, message).unwrap();
    }
}

#[test]
fn an_export_over_its_timeout_is_cut_off() {
    let export_timeout = Duration::from_secs(1);
    let harness = harness(Limits { export_timeout, ..Limits::default() });
    fill(&harness);
    let (mut stream, status) = unread_export(&harness);
    assert_eq!(status, "HTTP/1.1 200");
    // Longer than the time that is left: most of the export is not yet written.
    thread::sleep(export_timeout);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 40_000_000, "the export was cut off");
    await_others(&harness.server, 0);
}

#[test]
fn transfers_are_limited_per_user() {
    let harness = harness(Limits { max_transfers_per_user: 1, ..Limits::default() });
    fill(&harness);
    let (first, status) = unread_export(&harness);
    assert_eq!(status, "HTTP/1.1 200");
    let export = format!("{LIST}/export");
    assert_eq!(harness.request("GET", &export, &harness.token, "").status, 503);
    assert_eq!(harness.request("GET", &export, &harness.other_token, "").status, 200);
    assert_eq!(
        harness.request("GET", &export, &harness.other_token, "").status,
        200,
        "the first export has ended"
    );
    drop(first);
    wait::until("a disconnected client gives its transfer back", || {
        harness.request("GET", &export, &harness.token, "").status == 200
    });
}

#[test]
fn a_connection_over_the_limit_waits() {
    let harness = harness(Limits { max_connections: 1, ..Limits::default() });
    let mut first = TcpStream::connect(harness.server.address).unwrap();
    let token = &harness.token;
    let list = format!("GET {LIST} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    first.write_all(list.as_bytes()).unwrap();
    let mut some = [0; 12];
    first.read_exact(&mut some).unwrap();

    let mut waiting = TcpStream::connect(harness.server.address).unwrap();
    waiting.set_read_timeout(Some(SHORT)).unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let early = waiting.read(&mut some).unwrap_err().kind();
    assert!(matches!(early, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early:?}");
    drop(first);
    waiting.set_read_timeout(Some(LONG)).unwrap();
    let mut response = String::new();
    waiting.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

/// Strangers cannot keep a client with a token out, nor close its connection.
#[test]
fn a_strangers_connection_makes_room() {
    let harness = harness(Limits { max_connections: 4, ..Limits::default() });
    let connect = || {
        let stream = TcpStream::connect(harness.server.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    };
    let list = |mut stream: &TcpStream| {
        let head = format!("GET {LIST} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer");
        stream.write_all(format!("{head} {}\r\n\r\n", harness.token).as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    };
    let known = connect();
    list(&known);
    let mut strangers: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
    await_others(&harness.server, 3);
    // That request took the place of the first stranger.
    assert_eq!(strangers[0].read(&mut [0]).unwrap(), 0);
    strangers.extend((0..10).map(|_| connect()));
    assert_eq!(strangers[8].read(&mut [0]).unwrap(), 0);
    list(&connect());
    let mut rest = Vec::new();
    let mut known = &known;
    known.set_read_timeout(Some(SHORT)).unwrap();
    let open = known.read_to_end(&mut rest).unwrap_err().kind();
    assert!(matches!(open, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{open:?}");
    list(known);
}

#[test]
fn a_connection_ends_after_its_requests_or_at_its_age() {
    let two = Limits { max_requests_per_connection: Some(2), ..Limits::default() };
    let old = Limits { max_connection_age: Some(Duration::ZERO), ..Limits::default() };
    for (limits, expected) in [(two, 2), (old, 1)] {
        let harness = harness(limits);
        let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
        let answers = begin(&harness.server, &request);
        assert_eq!(answers.matches("HTTP/1.1 200").count(), expected, "{answers}");
        assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    }
}

#[test]
fn an_address_has_a_bounded_number_of_connections() {
    let harness = harness(Limits { max_connections_per_address: Some(2), ..Limits::default() });
    let _two = [0; 2].map(|_| {
        let mut stream = TcpStream::connect(harness.server.address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        stream
    });
    let mut third = TcpStream::connect(harness.server.address).unwrap();
    third.set_read_timeout(Some(LONG)).unwrap();
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)), "the third one is closed at once");
}

/// Unfinished bodies of one user leave room for the requests of others.
#[test]
fn unfinished_bodies_hold_a_share_of_the_bytes() {
    let limits = Limits { max_buffered_bytes: 1 << 20, ..Limits::default() };
    let harness = harness(limits);
    let unfinished = |token: &str| {
        let mut stream = TcpStream::connect(harness.server.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!(
            "POST /api/conversations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..2).map(|_| unfinished(&harness.token)).collect();
    await_bodies(&harness.server, 400_000);
    let mut refused = unfinished(&harness.token);
    let mut status = [0; 12];
    refused.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    let body = format!(r#"{{"name":"a","other":"{}"}}"#, "x".repeat(200_000));
    let other = harness.send_as(&harness.other_token, "POST", "/api/user/assistants", &body);
    assert_eq!(other.status, 200);
    drop(held);
    await_bodies(&harness.server, 0);
    assert_eq!(harness.send("POST", "/api/user/assistants", &body).status, 200);
}

/// Unread responses of one user leave room for those of others.
#[test]
fn unread_responses_hold_a_share_of_the_bytes() {
    let limits = Limits { max_buffered_bytes: 24 << 20, ..Limits::default() };
    let harness = harness(limits);
    let variables = format!("{{\"x\":\"{}\"}}", "x".repeat(60_000));
    for row in 1..=100 {
        let variables = Some(Variables::new(variables.clone()).unwrap());
        let row = Conversation { variables, ..conversation(row) };
        harness.store.insert(harness.user, row, Vec::new()).unwrap();
    }
    let target = format!("{LIST}?per_page=100");
    let unread: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(harness.server.address).unwrap();
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
                harness.token
            );
            stream.write_all(request.as_bytes()).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 200");
            stream
        })
        .collect();
    assert_eq!(harness.request("GET", &target, &harness.token, "").status, 503);
    assert_eq!(harness.list_of(&harness.other_token, "").status, 200);
    drop(unread);
    await_bodies(&harness.server, 0);
    assert_eq!(harness.request("GET", &target, &harness.token, "").status, 200);
}

/// Waits until the server holds this many bytes of bodies.
#[track_caller]
fn await_bodies(server: &Server, bytes: usize) {
    let expected = format!("convodb_bodies_bytes {bytes}");
    wait::until(&expected, || {
        let metrics = server.request("GET", "/metrics", "");
        metrics.text().lines().any(|line| line == expected)
    });
}

#[test]
fn a_trickling_import_times_out() {
    let harness = harness(Limits { chunk_timeout: SHORT, ..Limits::default() });
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    let head = format!(
        "POST {LIST}/import HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n",
        harness.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(SHORT / 4)).unwrap();
    let until = Instant::now() + LONG;
    let mut status = [0; 12];
    while stream.read_exact(&mut status).is_err() {
        assert!(Instant::now() < until, "a byte now and then keeps the import alive");
        stream.write_all(b"\n").unwrap();
    }
    assert_eq!(&status, b"HTTP/1.1 408");
}

/// Requests of one user that wait for changes leave room for those of others.
#[test]
fn waiting_polls_are_bounded_per_user() {
    let harness = harness(Limits { max_waiting_polls: 4, ..Limits::default() });
    let poll = |token: &str| {
        let mut stream = TcpStream::connect(harness.server.address).unwrap();
        let head = format!("GET {LIST}/changes?cursor=now&wait=60 HTTP/1.1\r\nHost: a\r\n");
        stream
            .write_all(format!("{head}Authorization: Bearer {token}\r\n\r\n").as_bytes())
            .unwrap();
        stream.set_read_timeout(Some(SHORT)).unwrap();
        let mut status = [0; 12];
        let waits = stream.read_exact(&mut status).is_err();
        (stream, waits.then_some(()).ok_or(status))
    };
    let (one, two) = (poll(&harness.token), poll(&harness.token));
    assert!(one.1.is_ok() && two.1.is_ok());
    assert_eq!(poll(&harness.token).1, Err(*b"HTTP/1.1 503"));
    let other = poll(&harness.other_token);
    assert!(other.1.is_ok());
    let ready = harness.request("GET", &format!("{LIST}/changes?cursor=now"), &harness.token, "");
    assert_eq!(ready.status, 200, "a request that does not wait needs no place");
}

#[test]
fn a_write_over_the_limit_answers_503() {
    let harness = harness(Limits { max_waiting_writes: 0, ..Limits::default() });
    let response = harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#);
    assert_eq!((response.status, response.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(harness.list("").status, 200, "reads still succeed");
}

#[test]
fn waiting_writes_are_bounded_and_complete() {
    let harness = harness(Limits { max_waiting_writes: 1, ..Limits::default() });
    let create = || harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#).status;
    let (enter, entered) = channel();
    let (release, released) = channel::<()>();
    let store = harness.store.clone();
    let slow = thread::spawn(move || {
        store.write(move |_| {
            enter.send(()).unwrap();
            let _ = released.recv();
            Ok::<_, convodb::Error>(())
        })
    });
    entered.recv().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(create);
        wait::until("the write is queued", || harness.store.metrics().writes_waiting == 2);
        assert_eq!(create(), 503);
        release.send(()).unwrap();
        assert_eq!(waiting.join().unwrap(), 200);
    });
    assert_eq!(create(), 200, "the permit is free again");
    slow.join().unwrap().unwrap();
}

/// While the write queue is full, a write is refused, and an import waits.
#[test]
fn a_full_queue_answers_503_to_a_write_and_delays_an_import() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().queue_depth(1);
    let store = Store::open_with(directory.path().join("s.convodb"), &options).unwrap();
    let harness = Harness::of(store, Config::default());
    let (enter, entered) = channel();
    let (release, released) = channel::<()>();
    let store = harness.store.clone();
    let slow = thread::spawn(move || {
        store.write(move |_| {
            enter.send(()).unwrap();
            let _ = released.recv();
            Ok::<_, convodb::Error>(())
        })
    });
    entered.recv().unwrap();
    // One of two writes takes the only slot of the queue; the other fails.
    let (report, reported) = channel();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (store, report) = (harness.store.clone(), report.clone());
            thread::spawn(move || report.send(store.write(|_| Ok::<_, convodb::Error>(())).is_ok()))
        })
        .collect();
    assert!(!reported.recv().unwrap());

    let response = harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#);
    assert_eq!((response.status, response.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(harness.list("").status, 200, "reads still succeed");

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
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.contains(r#"{"inserted":1,"#), "{response}");
    slow.join().unwrap().unwrap();
    for waiting in waiting {
        waiting.join().unwrap().unwrap();
    }
    assert_eq!(harness.list("").rows(), [1]);
}

#[test]
fn each_token_has_its_own_rate_limit() {
    let rate_limit = Some("2/h".parse().unwrap());
    let config = Config { rate_limit, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    // A request with an unknown token does not count.
    assert_eq!(harness.list_of("x", "").status, 401);
    for (response, left, until) in [
        (harness.list("per_page=0"), "1", 1800),
        (harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#), "0", 3600),
    ] {
        assert!(matches!(response.status, 200 | 422), "{}", response.text());
        assert_eq!(response.header("ratelimit-policy"), "\"token\";q=2;w=3600");
        assert_eq!(response.header("ratelimit"), format!("\"token\";r={left};t={until}"));
        assert_eq!(response.header("x-ratelimit-limit"), "2");
        assert_eq!(response.header("x-ratelimit-remaining"), left);
    }
    for response in
        [harness.list(""), harness.send("POST", "/api/user/assistants", r#"{"name":"a"}"#)]
    {
        assert_eq!((response.status, response.text()), (429, r#"{"message":"Too Many Requests"}"#));
        let seconds: u32 = response.header("retry-after").parse().unwrap();
        assert!((1..=1800).contains(&seconds), "{seconds}");
        assert_eq!(response.header("ratelimit-policy"), "\"token\";q=2;w=3600");
        assert_eq!(response.header("ratelimit"), format!("\"token\";r=0;t={seconds}"));
        assert_eq!(response.header("x-ratelimit-remaining"), "0");
    }
    let other = harness.list_of(&harness.other_token, "");
    assert_eq!((other.status, other.maybe_header("retry-after")), (200, None));
    let anonymous = harness.server.request("GET", "/healthz", "");
    assert_eq!((anonymous.status, anonymous.maybe_header("ratelimit")), (200, None));
}
