//! A JSON object whose fields are read one by one, with all that they break told at once.
//!
//! FieldErrors of other names are passed over, as the reference does. A field that is given twice is
//! refused, because two readers of such a body may see two different values.

use serde::Deserialize;

use crate::error::{ApiError, FieldError, Result};
use crate::item::{Broken, is_object};

/// What a refusal calls the body as a whole.
const BODY: &str = "body";

/// The object of a body's text, each of its fields still JSON.
///
/// # Errors
/// 400 for a text that is not JSON; 422 for JSON that is no object or has a field twice.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    let wire = serde_json::from_str::<T>(text).map_err(|error| {
        if !error.is_data() {
            let (line, column) = (error.line(), error.column());
            let message = format!("The body is not valid JSON at line {line} column {column}.");
            return ApiError::malformed(message);
        }
        // What is in backquotes is the name of a field that this type has.
        let told = error.to_string();
        match told.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) => refusal(&format!("must have {field} only once")),
            None => refusal("must be a JSON object"),
        }
    })?;
    // An array of a struct's fields would also be read as the struct.
    if is_object(text) { Ok(wire) } else { Err(refusal("must be a JSON object")) }
}

fn refusal(rule: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::breaks(BODY, rule)])
}

/// The fields of a body, and the rules that they break, in the order in which they are read.
#[derive(Default)]
pub(crate) struct FieldErrors {
    errors: Vec<FieldError>,
}

impl FieldErrors {
    /// What was read, or none with the rule that it breaks kept.
    pub(crate) fn take<T>(&mut self, read: Result<T, Broken>) -> Option<T> {
        read.map_err(|broken| self.refuse(broken)).ok()
    }

    /// Keeps a rule that is broken.
    pub(crate) fn refuse(&mut self, Broken { field, reason }: Broken) {
        self.errors.push(FieldError::breaks(field, reason));
    }

    /// Fails with all rules that were broken.
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
    fn an_object_is_read_field_by_field() {
        let wire: Wire<'_> = object(r#" {"other":[{}],"type":"x","name":null} "#).unwrap();
        assert_eq!(wire.kind.unwrap().get(), "\"x\"");
        assert!(wire.name.is_none());
        let deep = format!("{{\"other\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(object::<Wire<'_>>(&deep).unwrap().name.is_none());
    }

    #[test]
    fn what_is_no_object_is_told_without_a_word_of_it() {
        let malformed = |column: usize| {
            ApiError::malformed(format!("The body is not valid JSON at line 1 column {column}."))
        };
        for (text, expected) in [
            ("", malformed(0)),
            ("secret", malformed(1)),
            (r#"{"name":}"#, malformed(9)),
            ("{} {}", malformed(4)),
            ("[]", refusal("must be a JSON object")),
            ("[\"secret\",\"secret\"]", refusal("must be a JSON object")),
            ("\"secret\"", refusal("must be a JSON object")),
            ("null", refusal("must be a JSON object")),
            (r#"{"type":"secret","type":1}"#, refusal("must have type only once")),
        ] {
            assert_eq!(object::<Wire<'_>>(text).unwrap_err(), expected, "{text}");
        }
    }
}
