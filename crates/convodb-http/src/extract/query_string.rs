//! Query string: splits and percent-decodes it, and collects every invalid field.
//!
//! Beyond this module no text is URL-encoded. Each known field is decoded by its own rule for a
//! plus sign. The errors of all fields are collected, so a client sees all of them at once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::{ApiError, FieldError, Result};

/// The most bytes of a value.
const MAX_VALUE_BYTES: usize = 255;

/// The most bytes of a cursor: above the longest token, which has the values of a list.
const MAX_CURSOR_BYTES: usize = 512;

/// The meaning of a plus sign that is not percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlusSign {
    /// A space, as in form encoding.
    Space,
    /// At the beginning a plus sign, as in a phone number that was not encoded; elsewhere a space,
    /// as in one that a form encoded: `%2B1+415+555+0100`.
    Leading,
}

/// Which fields that an endpoint does not know are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    /// All.
    Refused,
    /// Those that a client may believe to be filters, because they are known elsewhere in this API
    /// ([`FILTERS_ELSEWHERE`]), or because they are known here without brackets or in another
    /// spelling: `assistantId`, `Per-Page`. The others are ignored, as in the reference API.
    OnlyFilters,
}

/// Names of fields and parameters of this API that are no parameters of a list.
const FILTERS_ELSEWHERE: [&str; 10] = [
    "assistant_name",
    "created_at",
    "customer",
    "from",
    "group_by",
    "to",
    "updated_at",
    "updated_from",
    "updated_to",
    "whatsapp_sender",
];

/// The name in an error of a field whose own name may be anything, such as a phone number.
const OTHER: &str = "query";

