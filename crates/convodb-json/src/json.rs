//! JSON values appended to a byte buffer.
//!
//! Nothing is allocated except when the buffer grows.

use convodb::{Cost, CostSum, Timestamp};
use uuid::Uuid;

/// Appends text without escaping it: punctuation, keys, stored JSON.
#[inline]
pub fn raw(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

/// Appends a string in quotes, escaped.
///
/// Few strings need escaping, so whether one does is checked first, eight bytes at a time.
#[inline]
pub fn string(out: &mut Vec<u8>, text: &str) {
    if !needs_escapes(text.as_bytes()) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        raw(out, text);
        return out.push(b'"');
    }
    let Ok(()) = serde_json::to_writer(&mut *out, text) else {
        unreachable!("a string is JSON and a buffer takes it")
    };
}

/// Whether a text contains a byte that JSON escapes in a string.
#[inline]
pub(crate) fn needs_escapes(text: &[u8]) -> bool {
    any_word(text, escaped_bytes)
}

/// Whether `find` sets the highest bit of any byte of a text, given eight bytes at a time. Spaces
/// pad a shorter text.
#[inline]
fn any_word(text: &[u8], find: impl Fn(u64) -> u64) -> bool {
    let (words, rest) = text.as_chunks();
    let any = words.iter().fold(0, |any, word| any | find(u64::from_le_bytes(*word)));
    // The last word again, with the bytes after the whole words.
    let last = text.last_chunk().copied().unwrap_or_else(|| {
        let mut padded = [b' '; 8];
        padded.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        padded
    });
    (any | find(u64::from_le_bytes(last))) & each(0x80) != 0
}

/// A word of eight times the same byte.
#[inline]
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// A word whose highest bits say whether any of eight bytes is a control character, a quotation mark
/// or a backslash: a byte that is less than another one borrows in the subtraction of the words. The
/// first of several such bytes is exact, so none of the bits is set exactly if there is none.
///
/// With its second bit inverted, a quotation mark comes right after the control characters.
#[inline]
const fn escaped_bytes(word: u64) -> u64 {
    let control_or_quote = (word ^ each(b'"' ^ b' ')).wrapping_sub(each(b' ' + 1));
    let backslash = (word ^ each(b'\\')).wrapping_sub(each(1));
    (control_or_quote | backslash) & !word
}

/// The same for control characters alone.
#[inline]
const fn control_bytes(word: u64) -> u64 {
    word.wrapping_sub(each(b' ')) & !word
}

/// Appends a string, or `null`.
#[inline]
pub fn string_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => raw(out, "null"),
    }
}

/// Appends a whole number.
#[inline]
pub fn integer(out: &mut Vec<u8>, number: u64) {
    raw(out, itoa::Buffer::new().format(number));
}

/// Appends a whole number, or `null`.
pub fn integer_or_null(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => integer(out, number),
        None => raw(out, "null"),
    }
}

/// Appends `true` or `false`.
#[inline]
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    raw(out, if value { "true" } else { "false" });
}

/// Appends a UUID as a string, in lower case.
#[inline]
pub fn uuid(out: &mut Vec<u8>, uuid: Uuid) {
    /// Where the digits of each byte are.
    const PLACES: [usize; 16] = [1, 3, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 31, 33, 35];
    let mut text = *b"\"00000000-0000-0000-0000-000000000000\"";
    for (place, byte) in PLACES.into_iter().zip(uuid.into_bytes()) {
        text[place..place + 2].copy_from_slice(&HEX[usize::from(byte)]);
    }
    out.extend_from_slice(&text);
}

/// The hexadecimal digits of each byte.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < hex.len() {
        hex[byte] = [DIGITS[byte / 16], DIGITS[byte % 16]];
        byte += 1;
    }
    hex
};

