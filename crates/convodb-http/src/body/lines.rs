//! Line reader: splits a body of any length into batches of lines, in bounded memory.
//!
//! In memory are at most one line, the chunk that completed it, and the lines of one batch. The
//! body is read only when the next batch is requested, so a client cannot send faster than its
//! lines are stored. A long line counts against the caller's share of bytes. Unpacking and
//! splitting run on the thread of the request, which goes to other requests between steps.

use axum::body::{Body, Bytes};
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
/// After this many bytes, other requests get their turn; a line counts as some bytes more.
const BYTES_PER_TURN: usize = 64 << 10;
const BYTES_PER_LINE: usize = 64;
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// A line without its line break.
pub(crate) struct Line {
    /// Its number, from 1, blank lines included.
    pub(crate) number: u64,
    /// Its bytes, or `None` if it is longer than the limit.
    pub(crate) text: Option<Vec<u8>>,
}

/// A body, read line by line.
pub(crate) struct Lines {
    body: Body,
    decompressor: Decompressor,
    /// The part of the last chunk that is not decompressed yet.
    compressed: Bytes,
    max_line_bytes: usize,
    rate: LeastRate,
    caller: Option<Caller>,
    /// The largest buffer so far, for which the caller holds bytes.
    held: usize,
    /// The bytes since other requests had their turn.
    since_turn: usize,
    /// Decompressed bytes; those before `start` belong to earlier lines.
    buffer: Vec<u8>,
    start: usize,
    /// The buffer has no line break before this position.
    searched: usize,
    /// Whether the current line is too long, and its rest is skipped.
    skipping: bool,
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
            max_line_bytes: limits.max_line_bytes,
            rate: LeastRate::new(limits.chunk_timeout, limits.min_bytes_per_second),
            caller,
            held: FREE_LINE_BYTES,
            since_turn: 0,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            skipping: false,
            ended: false,
            number: 0,
        }
    }

    /// Returns the next lines that are not blank; empty at the end of the body. Calls `check` before
    /// it waits for a chunk of the body, which a client may send slowly.
    ///
    /// # Errors
    /// The error of `check`; 408 if chunks arrive too slowly; 503 if a line is beyond the user's
    /// share of bytes; 400 if the body ends early or cannot be
    /// decompressed; 413 if it decompresses to far too much. The lines of this batch are then lost;
    /// those of earlier batches were complete.
    pub(crate) async fn batch(&mut self, check: impl Fn() -> Result<()>) -> Result<Vec<Line>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
            let Some(line) = self.next(&check).await? else { break };
            bytes += line.text.as_ref().map_or(0, Vec::len);
            batch.push(line);
        }
        Ok(batch)
    }

    async fn next(&mut self, check: &impl Fn() -> Result<()>) -> Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                self.take_turn(BYTES_PER_LINE).await;
                if line.text.as_ref().is_none_or(|text| !text.trim_ascii().is_empty()) {
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
    async fn fill_buffer(&mut self, check: &impl Fn() -> Result<()>) -> Result<()> {
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
        check()?;
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

    /// Counts the bytes of a buffer that has grown.
    fn hold(&mut self) -> Result<()> {
        let grown = self.buffer.len().saturating_sub(self.held);
        if grown > 0
            && let Some(caller) = &self.caller
        {
            caller.hold(BYTES_PER_LINE_BYTE * grown)?;
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
            // The end of the body also ends a line that is being skipped.
            None if self.ended && self.skipping => (self.start, self.start),
            None => {
                self.searched = self.buffer.len();
                if self.skipping || self.searched - self.start > self.max_line_bytes {
                    self.skipping = true;
                    self.start = self.searched;
                }
                return None;
            }
        };
        self.number += 1;
        let text = &self.buffer[self.start..end];
        let complete = !self.skipping && text.len() <= self.max_line_bytes;
        let unmarked = if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK) } else { None };
        let text = complete.then(|| unmarked.unwrap_or(text).to_vec());
        (self.start, self.searched, self.skipping) = (next, next, false);
        Some(Line { number: self.number, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;
    use futures_util::stream;
    use std::time::Duration;

    const MAX: usize = 8;

    fn limits(max_line_bytes: usize) -> Limits {
        let chunk_timeout = Duration::from_secs(30);
        Limits { max_line_bytes, chunk_timeout, ..Limits::default() }
    }

    fn plain() -> Decompressor {
        Decompressor::for_encoding(None).unwrap().unwrap()
    }

    /// Reads the lines of a body that arrives in chunks of `size` bytes.
    async fn lines(body: &[u8], size: usize) -> Vec<(u64, Option<String>)> {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            body.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let body = Body::from_stream(stream::iter(chunks));
        let mut lines = Lines::new(body, plain(), &limits(MAX), None);
        let mut all = Vec::new();
        loop {
            let batch = lines.batch(|| Ok(())).await.unwrap();
            if batch.is_empty() {
                return all;
            }
            let text = |text: Vec<u8>| String::from_utf8(text).unwrap();
            all.extend(batch.into_iter().map(|line| (line.number, line.text.map(text))));
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

    #[tokio::test]
    async fn a_batch_is_bounded_by_lines_and_bytes() {
        let body = Body::from("x\n".repeat(BATCH_LINES + 1));
        let mut lines = Lines::new(body, plain(), &limits(MAX), None);
        assert_eq!(lines.batch(|| Ok(())).await.unwrap().len(), BATCH_LINES);
        assert_eq!(lines.batch(|| Ok(())).await.unwrap().len(), 1);
        assert!(lines.batch(|| Ok(())).await.unwrap().is_empty());

        let long = "x".repeat(BATCH_BYTES / 2 + 1);
        let body = Body::from(format!("{long}\n{long}\n{long}\n"));
        let mut lines = Lines::new(body, plain(), &limits(BATCH_BYTES), None);
        assert_eq!(lines.batch(|| Ok(())).await.unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_times_out() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut lines = Lines::new(body, plain(), &limits(MAX), None);
        let timeout = ApiError::of(axum::http::StatusCode::REQUEST_TIMEOUT);
        assert_eq!(lines.batch(|| Ok(())).await.err(), Some(timeout));
    }
}
