//! Typed identifiers, so that one kind of id can never be passed where another is meant.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::timestamp::Timestamp;

/// A user of the store: the owner of assistants and conversations, and the wall between accounts.
///
/// Numbers are given by the store, from 1, and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u32);

impl UserId {
    /// The user of this number.
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

/// A conversation, by a UUID that is unique among its owner's conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(Uuid);

/// An assistant, by a UUID that is unique among its owner's assistants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssistantId(Uuid);

impl ConversationId {
    /// The id of this UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// A fresh id for a conversation that starts at `at`: a version 7 UUID (RFC 9562), so that
    /// ids made in order of time lie together in the id table.
    #[must_use]
    pub fn generate(at: Timestamp) -> Self {
        Self(generate(at))
    }

    /// The UUID of this id.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl AssistantId {
    /// The id of this UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// A fresh id for an assistant created at `at` (a version 7 UUID).
    #[must_use]
    pub fn generate(at: Timestamp) -> Self {
        Self(generate(at))
    }

    /// The UUID of this id.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

fn generate(at: Timestamp) -> Uuid {
    let (seconds, nanos) = (at.millis() / 1000, (at.millis() % 1000) * 1_000_000);
    // Below 10^9 by construction.
    let nanos = u32::try_from(nanos).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AssistantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ConversationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse("id", text).map(Self)
    }
}

impl FromStr for AssistantId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse("assistant_id", text).map(Self)
    }
}

/// Only the hyphenated form, so that an id has one text.
fn parse(field: &'static str, text: &str) -> Result<Uuid> {
    let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    let uuid = if hyphenated { Uuid::try_parse(text).ok() } else { None };
    uuid.ok_or(Error::Invalid { field, reason: "must be a valid UUID" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_text() {
        let text = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
        assert_eq!(text.parse::<ConversationId>().unwrap().to_string(), text);
        for wrong in ["", "7c9e6679742540de944be07fc1f90ae7", "urn:uuid:7c9e6679", "z"] {
            assert!(wrong.parse::<AssistantId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn generated_ids_carry_their_time_and_differ() {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        let (one, two) = (ConversationId::generate(at), ConversationId::generate(at));
        assert_ne!(one, two);
        assert_eq!(one.uuid().get_timestamp().unwrap().to_unix(), (1_737_800_000, 123_000_000));
    }
}
