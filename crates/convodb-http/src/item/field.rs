//! One field of an item: a piece of JSON text, and the rule that it keeps or breaks.

use std::borrow::Cow;
use std::str::FromStr;

use convodb::{Cost, Error, Variables};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A rule that a field breaks. Never tells the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) field: &'static str,
    pub(crate) reason: &'static str,
}

/// A field that must be there. `read` gives its value or the rule that it breaks.
pub(crate) fn required<T>(
    field: &'static str,
    json: Option<&RawValue>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Broken> {
    optional(field, json, read)?.ok_or(Broken { field, reason: "is required" })
}

/// A field that may be left out or null.
pub(crate) fn optional<T>(
    field: &'static str,
    json: Option<&RawValue>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, Broken> {
    json.map(|json| read(json.get())).transpose().map_err(|reason| Broken { field, reason })
}

/// A JSON string, borrowed where it has no escapes.
pub(crate) fn text(json: &str) -> Result<Cow<'_, str>, &'static str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(json).map(|Text(text)| text).map_err(|_| "must be a string")
}

/// A JSON string that the engine parses.
pub(crate) fn parsed<T: FromStr<Err = Error>>(json: &str) -> Result<T, &'static str> {
    text(json)?.parse().map_err(|error| rule(&error))
}

/// A JSON number in USD, read digit by digit.
pub(crate) fn cost(json: &str) -> Result<Cost, &'static str> {
    json.parse().map_err(|error| rule(&error))
}

/// `true` or `false`.
pub(crate) fn boolean(json: &str) -> Result<bool, &'static str> {
    json.parse().map_err(|_| "must be true or false")
}

/// A JSON object of fields that are read one by one.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, &'static str> {
    // A struct would also be read from an array of its fields.
    let object = is_object(json).then(|| serde_json::from_str(json).ok()).flatten();
    object.ok_or("must be an object with each field at most once")
}

/// Variables, or none where PHP wrote an object without fields as an array.
pub(crate) fn variables(json: &str) -> Result<Option<Variables>, &'static str> {
    let empty_array = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if empty_array.is_some_and(|inside| inside.trim().is_empty()) {
        return Ok(None);
    }
    Variables::new(json.to_owned()).map(Some).map_err(|error| rule(&error))
}

/// Whether valid JSON is an object.
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

/// The rule that the engine says a value breaks.
pub(crate) fn rule(error: &Error) -> &'static str {
    match error {
        Error::Invalid { reason, .. } => reason,
        _ => "is not valid",
    }
}