/// A query string, parsed field by field, with the errors so far.
pub(crate) struct QueryString<'q> {
    /// The names, and the values, which are encoded.
    pairs: Vec<(Cow<'q, str>, &'q str)>,
    /// The fields that may have several values, so that their names may have brackets.
    several: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'q> QueryString<'q> {
    /// Wraps a query string without its question mark.
    pub(crate) fn new(query: &'q str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_name(name), value)
        });
        Self { pairs: pairs.collect(), several: Vec::new(), errors: Vec::new() }
    }

    /// Returns the value of a field, parsed by `parse`; `None` if it is absent, blank or invalid.
    ///
    /// [`QueryString::finish`] reports an invalid value, and a field that is given twice.
    pub(crate) fn take<T>(
        &mut self,
        field: &'static str,
        plus: PlusSign,
        parse: impl FnOnce(&str) -> Result<T, FieldError>,
    ) -> Option<T> {
        let text = match self.text(field, plus) {
            Ok(text) => text?,
            Err(rule) => {
                self.errors.push(FieldError::breaks(field, rule));
                return None;
            }
        };
        parse(&text).map_err(|error| self.errors.push(error)).ok()
    }

    /// As [`QueryString::take`], for a field whose values may be separated by commas or given one by
    /// one (`a=1,2` or `a=1&a=2`).
    pub(crate) fn take_list<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, FieldError>,
    ) -> Option<T> {
        let values = self.values(field).filter(|value| !value.is_empty());
        let joined = values.collect::<Vec<_>>().join(",");
        let text = decode(&joined, PlusSign::Space).filter(|text| text.len() <= MAX_VALUE_BYTES);
        let Some(text) = text else {
            let rule = "must be valid UTF-8 of at most 255 bytes";
            self.errors.push(FieldError::breaks(field, rule));
            return None;
        };
        if text.is_empty() {
            return None;
        }
        parse(&text).map_err(|error| self.errors.push(error)).ok()
    }

    /// Returns the values of a field that may have several, each parsed by `parse`; none if the field
    /// is absent, blank or invalid. Values are separated by commas or given one by one, with or
    /// without brackets, as clients do: `a=1,2`, `a=1&a=2`, `a[]=1&a[]=2` or `a[0]=1&a[1]=2`.
    ///
    /// [`QueryString::finish`] reports the first invalid value, and more than `max` of them.
    pub(crate) fn take_several<T>(
        &mut self,
        field: &'static str,
        max: usize,
        mut parse: impl FnMut(&str) -> Result<T, FieldError>,
    ) -> Vec<T> {
        self.several.push(field);
        let mut parsed = Vec::new();
        let mut read = || {
            for (_, value) in self.pairs.iter().filter(|(name, _)| is_list_name(name, field)) {
                let text = decode(value, PlusSign::Space);
                let text = text.ok_or_else(|| FieldError::breaks(field, "must be valid UTF-8"))?;
                for value in text.split(',').filter(|value| !value.is_empty()) {
                    if parsed.len() == max {
                        let rule = format!("must not have more than {max} values");
                        return Err(FieldError::breaks(field, &rule));
                    }
                    parsed.push(parse(value)?);
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            self.errors.push(error);
            parsed.clear();
        }
        parsed
    }

    /// Rejects each field that is not one of `known`, as far as `unknown` says. An error names the
    /// field if its name looks like one.
    pub(crate) fn check_names(&mut self, known: &[&str], unknown: UnknownFields) {
        for (name, _) in &self.pairs {
            let is_refused = match unknown {
                UnknownFields::Refused => true,
                UnknownFields::OnlyFilters => is_like_filter(name, known),
            };
            let is_list = self.several.iter().any(|field| is_list_name(name, field));
            if !is_refused || name.is_empty() || is_list || known.contains(&&**name) {
                continue;
            }
            let name = if is_printable_name(name) { name } else { OTHER };
            if !self.errors.iter().any(|error| error.is_of(name)) {
                let known = known.join(", ");
                let rule = format!("is not a parameter here; the parameters are {known}");
                self.errors.push(FieldError::breaks(name.to_owned(), &rule));
            }
        }
    }

    /// Returns whether any field has been invalid so far.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Adds an error of a field that was taken.
    pub(crate) fn reject(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// Fails with 422 and all errors, in the order in which the fields were taken.
    pub(crate) fn finish(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.errors)) }
    }

    /// The encoded values of a field.
    fn values(&self, field: &str) -> impl Iterator<Item = &'q str> {
        self.pairs.iter().filter(move |(name, _)| name == field).map(|(_, value)| *value)
    }

    fn text(&self, field: &str, plus: PlusSign) -> Result<Option<Cow<'q, str>>, &'static str> {
        let mut values = self.values(field);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err("must be given only once");
        }
        let text = decode(value, plus).ok_or("must be valid UTF-8")?;
        let (limit, rule) = match field {
            "cursor" => (MAX_CURSOR_BYTES, "must not be greater than 512 bytes"),
            _ => (MAX_VALUE_BYTES, "must not be greater than 255 bytes"),
        };
        if text.len() > limit {
            return Err(rule);
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// Returns whether `name` is that of a field with several values: the field's own name, which empty
/// or numbered brackets may follow.
fn is_list_name(name: &str, field: &str) -> bool {
    let Some(rest) = name.strip_prefix(field) else { return false };
    let index = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    rest.is_empty() || index.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Decodes the name of a field. No name of a field needs encoding, but a client may encode it all the
/// same.
fn decode_name(name: &str) -> Cow<'_, str> {
    match name.contains('%') {
        true => percent_decode_str(name).decode_utf8_lossy(),
        false => Cow::Borrowed(name),
    }
}

/// Whether a client may believe that an unknown field filters: `updated_at`, `order[]`, or
/// `assistantId`.
fn is_like_filter(name: &str, known: &[&str]) -> bool {
    let base = name.split_once('[').map_or(name, |(base, _)| base);
    FILTERS_ELSEWHERE.contains(&base) || known.iter().any(|known| is_same_word(base, known))
}

/// Whether two names differ at most in case and in punctuation between their letters.
fn is_same_word(name: &str, other: &str) -> bool {
    letters(name).eq(letters(other))
}

fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| !b"_-. ".contains(byte)).map(|byte| byte.to_ascii_lowercase())
}

/// Whether a name can be in an error: a short word, unlike a phone number or a token.
fn is_printable_name(name: &str) -> bool {
    name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_-.[]".contains(&byte))
}

