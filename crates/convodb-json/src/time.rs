//! Times of an import: the forms that other programs print.

use std::borrow::Cow;

use convodb::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;

use crate::field::{is_object, object, rule, text};

/// The rule of any other form.
const RULE: &str =
    "must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339, or a number of milliseconds since 1970";
/// The rule of a number that is not surely one of milliseconds.
const NUMBER_RULE: &str = "must have 12 or 13 digits where it is a number, milliseconds since 1970: \
     seconds, microseconds and nanoseconds are not read";
/// The rule of a date that begins with the day or the month.
const ORDER_RULE: &str =
    "must begin with the year, as in 2025-01-25: otherwise, day and month could be confused";
/// The rule of an object of PHP in a named zone.
const ZONE_RULE: &str =
    "must be in UTC or have an offset, as in +01:00: the rules of named time zones are not known";
/// Milliseconds from 1973 on. Less are seconds, which end in 5138.
const MIN_MILLIS: u64 = 100_000_000_000;

/// A time as PHP encodes its class `DateTime` in JSON.
#[derive(Deserialize)]
struct PhpTime<'a> {
    #[serde(borrow)]
    date: Cow<'a, str>,
    timezone: Cow<'a, str>,
}

/// Parses the time in a field: a string, a number of milliseconds, or an object of PHP.
///
/// # Errors
/// The rule that a wrong value breaks. A form that could mean two times is refused.
pub(crate) fn time(json: &str) -> Result<Timestamp, &'static str> {
    if is_object(json) {
        let PhpTime { date, timezone } = object(json).map_err(|_| RULE)?;
        return match timezone.as_ref() {
            "UTC" | "GMT" | "Z" => from_text(&format!("{date}Z")),
            offset if offset.starts_with(['+', '-']) => from_text(&format!("{date}{offset}")),
            _ => Err(ZONE_RULE),
        };
    }
    if json.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return from_millis(json);
    }
    from_text(&text(json).map_err(|_| RULE)?)
}

fn from_millis(number: &str) -> Result<Timestamp, &'static str> {
    let millis = number.strip_suffix(".0").unwrap_or(number).parse().map_err(|_| NUMBER_RULE)?;
    let in_range = (MIN_MILLIS..=Timestamp::MAX.millis()).contains(&millis);
    let at = in_range.then(|| Timestamp::from_millis(millis).ok()).flatten();
    at.ok_or(NUMBER_RULE)
}

fn from_text(text: &str) -> Result<Timestamp, &'static str> {
    let text = text.trim();
    // Eight digits are a date.
    if text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return from_millis(text);
    }
    let error = match text.parse::<Timestamp>() {
        Ok(at) => return Ok(at),
        Err(error) => rule(&error),
    };
    let zone = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"));
    if let Some(at) = zone.and_then(|civil| format!("{civil}Z").parse().ok()) {
        return Ok(at);
    }
    if let Ok(at) = DateTimeParser::new().parse_timestamp(text) {
        return Timestamp::try_from(at).map_err(|error| rule(&error));
    }
    let begins_with_year = text.len() >= 4 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    Err(match () {
        () if error.starts_with("must lie") => error,
        () if !begins_with_year && text.contains(['/', '.', '-']) => ORDER_RULE,
        () => RULE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(time(json).map(Timestamp::to_rfc3339), Ok(expected.to_owned()), "{json}");
    }

    /// One form a line, as docs/http-api.md lists them.
    #[test]
    fn the_documented_forms_are_read() {
        let second = "2025-01-25T14:15:00.000Z";
        check(r#""2025-01-25""#, "2025-01-25T00:00:00.000Z");
        check(r#""2025-01-25 14:15:00""#, second);
        check(r#""2025-01-25T14:15:00.250Z""#, "2025-01-25T14:15:00.250Z");
        // Milliseconds: JavaScript, pandas. A column with gaps is one of floats.
        check("1737814500250", "2025-01-25T14:15:00.250Z");
        check("1737814500000.0", second);
        check(r#""1737814500250""#, "2025-01-25T14:15:00.250Z");
        // DuckDB, PostgreSQL: TIMESTAMP and TIMESTAMPTZ.
        check(r#""2025-01-25 14:15:00.25""#, "2025-01-25T14:15:00.250Z");
        check(r#""2025-01-25 14:15:00+00""#, second);
        check(r#""2025-01-25 15:15:00.25+01""#, "2025-01-25T14:15:00.250Z");
        check(r#""2025-01-25 19:45:00+05:30""#, second);
        // pandas: with and without a zone, in CSV and in JSON.
        check(r#""2025-01-25 14:15:00+00:00""#, second);
        check(r#""2025-01-25T14:15:00.000000000""#, second);
        check(r#""2025-01-25T14:15:00.000""#, second);
        // PHP: DATE_ATOM, DATE_ISO8601, DATE_RFC2822, DATE_RFC7231, Carbon, json_encode(DateTime).
        check(r#""2025-01-25T15:15:00+01:00""#, second);
        check(r#""2025-01-25T15:15:00+0100""#, second);
        check(r#""Sat, 25 Jan 2025 15:15:00 +0100""#, second);
        check(r#""Sat, 25 Jan 2025 14:15:00 GMT""#, second);
        check(r#""2025-01-25T14:15:00.000000Z""#, second);
        check(
            r#"{"date":"2025-01-25 14:15:00.000000","timezone_type":3,"timezone":"UTC"}"#,
            second,
        );
        check(
            r#"{"date":"2025-01-25 15:15:00.000000","timezone_type":1,"timezone":"+01:00"}"#,
            second,
        );
        // Ruby, BigQuery.
        check(r#""2025-01-25 14:15:00 UTC""#, second);
    }

    #[test]
    fn ambiguous_and_other_forms_are_refused_with_a_hint() {
        for (json, expected) in [
            ("1737814500", NUMBER_RULE),
            (r#""1737814500""#, NUMBER_RULE),
            ("1737814500.25", NUMBER_RULE),
            ("1737814500250000", NUMBER_RULE),
            ("-1", NUMBER_RULE),
            (r#""01/02/2025""#, ORDER_RULE),
            (r#""25.01.2025 14:15""#, ORDER_RULE),
            (r#""01-02-2025""#, ORDER_RULE),
            (
                r#"{"date":"2025-01-25 14:15:00","timezone_type":3,"timezone":"Europe/Berlin"}"#,
                ZONE_RULE,
            ),
            (r#"{"date":"2025-01-25 14:15:00"}"#, RULE),
            (r#""2025-01-25T14:15:00[Europe/Berlin]""#, RULE),
            (r#""2025-02-30""#, RULE),
            (r#""soon""#, RULE),
            (r#""""#, RULE),
            ("true", RULE),
            ("[]", RULE),
            (r#""1969-12-31""#, "must lie between 1970-01-01 and 2109-05-15"),
        ] {
            assert_eq!(time(json), Err(expected), "{json}");
        }
    }
}
