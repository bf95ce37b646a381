//! Typed identifiers, so that one kind of id can never be passed where another is meant.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::timestamp::Timestamp;

/// A user of the store: the owner of assistants and conversations, and the wall between accounts.
///
/// Numbers are given by the store, from 1, and never given twice.
///
/// ```
/// use convodb::UserId;
/// assert_eq!(UserId::new(7).to_string(), "7");
/// ```
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

/// What a kind of [`Id`] is called.
pub trait IdKind: Copy + 'static {
    /// The field, by the name it has in the documented API.
    const FIELD: &'static str;
}

/// A UUID that names something of an owner's, unique among that owner's things of its kind.
///
/// ```
/// use convodb::{AssistantId, ConversationId, Timestamp};
/// let id: ConversationId = "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse()?;
/// assert_eq!(id.to_string(), "7c9e6679-7425-40de-944b-e07fc1f90ae7");
/// // Another kind of thing may have the same UUID, and is another type.
/// assert_eq!(AssistantId::new(id.uuid()).uuid(), id.uuid());
/// assert!("not a uuid".parse::<ConversationId>().is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<K>,
}

/// The kind of [`ConversationId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationKind;

/// The kind of [`AssistantId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssistantKind;

impl IdKind for ConversationKind {
    const FIELD: &'static str = "id";
}

impl IdKind for AssistantKind {
    const FIELD: &'static str = "assistant_id";
}

/// A conversation.
pub type ConversationId = Id<ConversationKind>;

/// An assistant.
pub type AssistantId = Id<AssistantKind>;

impl<K> Id<K> {
    /// The id of this UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// A fresh id for what begins at `at`: a version 7 UUID (RFC 9562), so that ids made in order
    /// of time lie together in the id table.
    ///
    /// ```
    /// use convodb::{ConversationId, Timestamp};
    /// let at: Timestamp = "2025-01-25 14:30:00".parse()?;
    /// assert_ne!(ConversationId::generate(at), ConversationId::generate(at));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn generate(at: Timestamp) -> Self {
        let (seconds, nanos) = (at.millis() / 1000, (at.millis() % 1000) * 1_000_000);
        // Below 10^9 by construction.
        let nanos = u32::try_from(nanos).unwrap_or(0);
        Self::new(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    /// The UUID of this id.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", K::FIELD, self.uuid)
    }
}

/// Only the hyphenated form, so that an id has one text.
impl<K: IdKind> FromStr for Id<K> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
        let uuid = if hyphenated { Uuid::try_parse(text).ok() } else { None };
        let reason = "must be a valid UUID";
        uuid.map(Self::new).ok_or(Error::Invalid { field: K::FIELD, reason })
    }
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
