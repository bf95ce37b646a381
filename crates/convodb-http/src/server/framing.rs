//! Framing: refuses requests that another parser could split or address differently.
//!
//! The HTTP parser accepts a bare line feed as the end of a line, several codings in
//! `Transfer-Encoding`, and requests without a host. A proxy in front may read them otherwise, and
//! then a request can hide in another one. [`StrictLines`] sees the bytes before the parser does,
//! [`is_unambiguous`] the request after it.

use std::io::{self, BufRead as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::response::base_url::host;

/// Whether a request has exactly one valid host (HTTP/1.0 needs none) and no coding of its body but
/// `chunked`.
pub(super) fn is_unambiguous<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let has_host = host(headers).is_some();
    let needs_none = request.version() == Version::HTTP_10 && !headers.contains_key(HOST);
    (has_host || needs_none) && has_plain_coding(headers)
}

/// Returns the answer to any other request: a bare 400 that closes the connection.
pub(super) fn refusal() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn has_plain_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// A stream of requests in which a line feed without a carriage return, outside of a body, is
/// replaced by a zero byte, which the parser refuses with 400.
pub(crate) struct StrictLines<S> {
    stream: S,
    scanner: Scanner,
}

impl<S> StrictLines<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, scanner: Scanner::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictLines<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.scanner.scan(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StrictLines<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The bytes of a line that are kept: enough for the headers that announce a body.
const MAX_KEPT_BYTES: usize = 256;

/// Finds the lines of heads, chunk sizes and trailers in a stream of requests. It skips bodies by
/// their length, so it knows no more of HTTP than where the next line begins.
#[derive(Default)]
struct Scanner {
    state: State,
    /// The beginning of the current line.
    line: Vec<u8>,
    /// Whether the line is longer than what is kept of it.
    is_cut: bool,
    /// Whether the last byte was a carriage return.
    after_return: bool,
    /// Whether the head has its first line.
    begun: bool,
    framing: Framing,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    ChunkSize,
    Trailer,
    /// A body without chunks; the number of its bytes to come.
    Body(u64),
    /// A chunk with the line break after it; the number of their bytes to come.
    Chunk(u64),
    /// Something that the parser refuses; nothing after it is a request.
    Refused,
}

/// The body that a head announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    NoBody,
    Length(u64),
    Chunked,
    Refused,
}

