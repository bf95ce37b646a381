//! Long polls and event streams of the database: they see the writes of this server and of others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::client::{ASSISTANTS, Both, send};

fn create(number: u32) -> String {
    format!(
        "{{\"id\":\"c0000000-0000-4000-8000-{number:012}\",\"assistant_id\":\"{}\"}}",
        ASSISTANTS[0]
    )
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_long_poll_ends_with_a_write_of_any_server() {
    let both = Both::new("http_poll");
    let other = both.another_server();
    for (number, writer) in [(1, both.there), (2, other)] {
        let now = both.on_database("GET /api/user/conversations/changes?cursor=now", "", "");
        let cursor = now.text("next_cursor").unwrap();
        let poll = format!("GET /api/user/conversations/changes?wait=20&cursor={cursor}");
        let (address, token) = (both.there, both.token.clone());
        let poll = thread::spawn(move || {
            let began = Instant::now();
            (send(address, &token, &poll, "", ""), began.elapsed())
        });
        thread::sleep(Duration::from_millis(500));
        assert!(!poll.is_finished(), "the poll ended without a change");
        let written = send(writer, &both.token, "POST /api/conversations", "", &create(number));
        assert_eq!(written.status, 200, "{}", written.body);
        let (response, took) = poll.join().unwrap();
        assert!(response.body.contains("\"change\":\"created\""), "{}", response.body);
        assert!(took < Duration::from_secs(10), "the change was seen after {took:?}");
    }
    // Without a change it ends with its time.
    let now = both.on_database("GET /api/user/conversations/changes?cursor=now", "", "");
    let cursor = now.text("next_cursor").unwrap();
    let poll = format!("GET /api/user/conversations/changes?wait=1&cursor={cursor}");
    let empty = both.on_database(&poll, "", "");
    assert!(empty.body.starts_with("{\"data\":[],"), "{}", empty.body);
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_stream_has_an_event_for_each_write() {
    let both = Both::new("http_events");
    let other = both.another_server();
    let mut stream = TcpStream::connect(both.there).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!(
        "GET /api/user/conversations/changes?cursor=now HTTP/1.1\r\nHost: store.example\r\n\
         Accept: text/event-stream\r\nAuthorization: Bearer {}\r\n\r\n",
        both.token
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut event = move || {
        let began = Instant::now();
        loop {
            let line = lines.next().expect("the stream ended before the event");
            let line = line.expect("no line within 20 s");
            if let Some(data) = line.strip_prefix("data: ") {
                return data.to_owned();
            }
            // Heartbeats come also without an event.
            assert!(began.elapsed() < Duration::from_secs(20), "no event within 20 s");
        }
    };
    assert!(event().starts_with("{\"data\":[],"));
    for (number, writer) in [(1, both.there), (2, other)] {
        send(writer, &both.token, "POST /api/conversations", "", &create(number));
        let data = event();
        assert!(data.contains(&format!("-{number:012}\"")), "{data}");
    }
}
