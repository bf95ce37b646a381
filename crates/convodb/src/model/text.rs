//! Short texts with a length limit, kept and compared byte for byte.

use std::fmt;
use std::marker::PhantomData;

use crate::error::{Error, Result};

/// What a kind of [`Text`] is called and how long it may be.
pub trait TextKind: Copy + 'static {
    /// The field, by the name it has in the documented API.
    const FIELD: &'static str;
    /// The most bytes of UTF-8 it may have; at least one byte is needed.
    const MAX_BYTES: usize;
    /// What is said of a text that is empty or too long.
    const RULE: &'static str;
}

/// A text of 1 to [`TextKind::MAX_BYTES`] bytes, kept verbatim and compared byte for byte.
///
/// `S` is how the text is held: `String`, or `&str` in rows that are borrowed from a page. `Debug`
/// does not show it: these are personal data and must not reach a log.
///
/// ```
/// use convodb::{Name, Phone};
/// let phone: Phone = "+4915112345678".parse()?;
/// assert_eq!(phone.as_str(), "+4915112345678");
/// assert_eq!(format!("{phone:?}"), "phone(..)", "no log shows it");
/// assert!("".parse::<Name>().is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<K, S = String> {
    text: S,
    kind: PhantomData<K>,
}

/// The kind of [`Phone`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneKind;

/// The kind of [`Name`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKind;

/// The kind of [`ExternalIdentifier`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalIdentifierKind;

/// The kind of [`IdempotencyKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKeyKind;

impl TextKind for PhoneKind {
    const FIELD: &'static str = "phone";
    const MAX_BYTES: usize = 64;
    const RULE: &'static str = "must have 1 to 64 bytes";
}

impl TextKind for NameKind {
    const FIELD: &'static str = "name";
    const MAX_BYTES: usize = 255;
    const RULE: &'static str = "must have 1 to 255 bytes";
}

impl TextKind for ExternalIdentifierKind {
    const FIELD: &'static str = "external_identifier";
    const MAX_BYTES: usize = 255;
    const RULE: &'static str = "must have 1 to 255 bytes";
}

impl TextKind for IdempotencyKeyKind {
    const FIELD: &'static str = "Idempotency-Key";
    const MAX_BYTES: usize = 255;
    const RULE: &'static str = "must have 1 to 255 bytes";
}

/// A phone number as it was given, 1 to 64 bytes. Nothing is normalised: a filter matches the
/// exact bytes.
pub type Phone<S = String> = Text<PhoneKind, S>;

/// A name of a person, an account or an assistant, 1 to 255 bytes.
pub type Name<S = String> = Text<NameKind, S>;

/// The caller's own identifier of a conversation, 1 to 255 bytes.
pub type ExternalIdentifier<S = String> = Text<ExternalIdentifierKind, S>;

/// What a caller gives a write so that it is done once, however often it is sent; 1 to 255 bytes.
pub type IdempotencyKey<S = String> = Text<IdempotencyKeyKind, S>;

impl<K: TextKind, S: AsRef<str>> Text<K, S> {
    /// Takes a text of 1 to [`TextKind::MAX_BYTES`] bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field's name when it is empty or longer.
    pub fn new(text: S) -> Result<Self> {
        if text.as_ref().is_empty() || text.as_ref().len() > K::MAX_BYTES {
            return Err(Error::Invalid { field: K::FIELD, reason: K::RULE });
        }
        Ok(Self { text, kind: PhantomData })
    }

    /// A text that was checked before it was stored.
    pub(crate) const fn from_stored(text: S) -> Self {
        Self { text, kind: PhantomData }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_ref()
    }

    pub(crate) fn borrowed(&self) -> Text<K, &str> {
        Text { text: self.text.as_ref(), kind: PhantomData }
    }

    pub(crate) fn owned(&self) -> Text<K> {
        Text { text: self.text.as_ref().to_owned(), kind: PhantomData }
    }
}

impl<'a, K> Text<K, &'a str> {
    /// The text, for as long as what it is borrowed from.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.text
    }
}

impl<K: TextKind, S> fmt::Debug for Text<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(..)", K::FIELD)
    }
}

impl<K: TextKind, S: AsRef<str>> fmt::Display for Text<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_ref())
    }
}

impl<K: TextKind> std::str::FromStr for Text<K> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_count_bytes() {
        assert!(Phone::new("9".repeat(64)).is_ok());
        assert!(Phone::new("9".repeat(65)).is_err());
        assert!(Phone::new("").is_err());
        assert!(Name::new("é".repeat(127)).is_ok());
        assert!(Name::new("é".repeat(128)).is_err());
        assert!(ExternalIdentifier::new("a\0'\"\u{1F600}").is_ok());
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let phone = Phone::new("+4915112345678").unwrap();
        assert_eq!(format!("{phone:?}"), "phone(..)");
    }
}
