//! Line reader: splits a body of any length into batches of lines, in bounded memory.
//!
//! In memory are at most one line, the chunk that completed it, and the lines of one batch. The
//! body is read only when the next batch is requested, so a client cannot send faster than its
//! lines are stored. A line beyond a limit is parsed as it arrives, and its messages count against
//! the caller's share of bytes instead of its text. Unpacking and splitting run on the thread of
//! the request, which goes to other requests between steps.

use axum::body::{Body, Bytes};
use convodb_json::{Item, ItemError, LongItem};
use tokio::task::yield_now;

use crate::body::decompress::Decompressor;
use crate::body::stream::next_chunk_within;
use crate::error::Result;
use crate::least_rate::LeastRate;
use crate::limits::Limits;
use crate::middleware::caller::Caller;

/// The most lines of a batch. A batch is one write, and other users' writes wait for it.
const BATCH_LINES: usize = 256;
/// A batch of at least this many bytes is complete.
const BATCH_BYTES: usize = 256 << 10;
/// The bytes of a line that the limit of transfers accounts for.
const FREE_LINE_BYTES: usize = 1 << 20;
/// The bytes in memory for each further byte of a line: its text twice, and what it parses to.
const BYTES_PER_LINE_BYTE: usize = 4;
/// The bytes in memory for each byte of messages that are parsed as they arrive: the list of them
/// may have room for as many again, and each write copies a part.
const BYTES_PER_PARSED_BYTE: usize = 2;
/// After this many bytes, other requests get their turn; a line counts as some bytes more.
const BYTES_PER_TURN: usize = 64 << 10;
const BYTES_PER_LINE: usize = 64;
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// A line without its line break.
pub(crate) struct Line {
    /// Its number, from 1, blank lines included.
    pub(crate) number: u64,
    pub(crate) content: Content,
}

/// The content of a line.
#[derive(Debug)]
pub(crate) enum Content {
    /// Its bytes.
    Text(Vec<u8>),
    /// What it was parsed to as it arrived, because it is longer than the limit of its text.
    Parsed(Box<Result<Item, ItemError>>),
}

impl Content {
    /// The bytes in memory; a parsed line completes a batch.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Parsed(_) => BATCH_BYTES,
        }
    }

    fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim_ascii().is_empty())
    }
}

/// A body, read line by line.
pub(crate) struct Lines {
    body: Body,
    decompressor: Decompressor,
    /// The part of the last chunk that is not decompressed yet.
    compressed: Bytes,
    max_text_bytes: usize,
    rate: LeastRate,
    caller: Option<Caller>,
    /// The bytes that the caller holds for the largest line so far.
    held: usize,
    /// The bytes since other requests had their turn.
    since_turn: usize,
    /// Decompressed bytes; those before `start` belong to earlier lines.
    buffer: Vec<u8>,
    start: usize,
    /// The buffer has no line break before this position.
    searched: usize,
    /// The current line up to `start`, if it is longer than the limit of its text.
    long: Option<LongItem>,
    ended: bool,
    number: u64,
}

impl Lines {
    pub(super) fn new(
        body: Body,
        decompressor: Decompressor,
        limits: &Limits,
        caller: Option<Caller>,
    ) -> Self {
        Self {
            body,
            decompressor,
            compressed: Bytes::new(),
            max_text_bytes: limits.max_line_text_bytes,
            rate: LeastRate::new(limits.chunk_timeout, limits.min_bytes_per_second),
            caller,
            held: 0,
            since_turn: 0,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            long: None,
            ended: false,
            number: 0,
        }
    }

