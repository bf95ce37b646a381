//! Variables: the JSON object of a conversation, stored verbatim as text.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::json;

/// The variables of a conversation: one JSON object of at most 64 KiB, as text.
///
/// The text is stored byte for byte, so numbers keep their digits and fields their order. The
/// conversions from and to `serde_json` values print and parse it: a number has then the precision
/// of `f64`, and fields the order of [`serde_json::Map`]. So do the serde forms: the object itself
/// in formats that people read, such as JSON, and a string of its text in binary formats.
///
/// `S` is the type that stores the text: `String`, or `&str` where it is borrowed from a page.
/// `Debug` does not print the text, because variables often contain personal data.
///
/// ```
/// use convodb::Variables;
/// use serde_json::json;
/// let variables = Variables::new(r#"{"plan": "pro", "seats": 1.50}"#)?;
/// assert_eq!(variables.as_str(), r#"{"plan": "pro", "seats": 1.50}"#);
/// assert!(Variables::new("[1]").is_err());
///
/// let value = serde_json::Value::try_from(&variables)?;
/// assert_eq!(value, json!({"plan": "pro", "seats": 1.5}));
/// assert_eq!(Variables::try_from(&value)?.as_str(), r#"{"plan":"pro","seats":1.5}"#);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variables<S = String>(S);

impl Variables {
    /// The maximum length of the text in bytes: 64 KiB.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Validates the text of a JSON object (RFC 8259).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the text is longer than [`Variables::MAX_BYTES`], is not a JSON
    /// object, or is nested more than 127 deep.
    pub fn new(object: impl Into<String>) -> Result<Self> {
        let text = object.into();
        if text.len() > Self::MAX_BYTES {
            return Err(invalid("must have at most 65536 bytes"));
        }
        json::check_object(&text, NOT_AN_OBJECT).map_err(invalid)?;
        Ok(Self(text))
    }
}

impl<S: AsRef<str>> Variables<S> {
    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// Returns the same variables, borrowing their text.
    #[must_use]
    pub fn borrowed(&self) -> Variables<&str> {
        Variables(self.0.as_ref())
    }

    /// Returns the same variables with their own copy of the text.
    #[must_use]
    pub fn owned(&self) -> Variables {
        Variables(self.0.as_ref().to_owned())
    }
}

impl<'a> Variables<&'a str> {
    /// A text that was validated before it was stored.
    pub(crate) const fn from_stored(json: &'a str) -> Self {
        Self(json)
    }

    /// Returns the JSON text with the lifetime of the buffer that it is borrowed from.
    #[must_use]
    pub const fn get(self) -> &'a str {
        self.0
    }
}

const NOT_AN_OBJECT: &str = "must be a JSON object, nested at most 127 deep";

fn invalid(reason: &'static str) -> Error {
    Error::Invalid { field: "variables", reason }
}

fn not_an_object() -> Error {
    invalid(NOT_AN_OBJECT)
}

impl FromStr for Variables {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&Map<String, Value>> for Variables {
    type Error = Error;

    fn try_from(object: &Map<String, Value>) -> Result<Self> {
        Self::new(serde_json::to_string(object).map_err(|_| not_an_object())?)
    }
}

impl TryFrom<&Value> for Variables {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self> {
        Self::try_from(value.as_object().ok_or_else(not_an_object)?)
    }
}

impl<S: AsRef<str>> TryFrom<&Variables<S>> for Map<String, Value> {
    type Error = Error;

    /// Fails only if the text was damaged in the store.
    fn try_from(variables: &Variables<S>) -> Result<Self> {
        serde_json::from_str(variables.as_str()).map_err(|_| not_an_object())
    }
}

impl<S: AsRef<str>> TryFrom<&Variables<S>> for Value {
    type Error = Error;

    /// Fails only if the text was damaged in the store.
    fn try_from(variables: &Variables<S>) -> Result<Self> {
        Map::try_from(variables).map(Value::Object)
    }
}

impl<S> fmt::Debug for Variables<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_stored_verbatim_and_other_json_is_refused() {
        let text = " {\"a\": 1.10, \"b\":[null]}\n";
        assert_eq!(Variables::new(text).unwrap().as_str(), text);
        for wrong in ["", "null", "[]", "{", "\"{}\""] {
            assert!(Variables::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_limit_counts_bytes() {
        let fill = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert!(Variables::new(fill(65_536)).is_ok());
        assert!(Variables::new(fill(65_537)).is_err());
    }

    #[test]
    fn json_values_convert_both_ways() {
        let value = json!({"a": [1, "b", null], "c": {}});
        let variables = Variables::try_from(&value).unwrap();
        assert_eq!(Value::try_from(&variables.borrowed()).unwrap(), value);
        for wrong in [json!(null), json!([]), json!("{}"), json!({"a": "x".repeat(65_536)})] {
            assert!(Variables::try_from(&wrong).is_err(), "{wrong}");
        }
    }
}
