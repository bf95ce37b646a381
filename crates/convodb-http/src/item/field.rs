//! One field of an item: a piece of JSON text, and the rule that it keeps or breaks.

use std::borrow::Cow;
use std::str::FromStr;

use convodb::{Cost, Error};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A rule that a field breaks. Never tells the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) field: &'static str,
    pub(super) reason: &'static str,
}

/// A field that must be there. `read` gives its value or the rule that it breaks.
pub(super) fn required<T>(
    field: &'static str,
    json: Option<&RawValue>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Broken> {
    optional(field, json, read)?.ok_or(Broken { field, reason: "is required" })
}

/// A field that may be left out or null.
pub(super) fn optional<T>(
    field: &'static str,
    json: Option<&RawValue>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, Broken> {
    json.map(|json| read(json.get())).transpose().map_err(|reason| Broken { field, reason })
}

/// A JSON string, borrowed where it has no escapes.
pub(super) fn text(json: &str) -> Result<Cow<'_, str>, &'static str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(json).map(|Text(text)| text).map_err(|_| "must be a string")
}

/// A JSON string that the engine parses.
pub(super) fn parsed<T: FromStr<Err = Error>>(json: &str) -> Result<T, &'static str> {
    text(json)?.parse().map_err(|error| rule(&error))
}

/// A JSON number in USD, read digit by digit.
pub(super) fn cost(json: &str) -> Result<Cost, &'static str> {
    json.parse().map_err(|error| rule(&error))
}

/// `true` or `false`.
pub(super) fn boolean(json: &str) -> Result<bool, &'static str> {
    json.parse().map_err(|_| "must be true or false")
}

/// A JSON object of fields that are read one by one.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, &'static str> {
    // A struct would also be read from an array of its fields.
    let object = is_object(json).then(|| serde_json::from_str(json).ok()).flatten();
    object.ok_or("must be an object with each field at most once")
}

/// Whether valid JSON is an object.
pub(super) fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

/// The rule that the engine says a value breaks.
pub(super) fn rule(error: &Error) -> &'static str {
    match error {
        Error::Invalid { reason, .. } => reason,
        _ => "is not valid",
    }
}
