//! Rust text reduced to code: comments, literals and test items are blanked, offsets stay the same.

use std::ops::Range;

/// The code of one Rust file.
///
/// Blanked bytes become spaces and newlines stay, so an offset or a line in the code is the same
/// offset or line in the file.
#[derive(Clone, Debug)]
pub struct RustCode {
    code: String,
    with_tests: String,
    tests: Vec<Range<usize>>,
}

impl RustCode {
    /// Blanks comments, strings, character literals and the items under `#[cfg(test)]`.
    pub fn new(text: &str) -> Self {
        let bytes = blank_comments_and_literals(text.as_bytes());
        let tests = test_items(&bytes);
        let mut code = bytes.clone();
        for range in &tests {
            blank(&mut code, range.clone());
        }
        RustCode { code: into_text(&code), with_tests: into_text(&bytes), tests }
    }

    /// The code that a release build can contain.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The code with the items under `#[cfg(test)]`.
    pub fn with_tests(&self) -> &str {
        &self.with_tests
    }

    /// The ranges of the items under `#[cfg(test)]`, attribute included.
    pub fn test_items(&self) -> &[Range<usize>] {
        &self.tests
    }

    /// The number of lines, comments included, outside items under `#[cfg(test)]`.
    pub fn lines_without_tests(&self) -> usize {
        let lines = self.with_tests.lines().count();
        let in_tests = |range: &Range<usize>| self.with_tests[range.clone()].lines().count();
        lines - self.tests.iter().map(in_tests).sum::<usize>()
    }
}

/// The line of an offset; the first line is 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Whether a byte can be part of an identifier.
pub fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The offset behind the bracket that closes the one at `open`, or the end of the text.
pub fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Only whole comments, literals and items are replaced, so the text stays valid UTF-8.
fn into_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn blank(code: &mut [u8], range: Range<usize>) {
    for byte in code[range].iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

fn blank_comments_and_literals(text: &[u8]) -> Vec<u8> {
    let mut code = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        if let Some(end) = comment_or_literal_end(text, at) {
            blank(&mut code, at..end);
            at = end;
        } else if is_identifier(text[at]) {
            // A whole identifier, so that the `r` of `for"` does not begin a raw string.
            at += text[at..].iter().take_while(|byte| is_identifier(**byte)).count();
        } else {
            at += 1;
        }
    }
    code
}

/// The end of the comment, string or character literal that begins at an offset.
fn comment_or_literal_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let end = match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'"', ..] => quoted_length(rest, b'"'),
        [b'r', ..] => raw_string_length(rest, 1)?,
        [b'b' | b'c', b'r', ..] => raw_string_length(rest, 2)?,
        [b'\'', b'\\', ..] => quoted_length(rest, b'\''),
        // One character and a quote; a lifetime has no quote behind its name.
        [b'\'', first, ..] => {
            let width = first.leading_ones().max(1) as usize;
            let is_literal = rest.get(1 + width) == Some(&b'\'');
            if !is_literal {
                return None;
            }
            width + 2
        }
        _ => return None,
    };
    Some(at + end)
}

fn block_comment_length(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

fn quoted_length(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of `r"…"` or `r#"…"#` with any number of `#`; none for an identifier, `r#raw`
/// included.
fn raw_string_length(text: &[u8], prefix: usize) -> Option<usize> {
    let hashes = text[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let body = prefix + hashes + 1;
    if text.get(body - 1) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let length = text[body..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(text.len(), |length| body + length + end.len()))
}

fn test_items(code: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < code.len() {
        match &code[at..] {
            [b'#', b'!', b'[', ..] if is_test_attribute(code, at + 2) => {
                return std::iter::once(0..code.len()).collect();
            }
            [b'#', b'[', ..] if is_test_attribute(code, at + 1) => {
                let end = item_end(code, closing(code, at + 1));
                found.push(at..end);
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

/// Whether the attribute in brackets is `cfg(test)` or `cfg(all(test, …))`.
fn is_test_attribute(code: &[u8], open: usize) -> bool {
    let attribute: Vec<u8> = code[open..closing(code, open)]
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    attribute == b"[cfg(test)]" || attribute.starts_with(b"[cfg(all(test,")
}

/// The end of the item, field or statement that begins at or after an offset.
fn item_end(code: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut is_use = false;
    let mut is_item = false;
    while at < code.len() {
        match code[at] {
            b'#' => at = closing(code, at + 1),
            b'{' if !is_use => return closing(code, at),
            b'(' | b'[' | b'{' => at = closing(code, at),
            b';' => return at + 1,
            // A field, a variant or an argument.
            b',' if !is_item => return at + 1,
            b'}' | b')' | b']' => return at,
            byte if is_identifier(byte) => {
                let length = code[at..].iter().take_while(|byte| is_identifier(**byte)).count();
                let word = &code[at..at + length];
                is_use |= word == b"use";
                is_item |= ITEM_KEYWORDS.iter().any(|keyword| keyword.as_bytes() == word);
                at += length;
            }
            _ => at += 1,
        }
    }
    code.len()
}

const ITEM_KEYWORDS: &[&str] =
    &["const", "enum", "fn", "impl", "let", "mod", "static", "struct", "trait", "type", "use"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that are left when whitespace does not count.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let code = RustCode::new(text);
        assert_eq!(code.code().len(), text.len());
        let words: Vec<&str> = code.code().split_whitespace().collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn comments_are_blanked() {
        check("a // b\n/* c /* d */ e */ f //! g", "a f");
    }

    #[test]
    fn literals_are_blanked() {
        check(r##"a("b\"c", 'd', '\'', b"e", r#"f"g"#, br"h\", '—') k"##, "a( , , , b , , , ) k");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        check("fn f<'a>(x: &'a r#type) {}", "fn f<'a>(x: &'a r#type) {}");
    }

    #[test]
    fn test_items_are_blanked() {
        check(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { c(); }\n}\nfn d() {}",
            "fn a() {} fn d() {}",
        );
        check("#[cfg(test)]\nuse a::{b, c};\nfn d() {}", "fn d() {}");
        check("#[cfg(test)]\n#[path = \"b.rs\"]\nmod b;\nfn d() {}", "fn d() {}");
        check("struct S { #[cfg(test)] a: [u8; 2], b: u8 }", "struct S { b: u8 }");
        check("#[cfg(all(test, unix))]\nfn a(b: [u8; 3]) { }\nc", "c");
        check("#![cfg(test)]\nfn a() {}", "");
    }

    #[test]
    fn other_configurations_stay() {
        check("#[cfg(not(test))]\nfn a() {}", "#[cfg(not(test))] fn a() {}");
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let code = RustCode::new("//! A.\n\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(code.lines_without_tests(), 4);
    }
}
