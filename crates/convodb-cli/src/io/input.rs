//! Import input: a file or standard input, read line by line in constant memory.
//!
//! The first bytes, not the file's name, decide whether it is gzip, zstd or plain text, and whether
//! it is JSON lines, a JSON array or CSV. Each element and each record is one line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

use crate::io::csv_input::{CsvInput, Record};
use crate::io::format::Format;

const BUFFER_BYTES: usize = 1 << 18;
/// Bytes of a line that is too long which the rejects file shows.
pub(crate) const KEPT_BYTES: usize = 4096;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The end of the magic number of a skippable frame, with which the output of pzstd begins.
const SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
/// The decompressed bytes that decide the format; a header of CSV is shorter.
const START_BYTES: usize = 4096;
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

    /// The lines of the input, of at most `max_bytes` each. `bar` counts the bytes read before
    /// decompression.
    ///
    /// # Errors
    /// Fails if the input cannot be read, or has a format that is not read.
    pub(crate) fn lines(self, bar: &ProgressBar, max_bytes: usize) -> Result<Lines> {
        let mut compressed = bar.wrap_read(self.raw);
        let mut start = Vec::new();
        compressed.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start.starts_with(GZIP);
        let skippable = start.first().is_some_and(|byte| byte & 0xf0 == 0x50);
        let is_zstd = start == ZSTD || skippable && start[1..] == *SKIPPABLE;
        let compressed = buffered(io::Cursor::new(start).chain(compressed));
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(buffered(MultiGzDecoder::new(compressed)))
        } else if is_zstd {
            Box::new(buffered(zstd::Decoder::with_buffer(compressed)?))
        } else {
            Box::new(compressed)
        };
        Lines::detect(reader, max_bytes)
    }
}

/// Reads from `reader`, after the error that it has returned, if any.
struct Rest {
    error: Option<io::Error>,
    reader: Box<dyn BufRead>,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.error.take().map_or_else(|| self.reader.read(buffer), Err)
    }
}

impl BufRead for Rest {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.reader.fill_buf(),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
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
    /// The first [`KEPT_BYTES`] of a line that is too long.
    TooLong(&'a [u8]),
    /// The cells of a record of CSV that has more or less of them than the header.
    Uneven(&'a [u8]),
}

/// The lines of an input.
pub(crate) struct Lines {
    input: Input,
    max_bytes: usize,
    number: u64,
    line: Vec<u8>,
}

/// The decompressed input, by its format.
enum Input {
    Lines(Box<dyn BufRead>),
    /// After its first bracket, and whether it has ended.
    Array(Box<dyn BufRead>, bool),
    Csv(Box<CsvInput>),
}

/// The result of reading one line.
enum Found {
    Whole,
    TooLong,
    Uneven,
    End,
}

impl Lines {
    /// Detects the format of the decompressed input.
    fn detect(mut reader: Box<dyn BufRead>, max_bytes: usize) -> Result<Self> {
        let mut start = Vec::new();
        let read = reader.by_ref().take(START_BYTES as u64).read_to_end(&mut start);
        // What was read before an error is imported.
        let rest = Rest { error: read.err(), reader };
        if start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        }
        let format = Format::of(&start).map_err(|what| anyhow!("it is {what}"))?;
        let skipped = if let Format::Array(bracket) = format { bracket + 1 } else { 0 };
        let mut start = io::Cursor::new(start);
        start.set_position(skipped as u64);
        let reader = start.chain(rest);
        let input = match format {
            Format::Lines => Input::Lines(Box::new(reader)),
            Format::Array(_) => Input::Array(Box::new(reader), false),
            Format::Csv(separator) => {
                Input::Csv(Box::new(CsvInput::new(Box::new(reader), separator, max_bytes)?))
            }
        };
        Ok(Self { input, max_bytes, number: 0, line: Vec::new() })
    }

    /// Maximum bytes of a line.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The number of the last line read, of the first line of the last record, or of the last element;
    /// 0 before the first.
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
            if matches!(found, Found::Uneven) {
                return Ok(Some(Line { number: self.number, text: Text::Uneven(&self.line) }));
            }
            if matches!(found, Found::TooLong) {
                let text = Text::TooLong(&self.line[..KEPT_BYTES.min(self.line.len())]);
                return Ok(Some(Line { number: self.number, text }));
            }
            // An element is never blank, and neither is a record.
            if !self.line.trim_ascii().is_empty() || !matches!(self.input, Input::Lines(_)) {
                return Ok(Some(Line { number: self.number, text: Text::Whole(&self.line) }));
            }
        }
    }

    /// Reads a line into the buffer, up to the maximum, and skips the rest of it.
    fn read(&mut self) -> io::Result<Found> {
        self.line.clear();
        let found = match &mut self.input {
            Input::Lines(reader) => read_line(reader, &mut self.line, self.max_bytes)?,
            Input::Array(reader, ended) => {
                read_element(reader, ended, &mut self.line, self.max_bytes)?
            }
            Input::Csv(records) => {
                let Some((number, record)) = records.next(&mut self.line)? else {
                    return Ok(Found::End);
                };
                self.number = number;
                return Ok(match record {
                    Record::Line => Found::Whole,
                    Record::Uneven => Found::Uneven,
                });
            }
        };
        self.number += u64::from(!matches!(found, Found::End));
        Ok(found)
    }
}

fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>, max_bytes: usize) -> io::Result<Found> {
    let read = reader.take(max_bytes as u64 + 1).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(Found::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Found::Whole);
    }
    if read <= max_bytes {
        return Ok(Found::Whole);
    }
    reader.skip_until(b'\n')?;
    Ok(Found::TooLong)
}

/// Reads the next element of an array, to the comma or the bracket after it. Looks at brackets and
/// strings only: the parser of the element checks the rest.
fn read_element(
    reader: &mut dyn BufRead,
    ended: &mut bool,
    element: &mut Vec<u8>,
    max_bytes: usize,
) -> io::Result<Found> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let (mut depth, mut in_string, mut escaped, mut too_long) = (0_usize, false, false, false);
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return if *ended { Ok(Found::End) } else { Err(invalid("the array is not closed")) };
        }
        if *ended {
            if !chunk.trim_ascii().is_empty() {
                return Err(invalid("text follows the end of the array"));
            }
            let read = chunk.len();
            reader.consume(read);
            continue;
        }
        let mut end = None;
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'[' | b'{' => depth += 1,
                b',' | b']' if depth == 0 => {
                    end = Some((at, *byte));
                    break;
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let len = end.map_or(chunk.len(), |(at, _)| at);
        // One byte more than is allowed shows that there are more.
        let room = (max_bytes + 1).saturating_sub(element.len());
        element.extend_from_slice(&chunk[..len.min(room)]);
        too_long |= element.len() > max_bytes;
        reader.consume(len + usize::from(end.is_some()));
        if let Some((_, byte)) = end {
            *ended = byte == b']';
            if *ended && element.trim_ascii().is_empty() {
                continue;
            }
            return Ok(if too_long { Found::TooLong } else { Found::Whole });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: Vec<u8>) -> Lines {
        lines_within(bytes, 1 << 20)
    }

    fn lines_within(bytes: Vec<u8>, max_bytes: usize) -> Lines {
        let source = Source { raw: Box::new(io::Cursor::new(bytes)), bytes: None };
        source.lines(&ProgressBar::hidden(), max_bytes).unwrap()
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
        let lines = lines_within(text, 4);
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
        let twice = [zstd.clone(), zstd.clone()].concat();
        check(lines(twice), &expected);

        // pzstd writes a skippable frame with the size of each frame before it.
        let size = [[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0].as_slice(), &[9, 0, 0, 0]].concat();
        check(lines([size.clone(), zstd.clone(), size, zstd].concat()), &expected);
    }

    #[test]
    fn the_elements_of_an_array_are_lines() {
        let text = br#" [{"a":[1,"],[\\\"",{}]} ,
            {"b":2},3,"x"
        ]
        "#;
        for buffer in [1, 2, 7, 4096] {
            let reader = BufReader::with_capacity(buffer, io::Cursor::new(text.to_vec()));
            let mut found = Lines::detect(Box::new(reader), 100).unwrap();
            for (number, expected) in
                [(1, r#"{"a":[1,"],[\\\"",{}]}"#), (2, r#"{"b":2}"#), (3, "3"), (4, "\"x\"")]
            {
                let Line { number: at, text } = found.next().unwrap().unwrap();
                let Text::Whole(text) = text else { panic!("{text:?}") };
                assert_eq!((at, text.trim_ascii()), (number, expected.as_bytes()), "by {buffer}");
            }
            assert_eq!(found.next().unwrap(), None);
        }
        check(lines(b"[]".to_vec()), &[]);
        check(lines(b"[ ]\n".to_vec()), &[]);
        let expected = [(1, Text::TooLong(b"12345".as_slice())), (2, Text::Whole(b"6"))];
        check(lines_within(b"[1234567,6]".to_vec(), 4), &expected);
        for wrong in [b"[1,2".as_slice(), b"[1] 2", b"[\"a]"] {
            let mut lines = lines(wrong.to_vec());
            let error = loop {
                match lines.next() {
                    Ok(line) => assert!(line.is_some()),
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains("array"), "{error}");
        }
    }

    #[test]
    fn another_format_is_refused() {
        let bytes = b"SQLite format 3\0".to_vec();
        let source = Source { raw: Box::new(io::Cursor::new(bytes)), bytes: None };
        let error = source.lines(&ProgressBar::hidden(), 100).err().unwrap();
        assert!(error.to_string().starts_with("it is a SQLite database"), "{error}");
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
