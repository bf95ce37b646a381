//! Format of an import: JSON lines, a JSON array or CSV, by the first bytes of the decompressed input.
//!
//! An input of another format is refused with a hint at what it is. Otherwise every line of it would
//! be a reject.

use convodb_json::csv::COLUMNS;

/// Columns that each conversation must have.
const REQUIRED_COLUMNS: [&str; 4] = ["id", "created_at", "type", "assistant_id"];

/// The first bytes of formats that are not read, and what to do with them.
const SIGNATURES: [(&[u8], &str); 12] = [
    (b"SQLite format 3\0", "a SQLite database; write its conversations as JSON lines first"),
    (
        b"redb\x1a\x0a\xa9\x0d\x0a",
        "a store or a backup of convodb; `convodb export` writes its conversations as JSON lines, and \
         `convodb restore` restores a backup",
    ),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"\x1f\x8b", "gzip in another compression; decompress it once"),
    (b"\x28\xb5\x2f\xfd", "zstd in another compression; decompress it once"),
    (b"BZh", "bzip2; decompress it first, or compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "xz; decompress it first, or compress it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "lz4; decompress it first, or compress it with gzip or zstd"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet; extract it, or save it as CSV"),
    (b"PAR1", "Parquet; write it as JSON lines first"),
    (b"<", "HTML or XML, perhaps the page of an error"),
];
const UTF_16: &str = "text in UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`";

/// The format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object per line.
    Lines,
    /// A JSON array, whose first bracket is at this position.
    Array(usize),
    /// CSV with our columns, separated by this byte.
    Csv(u8),
}

impl Format {
    /// The format of an input that begins with `start`.
    ///
    /// # Errors
    /// What an input is that is not read, and what to do.
    pub(crate) fn of(start: &[u8]) -> Result<Self, String> {
        if let Some((_, what)) = SIGNATURES.iter().find(|(bytes, _)| start.starts_with(bytes)) {
            return Err((*what).to_owned());
        }
        if start.get(257..262) == Some(b"ustar") {
            return Err("a tar archive; extract it first".to_owned());
        }
        if start.contains(&0) {
            return Err(format!("binary, or {UTF_16}"));
        }
        let Some(first) = start.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return Ok(Self::Lines);
        };
        if start[first] == b'[' {
            return Ok(Self::Array(first));
        }
        let line = start[first..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        if start[first] != b'{' {
            // A line that ends after `start` is longer than any header.
            return if start.contains(&b'\n') { csv(line) } else { Ok(Self::Lines) };
        }
        let rest = line[1..].trim_ascii();
        if rest.is_empty() && start.len() > first + line.len() {
            let what =
                "one JSON object over several lines; `jq -c .` makes one line of each object";
            return Err(what.to_owned());
        }
        if rest.starts_with(br#""data":["#) || rest.starts_with(br#""data": ["#) {
            let what = "a page of a list; `jq -c '.data[]'` makes a line of each conversation";
            return Err(what.to_owned());
        }
        Ok(Self::Lines)
    }
}

/// CSV, if the line is a header with our columns, or lines, if it is no header at all.
fn csv(line: &[u8]) -> Result<Format, String> {
    let mut columns = Vec::new();
    for separator in [b',', b';', b'\t'] {
        columns = header(line, separator);
        let known = columns.iter().all(|column| COLUMNS.contains(&column.as_str()));
        if known && REQUIRED_COLUMNS.iter().all(|name| columns.iter().any(|column| column == name))
        {
            return Ok(Format::Csv(separator));
        }
        if columns.len() > 1 {
            break;
        }
    }
    let is_name = |column: &String| {
        let allowed = |c: char| c.is_alphanumeric() || "_ .-".contains(c);
        !column.is_empty() && column.len() <= 64 && column.chars().all(allowed)
    };
    if columns.len() < 2 || !columns.iter().all(is_name) {
        return Ok(Format::Lines);
    }
    let unknown = columns.iter().find(|column| !COLUMNS.contains(&column.as_str()));
    let missing =
        REQUIRED_COLUMNS.iter().find(|name| !columns.iter().any(|column| column == *name));
    let why = match (missing, unknown) {
        (Some(missing), _) => format!("the column {missing} is missing"),
        (None, Some(unknown)) => format!("the column {unknown} is unknown"),
        (None, None) => "a column is there twice".to_owned(),
    };
    Err(format!(
        "CSV of other columns: {why}; the columns are those of `convodb export`: {}",
        COLUMNS.join(", ")
    ))
}

/// The cells of a line.
fn header(line: &[u8], separator: u8) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.delimiter(separator).has_headers(false).from_reader(line);
    let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
    record.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        let all = COLUMNS.join(",");
        for (start, expected) in [
            ("", Format::Lines),
            ("\n \n", Format::Lines),
            ("{\"id\":1}\n", Format::Lines),
            ("{\"id\":", Format::Lines),
            ("{", Format::Lines),
            ("not json\n", Format::Lines),
            ("Sorry, it failed: {\"a\", 1}\n", Format::Lines),
            ("[]", Format::Array(0)),
            ("\n [{\n", Format::Array(2)),
            (&format!("{all}\r\n"), Format::Csv(b',')),
            ("id;created_at;type;assistant_id\n1", Format::Csv(b';')),
            ("type\tid\tassistant_id\tcreated_at\n1", Format::Csv(b'\t')),
        ] {
            assert_eq!(Format::of(start.as_bytes()), Ok(expected), "{start}");
        }
    }

    #[test]
    fn another_format_is_named() {
        let tar = [[b'a'; 257].as_slice(), b"ustar\0"].concat();
        for (start, expected) in [
            (b"SQLite format 3\0...".as_slice(), "SQLite"),
            (b"redb\x1a\x0a\xa9\x0d\x0a...", "convodb export"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"\xfe\xff\0{", "UTF-16"),
            (b"{\0\"\0", "UTF-16"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"PK\x03\x04", "ZIP"),
            (b"PAR1", "Parquet"),
            (b"<!doctype html>", "HTML"),
            (&tar, "tar"),
            (b"{\n  \"id\": 1\n}\n", "jq -c ."),
            (b"{\"data\":[{", ".data[]"),
            (b"id,name\n1,2\n", "the column created_at is missing"),
            (b"id,type,assistant_id,created_at,city\n", "the column city is unknown"),
            (b"a;b;c\n", "the column id is missing"),
        ] {
            let what = Format::of(start).unwrap_err();
            assert!(what.contains(expected), "{what}");
        }
    }
}
