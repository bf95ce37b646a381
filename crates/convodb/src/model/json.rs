//! JSON validation: checks that a text is one JSON object or array, without building it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether `text` is one JSON object (RFC 8259), nested at most 127 deep.
pub(crate) fn is_object(text: &str) -> bool {
    is_value_after(text, '{')
}

/// Whether `text` is one JSON array (RFC 8259), nested at most 127 deep.
pub(crate) fn is_array(text: &str) -> bool {
    is_value_after(text, '[')
}

fn is_value_after(text: &str, opening: char) -> bool {
    text.trim_start().starts_with(opening) && serde_json::from_str::<Checked>(text).is_ok()
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