/// Appends a time as a string, in UTC, to the second: `2025-01-25 10:15:00`.
#[inline]
pub fn time(out: &mut Vec<u8>, at: Timestamp) {
    let mut text = *b"\"0000-00-00 00:00:00\"";
    text[1..20].copy_from_slice(&at.to_ascii());
    out.extend_from_slice(&text);
}

/// Appends a time as an RFC 3339 string, to the millisecond, which is lossless.
pub fn exact_time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    at.write_rfc3339_to(out);
    out.push(b'"');
}

/// Appends stored JSON as one line. A JSON string contains no raw line break, so every line break
/// is between values and can become a space.
#[inline]
pub fn one_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    raw(out, json);
    if any_word(json.as_bytes(), control_bytes) {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Appends an amount in USD as a decimal number that always has a fraction: `3.0`, not `3`.
///
/// Loaders infer the type of a column from its first values, and a column of integers truncates the
/// amounts that follow.
#[inline]
pub fn cost(out: &mut Vec<u8>, cost: Cost) {
    cost.write_to(out);
    if cost.nanos() % 1_000_000_000 == 0 {
        raw(out, ".0");
    }
}

/// Appends a sum of amounts in USD, in the form of [`cost`].
pub fn cost_sum(out: &mut Vec<u8>, sum: CostSum) {
    raw(out, &sum.to_string());
    if sum.nanos() % 1_000_000_000 == 0 {
        raw(out, ".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Each byte at each place of texts of all lengths around a word.
    #[test]
    fn the_bytes_that_need_escapes_are_found() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    let expected = byte < b' ' || matches!(byte, b'"' | b'\\');
                    assert_eq!(needs_escapes(&text), expected, "{byte} at {place} of {length}");
                    // Beside bytes that are almost special.
                    text.iter_mut().enumerate().for_each(|(at, other)| {
                        *other = if at == place { byte } else { [b' ', b'!', b'#', 0xff][at % 4] };
                    });
                    assert_eq!(needs_escapes(&text), expected, "{byte} at {place} of {length}");
                }
            }
        }
        assert!(!needs_escapes(b""));
    }

    #[test]
    fn values_have_their_documented_form() {
        let text = "a\"b\\c\n\0\u{1F600}/é";
        let json = written(|out| string(out, text));
        assert_eq!(json, "\"a\\\"b\\\\c\\n\\u0000\u{1F600}/é\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(written(|out| string_or_null(out, None)), "null");
        assert_eq!(written(|out| boolean(out, false)), "false");
        assert_eq!(written(|out| time(out, Timestamp::MIN)), "\"1970-01-01 00:00:00\"");
        let exact = "\"1970-01-01T00:00:00.000Z\"";
        assert_eq!(written(|out| exact_time(out, Timestamp::MIN)), exact);
        for (nanos, expected) in [
            (0, "0.0"),
            (-4_500_000, "-0.0045"),
            (170_000_000, "0.17"),
            (3_000_000_000, "3.0"),
            (-20_000_000_000, "-20.0"),
        ] {
            let amount = Cost::from_nanos(nanos);
            assert_eq!(written(|out| cost(out, amount)), expected);
            assert_eq!(written(|out| cost_sum(out, amount.into())), expected);
            assert_eq!(crate::field::cost(expected), Ok(amount));
        }
        let beyond = CostSum::from_nanos(i128::from(i64::MAX) * 1_000_000_000);
        assert_eq!(written(|out| cost_sum(out, beyond)), "9223372036854775807.0");
    }

    /// Each byte at each place.
    #[test]
    fn a_uuid_is_written_as_its_crate_writes_it() {
        for byte in 0..=255_u8 {
            for place in 0..16 {
                let mut next = byte.wrapping_mul(31);
                let mut bytes = [(); 16].map(|()| {
                    next = next.wrapping_add(1);
                    next
                });
                bytes[place] = byte;
                let id = Uuid::from_bytes(bytes);
                assert_eq!(written(|out| uuid(out, id)), format!("\"{id}\""));
            }
        }
    }
}
