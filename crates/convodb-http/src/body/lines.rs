//! The lines of a body that may be of any length, in bounded memory: at most one line and the
//! piece of the body that ended it, and the lines of one batch.
//!
//! The body is read only as fast as its batches are asked for, so a client sends no faster than its
//! lines are stored.

use std::time::Duration;

use axum::body::{Body, Bytes};

use crate::body::decompress::Decompressor;
use crate::body::stream::next_within;
use crate::error::Result;

/// The most lines of a batch.
const BATCH_LINES: usize = 1024;
/// A batch of this many bytes takes no further line.
const BATCH_BYTES: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// A line without its end.
pub(crate) struct Line {
    /// Its number, from 1; blank lines count.
    pub(crate) number: u64,
    /// Its bytes; none where it is longer than a line may be.
    pub(crate) text: Option<Vec<u8>>,
}

/// A body, read line by line.
pub(crate) struct Lines {
    body: Body,
    packing: Decompressor,
    /// What of the body came and is not unpacked yet.
    packed: Bytes,
    max_bytes: usize,
    pause: Duration,
    /// What was read and is not taken yet, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Up to where the buffer is known to hold no line break.
    searched: usize,
    /// Whether the line at hand is too long, and its rest is passed over.
    passing_over: bool,
    ended: bool,
    number: u64,
}

impl Lines {
    pub(super) fn new(
        body: Body,
        packing: Decompressor,
        max_bytes: usize,
        pause: Duration,
    ) -> Self {
        Self {
            body,
            packing,
            packed: Bytes::new(),
            max_bytes,
            pause,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            passing_over: false,
            ended: false,
            number: 0,
        }
    }

    /// The next lines that are not blank; none at the end of the body.
    ///
    /// # Errors
    /// 408 where the next piece of the body does not come; 400 where the body ends early, or is not
    /// packed as it says; 413 where it unpacks to far too much. The lines
    /// before were whole, but those of this batch are lost with it.
    pub(crate) async fn batch(&mut self) -> Result<Vec<Line>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
            let Some(line) = self.next().await? else { break };
            bytes += line.text.as_ref().map_or(0, Vec::len);
            batch.push(line);
        }
        Ok(batch)
    }

    async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                if line.text.as_ref().is_none_or(|text| !text.trim_ascii().is_empty()) {
                    return Ok(Some(line));
                }
            } else if self.ended {
                return Ok(None);
            } else {
                self.read().await?;
            }
        }
    }

    /// Reads one more piece of the body, or of what it unpacks to, behind what is not taken yet.
    async fn read(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let had = self.buffer.len();
        let taken = self.packing.unpack(&self.packed, &mut self.buffer)?;
        let _taken = self.packed.split_to(taken);
        if taken > 0 || self.buffer.len() > had {
            return Ok(());
        }
        match next_within(&mut self.body, self.pause).await? {
            Some(piece) => self.packed = piece,
            None => {
                self.packing.finish(&mut self.buffer)?;
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Takes a line out of the buffer, if its end is in it.
    fn take(&mut self) -> Option<Line> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let (end, next) = match found {
            Some(at) => (self.searched + at, self.searched + at + 1),
            None if self.ended && self.start < self.buffer.len() => {
                (self.buffer.len(), self.buffer.len())
            }
            // The end of a body within a line that is passed over ends that line.
            None if self.ended && self.passing_over => (self.start, self.start),
            None => {
                self.searched = self.buffer.len();
                if self.passing_over || self.searched - self.start > self.max_bytes {
                    self.passing_over = true;
                    self.start = self.searched;
                }
                return None;
            }
        };
        self.number += 1;
        let text = &self.buffer[self.start..end];
        let whole = !self.passing_over && text.len() <= self.max_bytes;
        let marked = if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK) } else { None };
        let text = whole.then(|| marked.unwrap_or(text).to_vec());
        (self.start, self.searched, self.passing_over) = (next, next, false);
        Some(Line { number: self.number, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;
    use futures_util::stream;

    const MAX: usize = 8;

    fn plain() -> Decompressor {
        Decompressor::named(None).unwrap().unwrap()
    }

    /// The lines of a body that comes in pieces of `size` bytes.
    async fn lines(body: &[u8], size: usize) -> Vec<(u64, Option<String>)> {
        let pieces: Vec<Result<Bytes, std::io::Error>> =
            body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = Body::from_stream(stream::iter(pieces));
        let mut lines = Lines::new(body, plain(), MAX, Duration::from_secs(1));
        let mut all = Vec::new();
        loop {
            let batch = lines.batch().await.unwrap();
            if batch.is_empty() {
                return all;
            }
            let text = |text: Vec<u8>| String::from_utf8(text).unwrap();
            all.extend(batch.into_iter().map(|line| (line.number, line.text.map(text))));
            assert!(lines.buffer.len() <= MAX + size, "only a line and a piece are held");
        }
    }

    #[tokio::test]
    async fn lines_are_the_same_whatever_pieces_they_come_in() {
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
    async fn a_batch_has_a_bound() {
        let body = Body::from("x\n".repeat(BATCH_LINES + 1));
        let mut lines = Lines::new(body, plain(), MAX, Duration::from_secs(1));
        assert_eq!(lines.batch().await.unwrap().len(), BATCH_LINES);
        assert_eq!(lines.batch().await.unwrap().len(), 1);
        assert!(lines.batch().await.unwrap().is_empty());

        let long = "x".repeat(BATCH_BYTES / 2 + 1);
        let body = Body::from(format!("{long}\n{long}\n{long}\n"));
        let mut lines = Lines::new(body, plain(), BATCH_BYTES, Duration::from_secs(1));
        assert_eq!(lines.batch().await.unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_more_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut lines = Lines::new(body, plain(), MAX, Duration::from_secs(30));
        let timeout = ApiError::of(axum::http::StatusCode::REQUEST_TIMEOUT);
        assert_eq!(lines.batch().await.err(), Some(timeout));
    }
}
