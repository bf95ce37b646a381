//! JSON object of a request body, parsed field by field, with every invalid field reported at once.
//!
//! Unknown fields are ignored, as the reference API does. A field that is given twice is rejected,
//! because two parsers of such a body may see two different values.

use convodb_json::field::{InvalidField, is_object};
use serde::Deserialize;

use crate::error::{ApiError, FieldError, Result};

/// The name of the whole body in an error.
const BODY: &str = "body";

/// Parses the text of a body into a struct of raw fields.
///
/// # Errors
/// 400 if the text is not JSON; 422 if it is not an object or has a field twice.
pub(crate) fn parse_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    let wire = serde_json::from_str::<T>(text).map_err(|error| {
        if !error.is_data() {
            let (line, column) = (error.line(), error.column());
            let message = format!("The body is not valid JSON at line {line} column {column}.");
            return ApiError::malformed(message);
        }
        // The name in backquotes is one of this type's fields, not the client's text.
        let message = error.to_string();
        match message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) => invalid_body(&format!("must have {field} only once")),
            None => invalid_body("must be a JSON object"),
        }
    })?;
    // Serde also accepts an array of the struct's fields.
    if is_object(text) { Ok(wire) } else { Err(invalid_body("must be a JSON object")) }
}

fn invalid_body(rule: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::breaks(BODY, rule)])
}

/// The invalid fields of a body, in the order in which they are parsed.
#[derive(Default)]
pub(crate) struct FieldErrors {
    errors: Vec<FieldError>,
}

impl FieldErrors {
    /// Returns the value, or `None` with its error added.
    pub(crate) fn ok<T>(&mut self, result: Result<T, InvalidField>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Adds an error.
    pub(crate) fn add(&mut self, InvalidField { field, reason }: InvalidField) {
        self.errors.push(FieldError::breaks(field, reason));
    }

    /// Fails with 422 and all errors.
    pub(crate) fn finish(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[derive(Debug, Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(rename = "type")]
        kind: Option<&'a RawValue>,
    }

    #[test]
    fn known_fields_are_parsed_and_others_ignored() {
        let wire: Wire<'_> = parse_object(r#" {"other":[{}],"type":"x","name":null} "#).unwrap();
        assert_eq!(wire.kind.unwrap().get(), "\"x\"");
        assert!(wire.name.is_none());
        let deep = format!("{{\"other\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse_object::<Wire<'_>>(&deep).unwrap().name.is_none());
    }

    #[test]
    fn an_error_repeats_nothing_of_the_body() {
        let malformed = |column: usize| {
            ApiError::malformed(format!("The body is not valid JSON at line 1 column {column}."))
        };
        for (text, expected) in [
            ("", malformed(0)),
            ("secret", malformed(1)),
            (r#"{"name":}"#, malformed(9)),
            ("{} {}", malformed(4)),
            ("[]", invalid_body("must be a JSON object")),
            ("[\"secret\",\"secret\"]", invalid_body("must be a JSON object")),
            ("\"secret\"", invalid_body("must be a JSON object")),
            ("null", invalid_body("must be a JSON object")),
            (r#"{"type":"secret","type":1}"#, invalid_body("must have type only once")),
        ] {
            assert_eq!(parse_object::<Wire<'_>>(text).unwrap_err(), expected, "{text}");
        }
    }
}
