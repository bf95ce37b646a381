//! JSON field: its raw text, parsed by a rule; an error names the field and the rule.

use std::borrow::Cow;
use std::str::FromStr;

use convodb::{AssistantRef, Cost, Error, Variables};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A field whose value breaks a rule. Never contains the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// The field, with its parent: `customer.phone`.
    pub field: &'static str,
    /// The rule, as the rest of a sentence that begins with the field: `must be a string`.
    pub reason: &'static str,
}

/// A blank string in JSON. It counts as not given, except as the content of a message.
pub const BLANK: &str = "\"\"";

/// Parses a required field with `parse`, which returns the value or the rule that it breaks.
///
/// # Errors
/// Fails if the field is absent, null or blank, or if `parse` fails.
pub fn required<T>(
    field: &'static str,
    json: Option<&RawValue>,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, InvalidField> {
    optional(field, json, parse)?.ok_or(InvalidField { field, reason: "is required" })
}

/// Parses an optional field with `parse`. Absent, null and a blank string are `None`: forms and
/// spreadsheets send a blank for a field that nobody filled in.
///
/// # Errors
/// Fails if `parse` fails.
pub fn optional<T>(
    field: &'static str,
    json: Option<&RawValue>,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, InvalidField> {
    let json = json.map(RawValue::get).filter(|json| *json != BLANK);
    json.map(parse).transpose().map_err(|reason| InvalidField { field, reason })
}

/// Parses a JSON string. Borrows it if it has no escapes.
///
/// # Errors
/// The rule that a wrong value breaks.
pub fn text(json: &str) -> Result<Cow<'_, str>, &'static str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(json).map(|Text(text)| text).map_err(|_| {
        // JSON allows an escape that no Unicode string can contain.
        if json.starts_with('"') {
            "must not contain half of a surrogate pair"
        } else {
            "must be a string"
        }
    })
}

/// Parses a JSON string, then its text as a value of the engine.
///
/// # Errors
/// The rule that a wrong value breaks.
pub fn parsed<T: FromStr<Err = Error>>(json: &str) -> Result<T, &'static str> {
    text(json)?.parse().map_err(|error| rule(&error))
}

/// Parses a JSON number as an amount in USD, digit by digit, without a float in between.
///
/// # Errors
/// The rule that a wrong value breaks.
pub fn cost(json: &str) -> Result<Cost, &'static str> {
    json.parse().map_err(|error| rule(&error))
}

/// Parses a JSON number that is a whole number, also if it is written with a fraction: `3.0`.
#[must_use]
pub fn whole_number(json: &str) -> Option<u32> {
    let (digits, fraction) = json.split_once('.').unwrap_or((json, "0"));
    let is_whole = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    digits.parse().ok().filter(|_| is_whole)
}

/// Parses an assistant's UUID in a string, or its number in the assistants list, as a number or in
/// a string.
///
/// # Errors
/// The rule that a wrong value breaks.
pub fn assistant(json: &str) -> Result<AssistantRef, &'static str> {
    let rule = "must be an assistant's UUID or its number";
    match whole_number(json) {
        Some(number) => Ok(AssistantRef::Number(number)),
        None => parsed(json).map_err(|_| rule),
    }
}

/// Parses `true` or `false`.
///
/// # Errors
/// The rule that a wrong value breaks.
pub fn boolean(json: &str) -> Result<bool, &'static str> {
    json.parse().map_err(|_| "must be true or false")
}

/// Parses a JSON object into a struct of raw fields.
///
/// # Errors
/// The rule that a wrong value breaks: another kind of value, or a field twice.
pub fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, &'static str> {
    // Serde also accepts an array of the struct's fields.
    let object = is_object(json).then(|| serde_json::from_str(json).ok()).flatten();
    object.ok_or("must be an object with each field at most once")
}

/// Parses variables. An empty array is `None`: PHP encodes an empty associative array as `[]`.
///
/// # Errors
/// The rule that a wrong value breaks.
pub fn variables(json: &str) -> Result<Option<Variables>, &'static str> {
    let empty_array = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if empty_array.is_some_and(|inside| inside.trim().is_empty()) {
        return Ok(None);
    }
    Variables::new(json.to_owned()).map(Some).map_err(|error| rule(&error))
}

/// Returns whether a valid JSON text is an object.
#[must_use]
pub fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

/// Returns the rule in an [`Error::Invalid`].
#[must_use]
pub fn rule(error: &Error) -> &'static str {
    match error {
        Error::Invalid { reason, .. } => reason,
        _ => "is not valid",
    }
}
