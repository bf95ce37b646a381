//! HTTP/1.1 client that exposes the raw response.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A response, as received.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header that must be present once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.maybe_header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    #[track_caller]
    pub(crate) fn maybe_header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} occurs twice");
        value
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The rows of the page, in order: the first byte of each id.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<u8> {
        assert_eq!(self.status, 200, "{}", self.text());
        let items = self.json()["data"].as_array().unwrap().clone();
        let number = |item: &Value| u8::from_str_radix(&item["id"].as_str().unwrap()[..2], 16);
        items.iter().map(|item| number(item).unwrap()).collect()
    }

    /// The token of `next_cursor` or `prev_cursor`.
    #[track_caller]
    pub(crate) fn cursor(&self, key: &str) -> Option<String> {
        self.json()[key].as_str().map(str::to_owned)
    }
}

/// Sends one request with `Connection: close` and reads the response until the end.
#[track_caller]
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    parse(&response)
}

#[track_caller]
fn parse(response: &[u8]) -> Response {
    let end = response.windows(4).position(|w| w == b"\r\n\r\n").expect("a complete head");
    let head = std::str::from_utf8(&response[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned()));
    let headers = lines.map(|line| pair(line).unwrap()).collect();
    let mut response = Response { status, headers, body: response[end + 4..].to_vec() };
    if response.maybe_header("transfer-encoding") == Some("chunked") {
        response.body = unchunked(&response.body);
    }
    response
}

#[track_caller]
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[line + 2..line + 2 + size]);
        body = &body[line + 4 + size..];
    }
}
