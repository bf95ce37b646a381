//! Request bodies: media types, syntax errors, size limits, refusals before the end of the body.

use std::io::{Read, Write};
use std::net::TcpStream;

use convodb::{Channel, Store};
use convodb_http::{Config, Limits};

use crate::client::send;
use crate::harness::{Harness, conversation};

const PATH: &str = "/api/conversations";
const JSON: &str = "application/json";

fn error(message: &str) -> String {
    format!(r#"{{"status":false,"error":"{message}","message":"{message}"}}"#)
}

#[test]
fn only_json_media_types_are_accepted() {
    let harness = Harness::new();
    let request = |content_type: &str| {
        harness.send_typed(&harness.token, "POST", PATH, content_type, br#"{"assistant_id":1}"#)
    };
    for right in [
        JSON,
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/vnd.api+json",
    ] {
        assert_eq!(request(right).status, 200, "{right}");
    }
    for wrong in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/jsonx",
        "json",
        "application/json\r\nContent-Type: application/json",
        "application/json\r\nContent-Encoding: gzip",
    ] {
        let response = request(wrong);
        let rule = match wrong.contains("gzip") {
            true => "The body must not be compressed (Content-Encoding).",
            false => "The body must be of the type application/json, in UTF-8.",
        };
        assert_eq!((response.status, response.text()), (415, &*error(rule)), "{wrong}");
    }
    let none = harness.request("POST", PATH, &harness.token, "Content-Length: 0\r\n");
    assert_eq!(none.status, 415);
}

#[test]
fn a_syntax_error_is_reported_with_its_position() {
    let harness = Harness::new();
    let check = |body: &[u8], status: u16, message: &str| {
        let response = harness.send_typed(&harness.token, "POST", PATH, JSON, body);
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.json()["message"], message);
    };
    check(b"", 400, "The body is not valid JSON at line 1 column 0.");
    check(b"{\"assistant_id\":\n1,}", 400, "The body is not valid JSON at line 2 column 3.");
    check(b"{\"assistant_id\":NaN}", 400, "The body is not valid JSON at line 1 column 17.");
    check(b"{\"id\":\"\xff\"}", 400, "The body is not valid UTF-8.");
    check(b"\xef\xbb\xbf{}", 400, "The body is not valid JSON at line 1 column 1.");
    check(b"[]", 422, "The body field must be a JSON object.");
    check(b"null", 422, "The body field must be a JSON object.");
    check(b"\"secret\"", 422, "The body field must be a JSON object.");
    check(
        br#"{"assistant_id":1,"assistant_id":2}"#,
        422,
        "The body field must have assistant_id only once.",
    );
    check(
        br#"{"assistant_id":1,"type":"whatsapp","customer":{"phone":"+1","phone":"+2"}}"#,
        422,
        "The customer field must be an object with each field at most once.",
    );
    let deep = format!(r#"{{"assistant_id":1,"variables":{}}}"#, "{\"a\":".repeat(20_000));
    check(deep.as_bytes(), 400, "The body is not valid JSON at line 1 column 100031.");
    let nested = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep = format!(r#"{{"assistant_id":1,"variables":{{"a":{nested}}},"unknown":{nested}}}"#);
    check(
        deep.as_bytes(),
        422,
        "The variables field must be a JSON object, nested at most 127 deep.",
    );
    let lone = br#"{"assistant_id":1,"type":"api","external_identifier":"\ud800"}"#;
    check(lone, 422, "The external identifier field must not contain half of a surrogate pair.");
    let huge = br#"{"assistant_id":1,"variables":{"a":1e400}}"#;
    check(huge, 422, "The variables field must not contain a number beyond 1.8e308.");
    assert!(harness.list("").rows().is_empty(), "a refused body writes nothing");
}

fn with_small_bodies() -> Harness {
    let limits = Limits { max_body_bytes: 1000, ..Limits::default() };
    Harness::of(Store::in_memory().unwrap(), Config { limits, ..Config::default() })
}

#[test]
fn a_body_over_the_size_limit_answers_413() {
    let harness = with_small_bodies();
    let padded = |bytes: usize| {
        let body = r#"{"assistant_id":1}"#;
        format!("{}{body}", " ".repeat(bytes - body.len()))
    };
    assert_eq!(harness.send("POST", PATH, &padded(1000)).status, 200);
    let message = error("The body must not have more than 1000 bytes.");
    for bytes in [1001, 50_000, 2_000_000] {
        let response = harness.send("POST", PATH, &padded(bytes));
        assert_eq!((response.status, response.text()), (413, message.as_str()));
    }
    // The length of a chunked body is unknown in advance.
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {JSON}\r\n\
         Authorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        harness.token
    );
    let chunked = |bytes: usize| {
        let body = padded(bytes);
        let chunks: String = body
            .as_bytes()
            .chunks(100)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap()))
            .collect();
        send(harness.server.address, format!("{head}{chunks}0\r\n\r\n").as_bytes())
    };
    assert_eq!(chunked(1000).status, 200);
    assert_eq!((chunked(1001).status, chunked(100_000).status), (413, 413));
    assert_eq!(harness.list("").rows().len(), 2);
}

#[test]
fn expect_100_continue_is_refused_before_the_body_is_sent() {
    let harness = with_small_bodies();
    let head = |length: usize| {
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {JSON}\r\n\
             Authorization: Bearer {}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n",
            harness.token
        )
    };
    let refused = send(harness.server.address, head(1_000_000_000).as_bytes());
    assert_eq!(refused.status, 413);

    let body = br#"{"assistant_id":1}"#;
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    stream.write_all(head(body.len()).as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

/// The server drains the body, so that the client can read the response.
#[test]
fn a_client_that_is_still_sending_receives_the_error() {
    let harness = with_small_bodies();
    let big = vec![b'x'; 4_000_000];
    let import = "/api/user/conversations/import";
    let lines = "application/x-ndjson";
    for _ in 0..5 {
        assert_eq!(harness.send_typed("x", "POST", PATH, JSON, &big).status, 401);
        assert_eq!(harness.send_typed("x", "POST", import, lines, &big).status, 401);
        assert_eq!(harness.send_typed(&harness.token, "POST", PATH, lines, &big).status, 415);
        assert_eq!(harness.send_typed(&harness.token, "POST", "/nowhere", JSON, &big).status, 404);
    }
}

#[test]
fn a_message_to_a_missing_conversation_answers_404() {
    let harness = with_small_bodies();
    harness.insert([1], &Channel::Widget);
    let target = format!("{PATH}/{}/messages", conversation(9).id);
    assert_eq!(harness.send("POST", &target, r#"{"message":"a"}"#).status, 404);
}
