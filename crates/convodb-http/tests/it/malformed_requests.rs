//! Malformed requests: request smuggling, broken syntax, odd targets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::harness::Harness;

/// Sends these bytes and nothing more, and returns all bytes until the server closes.
#[track_caller]
fn exchange(harness: &Harness, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    received(stream)
}

/// Returns all bytes until the server closes.
#[track_caller]
fn received(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(&response).into_owned()
}

fn statuses(response: &str) -> Vec<&str> {
    response.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

/// Requests with an ambiguous length, which two parsers could split differently, are refused, and
/// the connection is closed.
#[test]
fn a_request_with_ambiguous_length_is_refused() {
    let harness = Harness::new();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /healthz HTTP/1.1\r\nHost: a\r\n";
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding:\tgzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\0\r\n",
    ] {
        let request = format!("{post}{headers}\r\n0\r\n\r\n{hidden}");
        let response = exchange(&harness, request.as_bytes());
        let statuses = statuses(&response);
        assert!(statuses.len() <= 1, "{headers:?}: {response}");
        assert!(statuses.iter().all(|status| status.starts_with('4')), "{headers:?}: {response}");
        assert!(!response.contains(r#"{"status":"ok"}"#), "{headers:?}: {response}");
    }
}

#[test]
fn malformed_requests_answer_4xx() {
    let harness = Harness::new();
    let big_chunk = format!(
        "POST /api/conversations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        harness.token
    );
    let long_extension = format!("{big_chunk}1;{}\r\n{{\r\n0\r\n\r\n", "x".repeat(100_000));
    let endless_trailer = format!("{big_chunk}0\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for bytes in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\0: b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n: empty\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
        &format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000)),
        &format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(20_000)),
        &format!("{big_chunk}ffffffffffffffff\r\n{{"),
        &format!("{big_chunk}fffffffffffffffff\r\n{{"),
        &format!("{big_chunk}-1\r\n{{"),
        &format!("{big_chunk}zz\r\n{{"),
        &format!("{big_chunk}1\r\n{{}}\r\n0\r\n\r\n"),
        &long_extension,
        &endless_trailer,
    ] {
        let response = exchange(&harness, bytes.as_bytes());
        let start = bytes.chars().take(60).collect::<String>();
        let statuses = statuses(&response);
        assert!(statuses.iter().all(|status| status.starts_with('4')), "{start:?}: {response}");
    }
    // The server is unharmed.
    assert_eq!(harness.server.request("GET", "/healthz", "").status, 200);
    assert!(harness.list("").rows().is_empty());
}

/// HTTP/1.1 requires exactly one valid host, and lines that end with CRLF. Everything else is
/// answered with 400, and nothing after it is read as a request.
#[test]
fn a_request_without_one_valid_host_or_with_bare_line_feeds_is_refused() {
    let harness = Harness::new();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let get = "GET /healthz HTTP/1.1\r\n";
    for refused in [
        format!("{get}\r\n"),
        format!("{get}Host: a\r\nHost: a\r\n\r\n"),
        format!("{get}Host:\r\n\r\n"),
        format!("{get}Host: a b\r\n\r\n"),
        format!("{get}Host: a\"b\r\n\r\n"),
        format!("{get}Host: <b>\r\n\r\n"),
        format!("{get}Host: a@b\r\n\r\n"),
        format!("{get}Host: a:99999\r\n\r\n"),
        format!("{get}Host: [::1\r\n\r\n"),
        "GET http://a/healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\nHost: a\n\n".to_owned(),
        format!("{get}Host: a\n\r\n"),
        format!("{get}Host: a\r\nX: y\nZ: z\r\n\r\n"),
        format!("{get}Host: a\r\n\n"),
        "\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        let response = exchange(&harness, format!("{refused}{hidden}").as_bytes());
        assert_eq!(statuses(&response), ["400"], "{refused:?}: {response}");
    }
    // The second request of a connection is read as strictly, after a body with line feeds.
    let post = format!(
        "POST /api/conversations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n",
        harness.token
    );
    for body in [
        "Content-Length: 4\r\n\r\n\n{}\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\n\n{}\n\r\n0\r\n\r\n",
    ] {
        let keep_alive = |rest: &str| {
            let mut stream = TcpStream::connect(harness.server.address).unwrap();
            stream.write_all(format!("{post}{body}{rest}").as_bytes()).unwrap();
            received(stream)
        };
        let last = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let proper = keep_alive(last);
        assert_eq!(statuses(&proper), ["422", "200"], "{body:?}: {proper}");
        let bare = keep_alive(&format!("GET /healthz HTTP/1.1\nHost: a\n\n{hidden}"));
        assert_eq!(statuses(&bare), ["422", "400"], "{body:?}: {bare}");
    }
    let old_version = |headers: &str| {
        let mut stream = TcpStream::connect(harness.server.address).unwrap();
        stream.write_all(format!("GET /healthz HTTP/1.0\r\n{headers}\r\n").as_bytes()).unwrap();
        received(stream)
    };
    let old = old_version("");
    assert!(old.starts_with("HTTP/1.0 200"), "HTTP/1.0 needs no host: {old}");
    let old = old_version("Host: a\r\nHost: b\r\n");
    assert!(old.starts_with("HTTP/1.0 400"), "{old}");
}

/// Targets that a proxy could interpret differently.
#[test]
fn ambiguous_targets_answer_4xx() {
    let harness = Harness::new();
    for target in [
        "/api/user/../user/conversations",
        "//api/user/conversations",
        "/api/user/conversations/..",
        "/api/user/conversations%2f",
        "/api%2fuser/conversations",
        "/API/user/conversations",
        "/api/user/conversations;x=1",
        "/api/user/conversations/.",
        "*",
        "http://evil.example//",
    ] {
        let response = harness.request("GET", target, &harness.token, "");
        assert!((400..500).contains(&response.status), "{target}: {}", response.text());
    }
    let absolute =
        harness.request("GET", "http://evil.example/api/user/conversations", &harness.token, "");
    assert_eq!(absolute.status, 200, "the absolute form is accepted (RFC 9112)");
    let path = absolute.json()["path"].as_str().unwrap().to_owned();
    assert_eq!(path, "/api/user/conversations", "the host of the target is not reflected");
    assert_eq!(harness.request("CONNECT", "evil.example:443", &harness.token, "").status, 404);
}
