//! JSON validation: checks that a text is one JSON object or array, without building it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Checks that `text` is one JSON object (RFC 8259), nested at most 127 deep.
///
/// # Errors
/// The rule that the text breaks: `rule`, or one about a value in it that JSON allows, but that
/// most parsers refuse.
pub(crate) fn check_object(text: &str, rule: &'static str) -> Result<(), &'static str> {
    check(text, '{', rule)
}

/// Checks that `text` is one JSON array (RFC 8259), nested at most 127 deep.
///
/// # Errors
/// As [`check_object`].
pub(crate) fn check_array(text: &str, rule: &'static str) -> Result<(), &'static str> {
    check(text, '[', rule)
}

fn check(text: &str, opening: char, rule: &'static str) -> Result<(), &'static str> {
    if !text.trim_start().starts_with(opening) {
        return Err(rule);
    }
    let Err(error) = serde_json::from_str::<Checked>(text) else { return Ok(()) };
    // serde_json has no other way to tell its syntax errors apart. `IgnoredAny` follows the
    // grammar of JSON alone.
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Err(rule);
    }
    let error = error.to_string();
    if error.starts_with("number out of range") {
        Err("must not contain a number beyond 1.8e308")
    } else if error.contains("surrogate") || error.contains("hex escape") {
        Err("must not contain half of a surrogate pair")
    } else {
        Err(rule)
    }
}

/// Any value, validated and discarded. Unlike `serde::de::IgnoredAny` it is subject to the parser's
/// limit on nesting, so that other parsers with such a limit can read what is stored.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Checked)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
        while seq.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
        while map.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_object(text: &str) -> bool {
        check_object(text, "").is_ok()
    }

    fn is_array(text: &str) -> bool {
        check_array(text, "").is_ok()
    }

    #[test]
    fn values_that_most_parsers_refuse_are_named() {
        let number = "must not contain a number beyond 1.8e308";
        let surrogate = "must not contain half of a surrogate pair";
        for (text, rule) in [
            ("[1e400]", number),
            ("[-1e400]", number),
            (r#"["\ud83d"]"#, surrogate),
            (r#"["\ude00"]"#, surrogate),
            (r#"["\ud83d\n"]"#, surrogate),
            (r#"["\ud83d\u0041"]"#, surrogate),
            (r#"[{"\ud83d":1}]"#, surrogate),
            ("[1e400", "other"),
            (r#"["\ud8"]"#, "other"),
        ] {
            assert_eq!(check_array(text, "other"), Err(rule), "{text}");
        }
        assert_eq!(check_array(r#"["\ud83d\ude00",1e308,1e-400]"#, "other"), Ok(()));
    }

    #[test]
    fn objects_and_arrays_are_recognised() {
        let everything = "{\"a\":[1,-2,3.5,true,null,\"\\u00e9\",{}]}";
        assert!(is_object(everything) && !is_array(everything));
        assert!(is_array(" [[]]\n") && !is_object("[]"));
        for wrong in ["", "{", "{}x", "{\"a\":}", "{a:1}", "[1,]", "{\"a\":1e999}"] {
            assert!(!is_object(wrong) && !is_array(wrong), "{wrong}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_deep_recursion() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_array(&nested(100)));
        assert!(!is_array(&nested(100_000)));
    }
}
