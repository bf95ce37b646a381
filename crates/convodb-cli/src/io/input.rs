//! Import input: a file or standard input, read line by line in constant memory.
//!
//! The first bytes, not the file's name, decide whether it is gzip, zstd or plain text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

const BUFFER_BYTES: usize = 1 << 18;
/// Maximum bytes of a line. Of a longer one, the first [`KEPT_BYTES`] remain.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;
/// Bytes of a line that is too long which the rejects file shows.
pub(crate) const KEPT_BYTES: usize = 4096;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// An input before its first byte is read.
pub(crate) struct Source {
    raw: Box<dyn Read>,
    /// Its size in bytes before decompression, if known.
    pub(crate) bytes: Option<u64>,
}

impl Source {
    /// Opens the file at `path`, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { raw: Box::new(io::stdin()), bytes: None });
        }
        let cannot_open = || format!("cannot open {}", path.display());
        let file = File::open(path).with_context(cannot_open)?;
        let metadata = file.metadata().with_context(cannot_open)?;
        if metadata.is_dir() {
            bail!("cannot read {}: it is a directory", path.display());
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { raw: Box::new(file), bytes })
    }

    /// The lines of the input. `bar` counts the bytes read before decompression.
    pub(crate) fn lines(self, bar: &ProgressBar) -> io::Result<Lines> {
        let mut compressed = bar.wrap_read(self.raw);
        let mut start = Vec::new();
        compressed.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start.starts_with(GZIP);
        let is_zstd = start == ZSTD;
        let compressed = buffered(io::Cursor::new(start).chain(compressed));
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(buffered(MultiGzDecoder::new(compressed)))
        } else if is_zstd {
            Box::new(buffered(zstd::Decoder::with_buffer(compressed)?))
        } else {
            Box::new(compressed)
        };
        Ok(Lines::new(reader, MAX_LINE_BYTES))
    }
}

fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, reader)
}

/// A line without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its number in the input, from 1, counting blank lines.
    pub(crate) number: u64,
    /// Its text.
    pub(crate) text: Text<'a>,
}

/// The text of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// The complete line.
    Whole(&'a [u8]),
    /// The first [`KEPT_BYTES`] of a line of more than [`MAX_LINE_BYTES`].
    TooLong(&'a [u8]),
}

/// The lines of an input.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    max_bytes: usize,
    number: u64,
    line: Vec<u8>,
}

/// The result of reading one line.
enum Found {
    Whole,
    TooLong,
    End,
}

impl Lines {
    fn new(reader: Box<dyn BufRead>, max_bytes: usize) -> Self {
        Self { reader, max_bytes, number: 0, line: Vec::new() }
    }

    /// The number of the last line read; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next line that is not blank, or `None` at the end.
    ///
    /// # Errors
    /// Fails if the input cannot be read or decompressed; the lines before were complete.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let found = self.read()?;
            if matches!(found, Found::End) {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if matches!(found, Found::TooLong) {
                let text = Text::TooLong(&self.line[..KEPT_BYTES.min(self.line.len())]);
                return Ok(Some(Line { number: self.number, text }));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line { number: self.number, text: Text::Whole(&self.line) }));
            }
        }
    }

    /// Reads a line into the buffer, up to the maximum, and skips the rest of it.
    fn read(&mut self) -> io::Result<Found> {
        self.line.clear();
        let limit = self.max_bytes as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Found::End);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(Found::Whole);
        }
        if read <= self.max_bytes {
            return Ok(Found::Whole);
        }
        self.reader.skip_until(b'\n')?;
        Ok(Found::TooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: Vec<u8>) -> Lines {
        let source = Source { raw: Box::new(io::Cursor::new(bytes)), bytes: None };
        source.lines(&ProgressBar::hidden()).unwrap()
    }

    #[track_caller]
    fn check(mut lines: Lines, expected: &[(u64, Text<'_>)]) {
        for (number, text) in expected {
            let line = lines.next().unwrap().unwrap();
            assert_eq!((line.number, &line.text), (*number, text));
        }
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let expected =
            [(1, Text::Whole(b"one")), (4, Text::Whole(b"two\r")), (5, Text::Whole(b"three"))];
        check(lines(b"\xef\xbb\xbfone\n\n \r\ntwo\r\nthree".to_vec()), &expected);
        check(lines(Vec::new()), &[]);
        check(lines(b"\n\n".to_vec()), &[]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let text = b"123\n1234\n12345\n1\n123456".to_vec();
        let lines = Lines::new(Box::new(io::Cursor::new(text)), 4);
        let expected = [
            (1, Text::Whole(b"123".as_slice())),
            (2, Text::Whole(b"1234")),
            (3, Text::TooLong(b"12345")),
            (4, Text::Whole(b"1")),
            (5, Text::TooLong(b"12345")),
        ];
        check(lines, &expected);
    }

    #[test]
    fn compression_is_detected_by_the_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"a\nb\n").unwrap();
        let gzip = gzip.finish().unwrap();
        let twice = [gzip.clone(), gzip].concat();
        let expected = [1, 2, 3, 4].map(|n| (n, Text::Whole([b"b", b"a"][(n % 2) as usize])));
        check(lines(twice), &expected);

        let zstd = zstd::encode_all(b"a\nb\n".as_slice(), 1).unwrap();
        let twice = [zstd.clone(), zstd].concat();
        check(lines(twice), &expected);
    }

    #[test]
    fn a_truncated_input_is_an_error() {
        let zstd = zstd::encode_all(b"a\nb\n".as_slice(), 1).unwrap();
        let mut lines = lines(zstd[..zstd.len() - 1].to_vec());
        while let Ok(line) = lines.next() {
            assert!(line.is_some(), "the truncation was not detected");
        }
    }
}
