//! A query string as named texts: splits it, decodes it, and gathers what is wrong with it.
//!
//! Here the encoding of URLs ends. Each known field is decoded by its own rule for a plus, and
//! what any field breaks is kept beside the others, so that a client is told all of it at once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::{ApiError, FieldError, Result};

/// The most bytes of a value.
const MAX_VALUE_BYTES: usize = 255;

/// What a literal plus in a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlusSign {
    /// A space, as forms are encoded.
    Space,
    /// Itself, as in a phone number that was not encoded.
    Literal,
}

/// A query string whose fields are taken one by one.
pub(crate) struct QueryString<'q> {
    query: &'q str,
    errors: Vec<FieldError>,
}

impl<'q> QueryString<'q> {
    /// The form of a query string, without its question mark.
    pub(crate) const fn new(query: &'q str) -> Self {
        Self { query, errors: Vec::new() }
    }

    /// The value of a field, if it is given, not blank, and `read` takes it. What `read` or the
    /// form itself refuses is kept for [`QueryString::finish`].
    ///
    /// A field without a value is as one that is not given. A field must not be given twice.
    pub(crate) fn take<T>(
        &mut self,
        field: &'static str,
        plus: PlusSign,
        read: impl FnOnce(&str) -> Result<T, FieldError>,
    ) -> Option<T> {
        let text = match self.text(field, plus) {
            Ok(text) => text?,
            Err(rule) => {
                self.errors.push(FieldError::breaks(field, rule));
                return None;
            }
        };
        read(&text).map_err(|error| self.errors.push(error)).ok()
    }

    /// Whether anything was refused so far.
    pub(crate) fn is_refused(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Keeps a refusal of a field that was taken.
    pub(crate) fn refuse(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// Fails with all that was refused, in the order in which it was taken.
    pub(crate) fn finish(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.errors)) }
    }

    fn text(&self, field: &str, plus: PlusSign) -> Result<Option<Cow<'q, str>>, &'static str> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(name, _)| is_name(name, field)).map(|(_, value)| value);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err("must be given only once");
        }
        let text = decoded(value, plus).ok_or("must be valid UTF-8")?;
        if text.len() > MAX_VALUE_BYTES {
            return Err("must not be greater than 255 bytes");
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// Whether the encoded `name` is the field's. A name that needs decoding is none of ours, but may
/// have been encoded all the same.
fn is_name(name: &str, field: &str) -> bool {
    name == field || (name.contains('%') && percent_decode_str(name).eq(field.bytes()))
}

fn decoded(value: &str, plus: PlusSign) -> Option<Cow<'_, str>> {
    if plus == PlusSign::Space && value.contains('+') {
        let spaced = value.replace('+', " ");
        let text = percent_decode_str(&spaced).decode_utf8().ok()?;
        return Some(Cow::Owned(text.into_owned()));
    }
    percent_decode_str(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, plus: PlusSign, expected: Result<Option<&str>, &str>) {
        let mut form = QueryString::new(query);
        let value = form.take("f_x", plus, |text| Ok(text.to_owned()));
        match expected {
            Ok(expected) => {
                assert_eq!(value.as_deref(), expected, "{query}");
                assert!(form.finish().is_ok(), "{query}");
            }
            Err(rule) => {
                let expected = ApiError::invalid(vec![FieldError::breaks("f_x", rule)]);
                assert_eq!(form.finish().unwrap_err(), expected, "{query}");
            }
        }
    }

    #[test]
    fn values_are_decoded_once() {
        for (query, text) in [
            ("f_x=a", "a"),
            ("g=1&f_x=a%20b&h", "a b"),
            ("f%5Fx=a", "a"),
            ("f_x=%2B49", "+49"),
            ("f_x=%252B", "%2B"),
            ("f_x=a=b", "a=b"),
            ("f_x=%00'%22%F0%9F%98%80", "\0'\"\u{1F600}"),
            ("f_x=100%", "100%"),
            ("f_x=%zz", "%zz"),
            ("f_x=%20", " "),
        ] {
            check(query, PlusSign::Space, Ok(Some(text)));
            check(query, PlusSign::Literal, Ok(Some(text)));
        }
        check("f_x=+49", PlusSign::Space, Ok(Some(" 49")));
        check("f_x=+49", PlusSign::Literal, Ok(Some("+49")));
    }

    #[test]
    fn blank_is_not_given() {
        for query in ["", "&&", "f_x", "f_x=", "F_X=1", "f_x[]=1", "f+x=1", "%FF=1"] {
            check(query, PlusSign::Space, Ok(None));
        }
    }

    #[test]
    fn what_no_field_may_be() {
        check("f_x=1&f_x=1", PlusSign::Space, Err("must be given only once"));
        check("f_x=&g&f%5fx=1", PlusSign::Space, Err("must be given only once"));
        check("f_x=%FF", PlusSign::Space, Err("must be valid UTF-8"));
        check("f_x=+%C3", PlusSign::Space, Err("must be valid UTF-8"));
        let long = |n: usize| format!("f_x={}", "%61".repeat(n));
        check(&long(255), PlusSign::Literal, Ok(Some(&"a".repeat(255))));
        check(&long(256), PlusSign::Literal, Err("must not be greater than 255 bytes"));
    }
}
