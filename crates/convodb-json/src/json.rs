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
    let (words, rest) = text.as_chunks::<8>();
    let any = words.iter().fold(0, |any, word| any | escaped_bytes(*word));
    match text.last_chunk() {
        // The last word again, with the bytes after the whole words.
        Some(last) => any | escaped_bytes(*last) != 0,
        None => rest
            .iter()
            .fold(false, |any, byte| any | (*byte < b' ') | (*byte == b'"') | (*byte == b'\\')),
    }
}

/// A word whose highest bits say whether any of eight bytes is a control character, a quotation mark
/// or a backslash: a byte that is less than another one borrows in the subtraction of the words. The
/// first of several such bytes is exact, so the result is 0 exactly if there is none.
#[inline]
const fn escaped_bytes(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let word = u64::from_le_bytes(word);
    let quote = word ^ u64::from_ne_bytes([b'"'; 8]);
    let backslash = word ^ u64::from_ne_bytes([b'\\'; 8]);
    let control = word.wrapping_sub(u64::from_ne_bytes([b' '; 8])) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH_BITS
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
    let (high, low) = uuid.as_u64_pair();
    let [a, b, c, d] = [high >> 32, high & LOW, low >> 32, low & LOW].map(hex);
    let mut text = *b"\"00000000-0000-0000-0000-000000000000\"";
    text[1..9].copy_from_slice(&a);
    text[10..14].copy_from_slice(&b[..4]);
    text[15..19].copy_from_slice(&b[4..]);
    text[20..24].copy_from_slice(&c[..4]);
    text[25..29].copy_from_slice(&c[4..]);
    text[29..37].copy_from_slice(&d);
    out.extend_from_slice(&text);
}

/// The lower half of a word.
const LOW: u64 = 0xffff_ffff;

/// The eight hexadecimal digits of a number below 2^32, computed as one word.
#[inline]
const fn hex(digits: u64) -> [u8; 8] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // Spread the digits, one a byte.
    let digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    let digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Six more than a digit from ten on carries into the upper half of its byte.
    let letters = (digits + 6 * ONES) >> 4 & ONES;
    const TO_LETTER: u64 = (b'a' - b'0' - 10) as u64;
    (digits + b'0' as u64 * ONES + letters * TO_LETTER).to_be_bytes()
}

/// Appends a time as a string, in UTC, to the second: `2025-01-25 10:15:00`.
#[inline]
pub fn time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    at.write_to(out);
    out.push(b'"');
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
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
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