    /// Returns the next lines that are not blank; empty at the end of the body. Calls `check` before
    /// it waits for a chunk of the body, which a client may send slowly.
    ///
    /// # Errors
    /// The error of `check`; 408 if chunks arrive too slowly; 503 if a line is beyond the user's
    /// share of bytes; 400 if the body ends early or cannot be decompressed; 413 if it decompresses
    /// to far too much. The lines of this batch are then lost; those of earlier batches were
    /// complete.
    pub(crate) async fn batch<C: Future<Output = Result<()>>>(
        &mut self,
        check: impl Fn() -> C,
    ) -> Result<Vec<Line>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
            let Some(line) = self.next(&check).await? else { break };
            bytes += line.content.bytes();
            batch.push(line);
        }
        Ok(batch)
    }

    async fn next<C: Future<Output = Result<()>>>(
        &mut self,
        check: &impl Fn() -> C,
    ) -> Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                self.take_turn(BYTES_PER_LINE).await;
                if !line.content.is_blank() {
                    return Ok(Some(line));
                }
            } else if self.ended {
                return Ok(None);
            } else {
                self.fill_buffer(check).await?;
            }
        }
    }

    /// Decompresses a step of the current chunk into the buffer, or reads the next chunk.
    async fn fill_buffer<C: Future<Output = Result<()>>>(
        &mut self,
        check: &impl Fn() -> C,
    ) -> Result<()> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let len_before = self.buffer.len();
        let consumed = self.decompressor.decompress(&self.compressed, &mut self.buffer)?;
        let _consumed = self.compressed.split_to(consumed);
        let produced = self.buffer.len() - len_before;
        self.hold()?;
        self.take_turn(consumed + produced).await;
        if consumed > 0 || produced > 0 {
            return Ok(());
        }
        check().await?;
        match next_chunk_within(&mut self.body, &mut self.rate).await? {
            Some(chunk) => self.compressed = chunk,
            None => {
                self.decompressor.finish(&mut self.buffer)?;
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Counts work, and lets other requests have their turn after some.
    async fn take_turn(&mut self, bytes: usize) {
        self.since_turn += bytes;
        if self.since_turn >= BYTES_PER_TURN {
            self.since_turn = 0;
            yield_now().await;
        }
    }

    /// Counts the bytes of a line that has grown.
    fn hold(&mut self) -> Result<()> {
        let text = self.buffer.len().saturating_sub(FREE_LINE_BYTES);
        let parsed = self.long.as_ref().map_or(0, LongItem::bytes);
        let needed = BYTES_PER_LINE_BYTE * text + BYTES_PER_PARSED_BYTE * parsed;
        let grown = needed.saturating_sub(self.held);
        if grown > 0
            && let Some(caller) = &self.caller
        {
            caller.hold(grown)?;
            self.held += grown;
        }
        Ok(())
    }

    /// Takes the next line from the buffer, if the buffer contains its end.
    fn take_line(&mut self) -> Option<Line> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let (end, next) = match found {
            Some(at) => (self.searched + at, self.searched + at + 1),
            None if self.ended && self.start < self.buffer.len() => {
                (self.buffer.len(), self.buffer.len())
            }
            // The end of the body also ends a long line whose bytes are parsed.
            None if self.ended && self.long.is_some() => (self.start, self.start),
            None => {
                self.searched = self.buffer.len();
                if self.long.is_some() || self.searched - self.start > self.max_text_bytes {
                    self.parse_up_to(self.searched);
                }
                return None;
            }
        };
        if self.long.is_some() || end - self.start > self.max_text_bytes {
            self.parse_up_to(end);
        }
        self.number += 1;
        let content = match self.long.take() {
            Some(long) => Content::Parsed(Box::new(long.finish())),
            None => {
                let text = &self.buffer[self.start..end];
                Content::Text(strip_mark(text, self.number == 1).to_vec())
            }
        };
        (self.start, self.searched) = (next, next);
        Some(Line { number: self.number, content })
    }

    /// Parses the bytes of a long line that are in the buffer before `end`.
    fn parse_up_to(&mut self, end: usize) {
        let mut long = self.long.take();
        let text = match long {
            Some(_) => &self.buffer[self.start..end],
            None => strip_mark(&self.buffer[self.start..end], self.number == 0),
        };
        long.get_or_insert_default().push(text);
        self.long = long;
        self.start = end;
    }
}

