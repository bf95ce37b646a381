//! Entity tags (RFC 9110, section 8.8.3): made of a request and a version, and found in
//! `If-None-Match`.

use std::sync::LazyLock;

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};
use convodb::StoreVersion;
use uuid::Uuid;
use uuid::fmt::Simple;

use crate::process_key::process_key;

/// The entity tag of the response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ETag(HeaderValue);

impl ETag {
    /// Returns the tag of the response to `request`, which describes the whole request, from the
    /// data of `version`.
    ///
    /// It is a hash with a key of the process: another process, which may be of another version of
    /// the server, has other tags, and a tag reveals nothing of the numbers in a version.
    pub(crate) fn new(request: &[u8], version: StoreVersion) -> Self {
        static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| process_key("etag"));
        let mut hasher = blake3::Hasher::new_keyed(&KEY);
        hasher.update(&version.to_bytes());
        hasher.update(request);
        Self::of_hash(&hasher.finalize())
    }

    /// Returns the tag of a response with this body. All servers have the same tag of the same body.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("convodb entity tag of a response body");
        Self::of_hash(&hasher.update(body).finalize())
    }

    fn of_hash(hash: &blake3::Hash) -> Self {
        let id = hash.as_bytes().first_chunk().map_or(Uuid::nil(), |id| Uuid::from_bytes(*id));
        let mut text = [b'"'; 2 + Simple::LENGTH];
        id.simple().encode_lower(&mut text[1..=Simple::LENGTH]);
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("\"\"")))
    }

    /// Returns the header value: a strong validator.
    pub(crate) const fn strong(&self) -> &HeaderValue {
        &self.0
    }

    /// Returns the header value as a weak validator, for a response whose bytes may differ.
    pub(crate) fn weak(&self) -> HeaderValue {
        let weak = [b"W/", self.0.as_bytes()].concat();
        HeaderValue::from_bytes(&weak).unwrap_or(self.0.clone())
    }

    /// Returns this tag in the form in which `If-None-Match` has it, strong or weak, if it does.
    pub(crate) fn find_in(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut values = headers.get_all(IF_NONE_MATCH).iter();
        values.find_map(|value| match value == self.0 {
            true => Some(self.0.clone()),
            false => self.find_in_list(value.as_bytes()),
        })
    }

    fn find_in_list(&self, mut list: &[u8]) -> Option<HeaderValue> {
        while let Some((tag, is_weak, rest)) = next_tag(list) {
            if tag == self.0.as_bytes() {
                return Some(if is_weak { self.weak() } else { self.0.clone() });
            }
            list = rest;
        }
        None
    }
}

/// Splits the first entity tag off a list: the tag with its quotes, whether it is weak, and the rest
/// of the list. `None` at the end, and before anything that is no tag.
fn next_tag(list: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let list = &list[start..];
    let (is_weak, list) = match list.strip_prefix(b"W/") {
        Some(list) => (true, list),
        None => (false, list),
    };
    let opaque = list.strip_prefix(b"\"")?;
    let end = opaque.iter().position(|byte| *byte == b'"')? + 2;
    let (tag, rest) = list.split_at(end);
    Some((tag, is_weak, rest))
}

/// Whether `If-None-Match` is `*`, which any response matches.
pub(crate) fn matches_any(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(IF_NONE_MATCH).iter();
    values.any(|value| value.as_bytes().trim_ascii() == b"*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{Store, Timestamp};

    #[test]
    fn a_tag_is_of_one_request_and_one_version() {
        let store = Store::in_memory().unwrap();
        let before = store.snapshot().version();
        store.create_user("Acme", Timestamp::MIN).unwrap();
        let after = store.snapshot().version();
        let tags = [ETag::new(b"a", before), ETag::new(b"b", before), ETag::new(b"a", after)];
        assert_eq!(tags[0], ETag::new(b"a", before));
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            assert_ne!(tags[one], tags[other]);
        }
    }

    #[test]
    fn a_tag_is_found_in_lists_strong_and_weak() {
        let tag = ETag(HeaderValue::from_static("\"ab\""));
        let check = |values: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, value.parse().unwrap());
            }
            let found = tag.find_in(&headers);
            assert_eq!(found.as_ref().map(|tag| tag.to_str().unwrap()), expected, "{values:?}");
        };
        check(&["\"ab\""], Some("\"ab\""));
        check(&["W/\"ab\""], Some("W/\"ab\""));
        check(&["\"x\", \"ab\""], Some("\"ab\""));
        check(&["\"x\",W/\"ab\" ,\"y\""], Some("W/\"ab\""));
        check(&["\"x,\", , \"ab\""], Some("\"ab\""));
        check(&["\"x\"", "\"ab\""], Some("\"ab\""));
        for none in ["", "ab", "\"a\"", "\"abc\"", "\"ab", "w/\"ab\"", "*", "x, \"ab\"", "\"AB\""] {
            check(&[none], None);
        }
        check(&["\"x, \"ab\""], None);
        check(&[], None);
    }

    #[test]
    fn a_star_matches_anything() {
        let check = |value: &str, expected: bool| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]);
            assert_eq!(matches_any(&headers), expected, "{value}");
        };
        check("*", true);
        check(" * ", true);
        check("\"*\"", false);
        check("*, \"ab\"", false);
        assert!(!matches_any(&HeaderMap::new()));
    }
}
