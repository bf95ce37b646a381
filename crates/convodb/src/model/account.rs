//! Who owns what: users, and the assistants that hold their conversations.

use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;

/// A user: the owner of assistants and conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number that the store gave.
    pub id: UserId,
    /// A name that no other user has.
    pub name: Name,
    /// When the user was created.
    pub created_at: Timestamp,
}

/// An assistant of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assistant {
    /// Its id, unique among its owner's assistants.
    pub id: AssistantId,
    /// Its number in the assistants list: from 1 for each owner, in order of creation.
    pub number: u32,
    /// Its present name, which every list shows.
    pub name: Name,
}