/// The text without the byte order mark at the beginning of a body.
fn strip_mark(text: &[u8], is_first: bool) -> &[u8] {
    let unmarked = if is_first { text.strip_prefix(BYTE_ORDER_MARK) } else { None };
    unmarked.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;
    use futures_util::stream;
    use std::future::ready;
    use std::time::Duration;

    const MAX: usize = 8;

    fn limits(max_line_text_bytes: usize) -> Limits {
        let chunk_timeout = Duration::from_secs(30);
        Limits { max_line_text_bytes, chunk_timeout, ..Limits::default() }
    }

    fn plain() -> Decompressor {
        Decompressor::for_encoding(None).unwrap().unwrap()
    }

    /// Reads the lines of a body that arrives in chunks of `size` bytes; `None` is a parsed one.
    async fn lines(body: &[u8], size: usize) -> Vec<(u64, Option<String>)> {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            body.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let body = Body::from_stream(stream::iter(chunks));
        let mut lines = Lines::new(body, plain(), &limits(MAX), None);
        let mut all = Vec::new();
        loop {
            let batch = lines.batch(|| ready(Ok(()))).await.unwrap();
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.into_iter().map(|line| match line.content {
                Content::Text(text) => (line.number, Some(String::from_utf8(text).unwrap())),
                Content::Parsed(_) => (line.number, None),
            }));
            assert!(lines.buffer.len() <= MAX + size, "only one line and one chunk are buffered");
        }
    }

    #[tokio::test]
    async fn lines_do_not_depend_on_the_chunk_size() {
        for (body, expected) in [
            ("", vec![]),
            ("\n\r\n  \n", vec![]),
            ("a", vec![(1, Some("a"))]),
            ("a\nbc\r\n\nd\n", vec![(1, Some("a")), (2, Some("bc\r")), (4, Some("d"))]),
            ("\u{feff}a\n\u{feff}b", vec![(1, Some("a")), (2, Some("\u{feff}b"))]),
            ("12345678\n123456789\nx", vec![(1, Some("12345678")), (2, None), (3, Some("x"))]),
            ("12345678901234567890\n\nx\n", vec![(1, None), (3, Some("x"))]),
            ("x\n12345678901234567890", vec![(1, Some("x")), (2, None)]),
        ] {
            let expected: Vec<(u64, Option<String>)> = expected
                .into_iter()
                .map(|(number, text)| (number, text.map(str::to_owned)))
                .collect();
            for size in 1..=body.len().max(1) {
                assert_eq!(lines(body.as_bytes(), size).await, expected, "{body:?} by {size}");
            }
        }
    }

    /// A long line is parsed to the same item, whatever the chunks, and its text is never buffered.
    #[tokio::test]
    async fn a_long_line_is_parsed_as_it_arrives() {
        let message = r#"{"role":"user","content":"Hello","created_at":"2025-01-25"}"#;
        let messages = vec![message; 50].join(",");
        let line = format!(
            r#"{{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","type":"test","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","created_at":"2025-01-25","messages":[{messages}]}}"#
        );
        let expected = Item::parse(line.as_bytes());
        let body = format!("\u{feff}{line}\n\n{line}\nx\n{line}");
        for size in [1, 7, 100, 10_000] {
            let chunks: Vec<Result<Bytes, std::io::Error>> = body
                .as_bytes()
                .chunks(size)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
                .collect();
            let body = Body::from_stream(stream::iter(chunks));
            let mut lines = Lines::new(body, plain(), &limits(64), None);
            let mut found = Vec::new();
            loop {
                let batch = lines.batch(|| ready(Ok(()))).await.unwrap();
                if batch.is_empty() {
                    break;
                }
                found.extend(batch);
                assert!(lines.buffer.len() <= 64 + size);
            }
            assert_eq!(found.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 3, 4, 5]);
            for line in found {
                match line.content {
                    Content::Parsed(item) => assert_eq!(*item, expected),
                    Content::Text(text) => assert_eq!((line.number, &text[..]), (4, &b"x"[..])),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_batch_is_bounded_by_lines_and_bytes() {
        let body = Body::from("x\n".repeat(BATCH_LINES + 1));
        let mut lines = Lines::new(body, plain(), &limits(MAX), None);
        assert_eq!(lines.batch(|| ready(Ok(()))).await.unwrap().len(), BATCH_LINES);
        assert_eq!(lines.batch(|| ready(Ok(()))).await.unwrap().len(), 1);
        assert!(lines.batch(|| ready(Ok(()))).await.unwrap().is_empty());

        let long = "x".repeat(BATCH_BYTES / 2 + 1);
        let body = Body::from(format!("{long}\n{long}\n{long}\n"));
        let mut lines = Lines::new(body, plain(), &limits(BATCH_BYTES), None);
        assert_eq!(lines.batch(|| ready(Ok(()))).await.unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_times_out() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut lines = Lines::new(body, plain(), &limits(MAX), None);
        let timeout = ApiError::of(axum::http::StatusCode::REQUEST_TIMEOUT);
        assert_eq!(lines.batch(|| ready(Ok(()))).await.err(), Some(timeout));
    }
}
