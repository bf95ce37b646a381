//! Query: the parameters of a screen's URL, in a fixed order, and links that change one of them.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What a query component must encode. A plus sign is encoded, because forms mean a space by it.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'`');

/// The parameters of a screen that have a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// The parameters of these that are not blank.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a parameter; blank if it has none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The same query with another value of a parameter, or without it if that is blank.
    #[must_use]
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut query = self.without(&[name]);
        if !value.is_empty() {
            query.0.push((name, value.to_owned()));
        }
        query
    }

    /// The same query without these parameters.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|(name, _)| !names.contains(name)).cloned().collect())
    }

    /// Whether any of these parameters has a value.
    #[must_use]
    pub fn has_any(&self, names: &[&str]) -> bool {
        self.0.iter().any(|(name, _)| names.contains(name))
    }

    /// The query string with its question mark; empty without parameters.
    #[must_use]
    pub fn suffix(&self) -> String {
        let mut out = String::new();
        for (at, (name, value)) in self.0.iter().enumerate() {
            let value = utf8_percent_encode(value, ENCODED);
            // Writing to a string cannot fail.
            let _ = write!(out, "{}{name}={value}", if at == 0 { '?' } else { '&' });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_encode_values_and_change_one_parameter() {
        let query = Query::new([
            ("type", "api".to_owned()),
            ("cursor", String::new()),
            ("external_identifier", "a&b=c d+\u{e4}\"'<%".to_owned()),
        ]);
        assert_eq!(
            query.suffix(),
            "?type=api&external_identifier=a%26b%3Dc%20d%2B%C3%A4%22%27%3C%25"
        );
        assert_eq!(
            query.without(&["external_identifier"]).with("type", "test").suffix(),
            "?type=test"
        );
        assert_eq!(query.with("type", "").without(&["external_identifier"]).suffix(), "");
        assert_eq!((query.get("type"), query.get("cursor")), ("api", ""));
    }
}