impl Scanner {
    /// Scans the next bytes, and replaces a bare line feed.
    fn scan(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Refused => return,
                State::Body(left) | State::Chunk(left) => {
                    let rest = (bytes.len() - at) as u64;
                    let skipped = left.min(rest);
                    at += usize::try_from(skipped).unwrap_or(usize::MAX);
                    self.state = match (self.state, left - skipped) {
                        (State::Body(_), 0) => State::Head,
                        (State::Body(_), left) => State::Body(left),
                        (_, 0) => State::ChunkSize,
                        (_, left) => State::Chunk(left),
                    };
                    continue;
                }
                State::Head | State::ChunkSize | State::Trailer => {}
            }
            at += self.scan_line(&mut bytes[at..]);
        }
    }

    /// Scans to the end of the line, or of the bytes, and returns their number.
    fn scan_line(&mut self, bytes: &mut [u8]) -> usize {
        let (mut rest, all) = (&*bytes, bytes.len());
        // A search by words, which cannot fail in memory.
        let scanned = rest.skip_until(b'\n').unwrap_or(all);
        let (line, end) = match bytes[..scanned].split_last_mut() {
            Some((end, line)) if *end == b'\n' => (&*line, end),
            _ => {
                self.keep(&bytes[..scanned]);
                return scanned;
            }
        };
        let after_return = line.last().map_or(self.after_return, |last| *last == b'\r');
        if !after_return {
            *end = 0;
            self.state = State::Refused;
        } else if self.line.is_empty() {
            let kept = &line[..line.len().min(MAX_KEPT_BYTES)];
            self.is_cut = kept.len() < line.len();
            self.end_line(kept);
        } else {
            self.keep(line);
            let mut kept = std::mem::take(&mut self.line);
            self.end_line(&kept);
            // The buffer is used again.
            kept.clear();
            self.line = kept;
        }
        scanned
    }

    /// Keeps a part of a line, whose rest is in the next bytes.
    fn keep(&mut self, part: &[u8]) {
        let left = MAX_KEPT_BYTES - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(left)]);
        self.is_cut |= part.len() > left;
        self.after_return = part.last().map_or(self.after_return, |last| *last == b'\r');
    }

    /// Handles a line, which ends with a carriage return unless it is cut.
    fn end_line(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Head if text.is_empty() && self.begun => {
                self.begun = false;
                self.state = match std::mem::take(&mut self.framing) {
                    Framing::NoBody | Framing::Length(0) => State::Head,
                    Framing::Length(length) => State::Body(length),
                    Framing::Chunked => State::ChunkSize,
                    Framing::Refused => State::Refused,
                };
            }
            State::Head if self.begun => self.header(text),
            // The parser skips empty lines before a request.
            State::Head => self.begun = !text.is_empty(),
            State::ChunkSize => {
                let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let size = str::from_utf8(&text[..digits]).ok();
                let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
                self.state = match size.map(|size| (size, size.checked_add(2))) {
                    Some((0, _)) => State::Trailer,
                    Some((_, Some(with_line_break))) => State::Chunk(with_line_break),
                    _ => State::Refused,
                };
            }
            State::Trailer if text.is_empty() => self.state = State::Head,
            State::Trailer | State::Body(_) | State::Chunk(_) | State::Refused => {}
        }
        (self.is_cut, self.after_return) = (false, false);
    }

    /// Notes a header that announces the body. One that the parser or [`is_unambiguous`] refuses
    /// ends the scan.
    fn header(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let framing = if name.eq_ignore_ascii_case(b"content-length") {
            let length = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            length.map_or(Framing::Refused, Framing::Length)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let chunked = value.eq_ignore_ascii_case(b"chunked");
            if chunked { Framing::Chunked } else { Framing::Refused }
        } else {
            return;
        };
        self.framing = match self.framing {
            _ if self.is_cut => Framing::Refused,
            Framing::NoBody => framing,
            same if same == framing => framing,
            _ => Framing::Refused,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans the text whole, and in pieces of every size. Returns it with zero bytes as `0`.
    fn scanned(text: &str) -> String {
        let mut whole = text.as_bytes().to_vec();
        Scanner::default().scan(&mut whole);
        for size in 1..=text.len() {
            let (mut scanner, mut pieces) = (Scanner::default(), text.as_bytes().to_vec());
            pieces.chunks_mut(size).for_each(|piece| scanner.scan(piece));
            assert_eq!(pieces, whole, "in pieces of {size}: {text:?}");
        }
        String::from_utf8(whole).unwrap().replace('\0', "0")
    }

    #[track_caller]
    fn passes(text: &str) {
        assert_eq!(scanned(text), text);
        // The next request is scanned.
        let next = format!("{text}GET / HTTP/1.1\nHost: a\r\n\r\n");
        assert_eq!(scanned(&next), format!("{text}GET / HTTP/1.10Host: a\r\n\r\n"));
    }

    #[test]
    fn bodies_are_skipped_and_lines_end_properly() {
        passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        passes("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n");
        passes("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n{\n\n\n}");
        passes("POST / HTTP/1.1\r\nCONTENT-LENGTH:\t05 \r\nContent-Length: 5\r\n\r\n\n\n\n\n\n");
        passes("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        passes("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n\n\n\r\n0\r\n\r\n");
        passes(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123\n567\r\n\r\n0\r\nT: 1\r\n\r\n",
        );
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1000));
        passes(&long);
    }

    #[test]
    fn a_bare_line_feed_outside_of_a_body_is_replaced() {
        for (text, expected) in [
            ("\nGET / HTTP/1.1\r\n", "0GET / HTTP/1.1\r\n"),
            ("GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.10Host: a\n\n"),
            ("GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n", "GET / HTTP/1.1\r\nX: a0Y: b\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", "GET / HTTP/1.1\r\nHost: a\r\n0"),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\n\n\n\r\n0\r\n\r\n",
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n20\n\n\r\n0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\n\r\n",
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 10\r\n",
            ),
        ] {
            assert_eq!(scanned(text), expected);
        }
    }

    /// What the parser or the check refuses is not followed by a request.
    #[test]
    fn an_ambiguous_length_ends_the_scan() {
        for headers in [
            "Content-Length: 5, 6",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            &format!("Content-Length:{}5", " ".repeat(300)),
        ] {
            let text = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n\n\n");
            assert_eq!(scanned(&text), text, "{headers}");
        }
    }
}
