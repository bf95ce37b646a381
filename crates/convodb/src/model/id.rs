//! Identifiers: one type for each kind of thing, so that ids cannot be confused.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::timestamp::Timestamp;

/// The number of a user.
///
/// The store assigns numbers from 1 and never reuses one. Serde: a number.
///
/// ```
/// use convodb::UserId;
/// let user: UserId = "7".parse()?;
/// assert_eq!((user, user.to_string()), (UserId::new(7), "7".to_owned()));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct UserId(u32);

impl UserId {
    /// The user with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number of this user.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Accepts decimal digits only.
impl FromStr for UserId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.map(Self).ok_or(Error::Invalid {
            field: "user",
            reason: "must be a whole number from 0 to 4294967295",
        })
    }
}

/// Defines an id: a newtype of a UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, field: $field:literal) => {
        $(#[$doc])*
        ///
        /// Any UUID is valid. The text form is the hyphenated one alone, so that an id has one
        /// text; upper case is accepted and lower case printed. Serde: a string.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with this UUID.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Generates a new id: a version 7 UUID (RFC 9562, section 5.7) of the time `at`, with
            /// 74 random bits.
            ///
            /// Ids of version 7 sort by time, so ids of one period share B-tree pages.
            #[must_use]
            pub fn generate(at: Timestamp) -> Self {
                Self(uuid_v7(at))
            }

            /// The UUID of this id.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                parse_hyphenated(text)
                    .map(Self)
                    .ok_or(Error::Invalid { field: $field, reason: "must be a valid UUID" })
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<W: serde::Serializer>(
                &self,
                writer: W,
            ) -> std::result::Result<W::Ok, W::Error> {
                writer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<R: serde::Deserializer<'de>>(
                reader: R,
            ) -> std::result::Result<Self, R::Error> {
                crate::model::serialize::from_text(reader)
            }
        }
    };
}

uuid_id! {
    /// The id of a conversation, unique among the conversations of a user.
    ///
    /// ```
    /// use convodb::{AssistantId, ConversationId, Timestamp};
    /// let id: ConversationId = "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse()?;
    /// assert_eq!(id.to_string(), "7c9e6679-7425-40de-944b-e07fc1f90ae7");
    /// // An assistant may have the same UUID; its id is a different type.
    /// assert_eq!(AssistantId::from(id.uuid()).uuid(), id.uuid());
    ///
    /// let at: Timestamp = "2025-01-25 14:30:00".parse()?;
    /// assert_ne!(ConversationId::generate(at), ConversationId::generate(at));
    /// assert!("not a uuid".parse::<ConversationId>().is_err());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ConversationId, field: "id"
}

uuid_id! {
    /// The id of an assistant, unique among the assistants of a user.
    ///
    /// ```
    /// let id: convodb::AssistantId = "a1b2c3d4-5678-40ab-8def-1234567890ab".parse()?;
    /// assert_eq!(format!("{id:?}"), "AssistantId(a1b2c3d4-5678-40ab-8def-1234567890ab)");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    AssistantId, field: "assistant_id"
}

fn uuid_v7(at: Timestamp) -> Uuid {
    let (seconds, nanos) = (at.millis() / 1000, (at.millis() % 1000) * 1_000_000);
    // Less than 10^9, because it is below 1000 milliseconds.
    let nanos = u32::try_from(nanos).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// The UUID of its hyphenated text (RFC 9562, section 4), and of no other form.
fn parse_hyphenated(text: &str) -> Option<Uuid> {
    let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    if hyphenated { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_parses() {
        let text = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
        assert_eq!(text.parse::<ConversationId>().unwrap().to_string(), text);
        for wrong in ["", "7c9e6679742540de944be07fc1f90ae7", "urn:uuid:7c9e6679", "z"] {
            assert!(wrong.parse::<AssistantId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_error_names_the_field() {
        let error = "z".parse::<AssistantId>().unwrap_err();
        assert_eq!(error.to_string(), "assistant_id must be a valid UUID");
    }

    #[test]
    fn generated_ids_contain_their_time_and_differ() {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        let (one, two) = (ConversationId::generate(at), ConversationId::generate(at));
        assert_ne!(one, two);
        assert_eq!(one.uuid().get_timestamp().unwrap().to_unix(), (1_737_800_000, 123_000_000));
        assert_eq!(Uuid::from(one), one.uuid());
    }

    #[test]
    fn user_ids_parse_from_digits() {
        assert_eq!("4294967295".parse::<UserId>().unwrap(), UserId::new(u32::MAX));
        for wrong in ["", "+1", "-1", "1.0", "4294967296", "one"] {
            assert!(wrong.parse::<UserId>().is_err(), "{wrong}");
        }
    }
}
