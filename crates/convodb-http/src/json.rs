//! The few kinds of JSON values that bodies are made of, appended to a buffer.
//!
//! Nothing here allocates but the buffer itself when it has to grow.

use convodb::{Cost, Timestamp};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

const NANOS_PER_DOLLAR: u64 = 1_000_000_000;
const NANO_DIGITS: usize = 9;

/// `2025-01-25 14:30:00`, as the documented API prints times.
const TIMES: DateTimePrinter = DateTimePrinter::new().separator(b' ').precision(Some(0));

/// `2025-01-25T14:30:00.250Z`: every time of the store, without loss.
const EXACT_TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Appends what needs no escaping: punctuation, names of keys, JSON that is stored as text.
pub(crate) fn raw(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

/// Appends a string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    let Ok(()) = serde_json::to_writer(&mut *out, text) else {
        unreachable!("a string is JSON and a buffer takes it")
    };
}

/// Appends a string, or `null`.
pub(crate) fn string_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => raw(out, "null"),
    }
}

/// Appends a whole number.
pub(crate) fn integer(out: &mut Vec<u8>, number: u64) {
    raw(out, itoa::Buffer::new().format(number));
}

/// Appends a whole number, or `null`.
pub(crate) fn integer_or_null(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => integer(out, number),
        None => raw(out, "null"),
    }
}

/// Appends `true` or `false`.
pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    raw(out, if value { "true" } else { "false" });
}

/// Appends a UUID as a string.
pub(crate) fn uuid(out: &mut Vec<u8>, uuid: Uuid) {
    let mut text = [0; Hyphenated::LENGTH];
    out.push(b'"');
    raw(out, uuid.hyphenated().encode_lower(&mut text));
    out.push(b'"');
}

/// Appends a time as a string, in UTC, to the second. The same text as its `Display`, at a third
/// of the price.
pub(crate) fn time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    let seconds = i64::try_from(at.millis() / 1000).unwrap_or(i64::MAX);
    let printed = jiff::Timestamp::from_second(seconds)
        .and_then(|at| TIMES.print_datetime(&TimeZone::UTC.to_datetime(at), &mut *out));
    let Ok(()) = printed else { unreachable!("every stored time is a time of the calendar") };
    out.push(b'"');
}

/// Appends a time as a string in RFC 3339, to the millisecond, in which nothing is lost.
pub(crate) fn exact_time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    let printed = jiff::Timestamp::from_millisecond(millis)
        .and_then(|at| EXACT_TIMES.print_timestamp(&at, &mut *out));
    let Ok(()) = printed else { unreachable!("every stored time is a time of the calendar") };
    out.push(b'"');
}

/// Appends JSON that is stored as text so that it stays one line: a JSON string holds no raw line
/// break, so each one stands between values, and becomes a space.
pub(crate) fn one_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    raw(out, json);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// Appends an amount as a decimal number of USD. The same text as its `Display`, without that
/// one's 128-bit divisions.
pub(crate) fn cost(out: &mut Vec<u8>, cost: Cost) {
    let nanos = cost.nanos();
    let magnitude = nanos.unsigned_abs();
    if nanos < 0 {
        out.push(b'-');
    }
    integer(out, magnitude / NANOS_PER_DOLLAR);
    let mut fraction = magnitude % NANOS_PER_DOLLAR;
    if fraction == 0 {
        return;
    }
    let mut digits = [b'0'; NANO_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (fraction % 10).to_le_bytes()[0];
        fraction /= 10;
    }
    let shortest = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..shortest]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn costs_print_as_their_display() {
        let mut nanos: Vec<i64> = vec![0, 1, 10, 999_999_999, 1_000_000_000, 1_000_000_001];
        nanos.extend([3_200_000, 4_500_000_000, i64::MAX, i64::MIN + 1, i64::MIN]);
        nanos.extend((0..500).map(|n: i64| n.wrapping_mul(0x5851_f42d_4c95_7f2d)));
        for nanos in nanos.iter().flat_map(|n| [*n, n.wrapping_neg(), n % 1_000_000]) {
            let value = Cost::from_nanos(nanos);
            assert_eq!(written(|out| cost(out, value)), value.to_string());
        }
    }

    #[test]
    fn times_print_as_their_display() {
        let steps = (0..4_000).map(|n| Timestamp::from_millis(n * 1_099_511_627).unwrap());
        for at in steps.chain([Timestamp::MIN, Timestamp::MAX]) {
            assert_eq!(written(|out| time(out, at)), format!("\"{at}\""));
            let exact = format!("\"{}\"", at.to_rfc3339());
            assert_eq!(written(|out| exact_time(out, at)), exact);
        }
    }

    #[test]
    fn strings_are_escaped_and_nothing_else_is_quoted() {
        let text = "a\"b\\c\n\0\u{1F600}/é";
        let json = written(|out| string(out, text));
        assert_eq!(json, "\"a\\\"b\\\\c\\n\\u0000\u{1F600}/é\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(written(|out| string_or_null(out, None)), "null");
        assert_eq!(written(|out| boolean(out, false)), "false");
        assert_eq!(
            written(|out| uuid(out, Uuid::from_u128(0xAB))),
            "\"00000000-0000-0000-0000-0000000000ab\""
        );
    }
}
