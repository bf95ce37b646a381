//! Short texts: newtypes of a string with a length limit, stored and compared byte for byte.
//!
//! Each type validates when it is created, so that code that receives one need not check again.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Defines a short text: a newtype of a UTF-8 string of 1 to `max_bytes` bytes.
macro_rules! short_text {
    ($(#[$doc:meta])* $name:ident, field: $field:literal, max_bytes: $max:literal) => {
        $(#[$doc])*
        ///
        /// `S` is the type that stores the text: `String`, or `&str` where it is borrowed from a
        /// page. `Debug` does not print the text, because it is personal data and must not reach a
        /// log. Serde: a string.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<S = String>(S);

        impl $name {
            /// The maximum length in bytes of UTF-8. The minimum is 1.
            pub const MAX_BYTES: usize = $max;

            /// Validates a text.
            ///
            /// # Errors
            /// [`Error::Invalid`] if the text is empty or longer than `MAX_BYTES`.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                Self::validated(text.into())
            }

            /// Returns the text as a string, without a copy.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl<S: AsRef<str>> $name<S> {
            fn validated(text: S) -> Result<Self> {
                match text.as_ref().len() {
                    1..=$max => Ok(Self(text)),
                    _ => Err(Error::Invalid {
                        field: $field,
                        reason: concat!("must have 1 to ", $max, " bytes"),
                    }),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_ref()
            }

            /// Returns the same value, borrowing its text.
            #[must_use]
            pub fn borrowed(&self) -> $name<&str> {
                $name(self.0.as_ref())
            }

            /// Returns the same value with its own copy of the text.
            #[must_use]
            pub fn owned(&self) -> $name {
                $name(self.0.as_ref().to_owned())
            }
        }

        impl<'a> $name<&'a str> {
            /// Returns the text with the lifetime of the buffer that it is borrowed from.
            #[must_use]
            pub const fn get(self) -> &'a str {
                self.0
            }
        }

        impl<S> fmt::Debug for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl<S: AsRef<str>> fmt::Display for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl<S: AsRef<str>> AsRef<str> for $name<S> {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                $name::validated(text).map(|valid| valid.owned())
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self> {
                text.parse()
            }
        }

        impl TryFrom<&String> for $name {
            type Error = Error;

            fn try_from(text: &String) -> Result<Self> {
                text.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::validated(text)
            }
        }

        impl<'a> TryFrom<&'a str> for $name<&'a str> {
            type Error = Error;

            fn try_from(text: &'a str) -> Result<Self> {
                Self::validated(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        #[cfg(feature = "serde")]
        impl<S: AsRef<str>> serde::Serialize for $name<S> {
            fn serialize<W: serde::Serializer>(
                &self,
                writer: W,
            ) -> std::result::Result<W::Ok, W::Error> {
                writer.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de, S: AsRef<str> + serde::Deserialize<'de>> serde::Deserialize<'de> for $name<S> {
            fn deserialize<R: serde::Deserializer<'de>>(
                reader: R,
            ) -> std::result::Result<Self, R::Error> {
                Self::validated(S::deserialize(reader)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

short_text! {
    /// A phone number of 1 to 64 bytes, as the caller gave it.
    ///
    /// The number is not normalised, and the E.164 format (`+` and digits) is recommended but not
    /// enforced: a filter matches the exact bytes.
    ///
    /// ```
    /// use convodb::Phone;
    /// let phone = Phone::new("+4915112345678")?;
    /// assert_eq!(phone.as_str(), "+4915112345678");
    /// assert_eq!(format!("{phone:?}"), "Phone(..)", "logs never show the number");
    /// assert!("".parse::<Phone>().is_err());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    Phone, field: "phone", max_bytes: 64
}

short_text! {
    /// A name of a person, a user or an assistant: 1 to 255 bytes.
    ///
    /// ```
    /// use convodb::Name;
    /// assert_eq!(Name::new("Acme")?.to_string(), "Acme");
    /// assert!(Name::new("x".repeat(Name::MAX_BYTES + 1)).is_err());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    Name, field: "name", max_bytes: 255
}

short_text! {
    /// The caller's own identifier of a conversation: 1 to 255 bytes.
    ///
    /// Conversations need not have different identifiers; a filter finds all that share one.
    ///
    /// ```
    /// use convodb::ExternalIdentifier;
    /// assert_eq!(ExternalIdentifier::new("crm-4711")?.as_str(), "crm-4711");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ExternalIdentifier, field: "external_identifier", max_bytes: 255
}

short_text! {
    /// An idempotency key: 1 to 255 bytes that name one write, so that a retry of the same request
    /// returns the first response and writes nothing.
    ///
    /// ```
    /// use convodb::IdempotencyKey;
    /// let key: IdempotencyKey = "order-4711".parse()?;
    /// assert_eq!(key.as_str(), "order-4711");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    IdempotencyKey, field: "Idempotency-Key", max_bytes: 255
}

// Only these texts are decoded from records, whose checksum vouches for them.

impl<'a> Phone<&'a str> {
    /// A text that was validated before it was stored.
    pub(crate) const fn from_stored(text: &'a str) -> Self {
        Self(text)
    }
}

impl<'a> Name<&'a str> {
    /// A text that was validated before it was stored.
    pub(crate) const fn from_stored(text: &'a str) -> Self {
        Self(text)
    }
}

impl<'a> ExternalIdentifier<&'a str> {
    /// A text that was validated before it was stored.
    pub(crate) const fn from_stored(text: &'a str) -> Self {
        Self(text)
    }
}

/// Lets functions that take `impl TryInto<Phone>` also take a `Phone`, whose conversion cannot
/// fail.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_limit_counts_bytes() {
        assert!(Phone::new("9".repeat(64)).is_ok());
        assert!(Phone::new("9".repeat(65)).is_err());
        assert!(Phone::new("").is_err());
        assert!(Name::new("é".repeat(127)).is_ok());
        assert!(Name::new("é".repeat(128)).is_err());
        assert!(ExternalIdentifier::new("a\0'\"\u{1F600}").is_ok());
    }

    #[test]
    fn an_error_names_the_field_and_the_limit() {
        let error = |text: &str| Phone::new(text).unwrap_err().to_string();
        assert_eq!(error(""), "phone must have 1 to 64 bytes");
        let error = |text: &str| text.parse::<IdempotencyKey>().unwrap_err().to_string();
        assert_eq!(error(""), "Idempotency-Key must have 1 to 255 bytes");
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let phone = Phone::new("+4915112345678").unwrap();
        assert_eq!(format!("{phone:?} {:?}", phone.borrowed()), "Phone(..) Phone(..)");
    }

    #[test]
    fn texts_convert_from_and_into_strings() {
        let owned: Phone = "+1".to_owned().try_into().unwrap();
        let borrowed: Phone<&str> = "+1".try_into().unwrap();
        assert_eq!(owned.borrowed(), borrowed);
        assert_eq!(owned, borrowed.owned());
        assert_eq!(String::from(owned), "+1");
    }
}
