//! A JSON object kept as its own text: what came in goes out, number by number, byte by byte.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::json;

/// The variables of a conversation: one JSON object of at most 64 KiB, as its own text.
///
/// `Debug` does not show them: variables often hold personal data.
///
/// ```
/// use convodb::Variables;
/// let variables = Variables::new(r#"{"plan": "pro", "seats": 1.50}"#)?;
/// assert_eq!(variables.as_str(), r#"{"plan": "pro", "seats": 1.50}"#);
/// assert!(Variables::new("[1]").is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variables<S = String>(S);

impl<S: AsRef<str>> Variables<S> {
    /// The most bytes of text.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Takes the text of one JSON object.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is longer than [`Variables::MAX_BYTES`] or not a JSON object.
    pub fn new(object: S) -> Result<Self> {
        let invalid = |reason| Error::Invalid { field: "variables", reason };
        let text = object.as_ref();
        if text.len() > Self::MAX_BYTES {
            return Err(invalid("must have at most 65536 bytes"));
        }
        if !json::is_object(text) {
            return Err(invalid("must be a JSON object, nested at most 127 deep"));
        }
        Ok(Self(object))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// The same variables, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Variables<&str> {
        Variables(self.0.as_ref())
    }

    /// The same variables, with their own text.
    #[must_use]
    pub fn owned(&self) -> Variables {
        Variables(self.0.as_ref().to_owned())
    }
}

impl<'a> Variables<&'a str> {
    /// Takes a text that was checked before it was stored.
    pub(crate) const fn from_stored(json: &'a str) -> Self {
        Self(json)
    }

    /// The JSON text, for as long as what it is borrowed from.
    #[must_use]
    pub const fn get(self) -> &'a str {
        self.0
    }
}

impl<S> fmt::Debug for Variables<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_taken_and_kept_verbatim() {
        let text = " {\"a\": 1.10, \"b\":[null]}\n";
        assert_eq!(Variables::new(text).unwrap().get(), text);
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
}