fn decode(value: &str, plus: PlusSign) -> Option<Cow<'_, str>> {
    let kept = usize::from(plus == PlusSign::Leading && value.starts_with('+'));
    let (kept, rest) = value.split_at(kept);
    if rest.contains('+') {
        let spaced = format!("{kept}{}", rest.replace('+', " "));
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
        let mut query_string = QueryString::new(query);
        let value = query_string.take("f_x", plus, |text| Ok(text.to_owned()));
        match expected {
            Ok(expected) => {
                assert_eq!(value.as_deref(), expected, "{query}");
                assert!(query_string.finish().is_ok(), "{query}");
            }
            Err(rule) => {
                let expected = ApiError::invalid(vec![FieldError::breaks("f_x", rule)]);
                assert_eq!(query_string.finish().unwrap_err(), expected, "{query}");
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
            check(query, PlusSign::Leading, Ok(Some(text)));
        }
        check("f_x=+49", PlusSign::Space, Ok(Some(" 49")));
        check("f_x=+49", PlusSign::Leading, Ok(Some("+49")));
        check("f_x=%2B1+415+555", PlusSign::Leading, Ok(Some("+1 415 555")));
        check("f_x=+1+415%20555", PlusSign::Leading, Ok(Some("+1 415 555")));
        check("f_x=1+2%2B3", PlusSign::Leading, Ok(Some("1 2+3")));
    }

    #[test]
    fn several_values_are_taken_in_every_form() {
        let check = |query: &str, expected: Result<&[&str], &str>| {
            let mut query_string = QueryString::new(query);
            let values = query_string.take_several("f_x", 3, |text| Ok(text.to_owned()));
            query_string.check_names(&["f_x"], UnknownFields::Refused);
            assert_eq!(values, expected.unwrap_or_default(), "{query}");
            let finished = query_string.finish();
            let error =
                expected.err().map(|rule| ApiError::invalid(vec![FieldError::breaks("f_x", rule)]));
            assert_eq!(finished.err(), error, "{query}");
        };
        for query in ["f_x=a,b", "f_x=a&f_x=b", "f_x[]=a&f_x[]=b", "f_x[0]=a&f_x[1]=b"] {
            check(query, Ok(&["a", "b"]));
        }
        check("f%5Fx%5B%5D=a&f_x=b%2Cc", Ok(&["a", "b", "c"]));
        check("f_x=,a,,b,&f_x=&f_x[]", Ok(&["a", "b"]));
        check("f_x=&f_x[]=,", Ok(&[]));
        check("", Ok(&[]));
        check("f_x=a,b&f_x[]=c", Ok(&["a", "b", "c"]));
        check("f_x=a,b&f_x[]=c,d", Err("must not have more than 3 values"));
        check("f_x=a,%FF", Err("must be valid UTF-8"));
        for query in ["f_x[a]=a", "f_x[=a", "f_x]=a", "f_xx=a"] {
            let mut query_string = QueryString::new(query);
            assert!(query_string.take_several("f_x", 3, |_| Ok(())).is_empty(), "{query}");
            query_string.check_names(&["f_x"], UnknownFields::Refused);
            assert!(query_string.finish().is_err(), "{query}");
        }
    }

    #[test]
    fn a_blank_or_unknown_field_is_absent() {
        for query in ["", "&&", "f_x", "f_x=", "F_X=1", "f_x[]=1", "f+x=1", "%FF=1"] {
            check(query, PlusSign::Space, Ok(None));
        }
    }

    #[test]
    fn a_repeated_undecodable_or_long_value_is_rejected() {
        check("f_x=1&f_x=1", PlusSign::Space, Err("must be given only once"));
        check("f_x=&g&f%5fx=1", PlusSign::Space, Err("must be given only once"));
        check("f_x=%FF", PlusSign::Space, Err("must be valid UTF-8"));
        check("f_x=+%C3", PlusSign::Space, Err("must be valid UTF-8"));
        let long = |n: usize| format!("f_x={}", "%61".repeat(n));
        check(&long(255), PlusSign::Leading, Ok(Some(&"a".repeat(255))));
        check(&long(256), PlusSign::Leading, Err("must not be greater than 255 bytes"));
    }
}
