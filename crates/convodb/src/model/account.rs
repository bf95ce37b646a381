//! Users and their assistants: plain records of the accounts of a store.

use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;

/// A user: the tenant that owns assistants and conversations.
///
/// A user sees nothing of another user. All fields are public, because any combination of valid
/// values is a valid user.
///
/// ```
/// let store = convodb::Store::in_memory()?;
/// let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?)?;
/// assert_eq!((user.id.get(), user.name.as_str()), (1, "Acme"));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct User {
    /// The number that the store assigned.
    pub id: UserId,
    /// The user's name, unique in the store.
    pub name: Name,
    /// The time of creation, as the caller gave it.
    pub created_at: Timestamp,
}

/// An assistant of a user: the bot that answers in conversations.
///
/// ```
/// # use convodb::{AssistantId, Store, Timestamp};
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// let first = store.create_assistant(user, AssistantId::generate(at), "Support".parse()?)?;
/// let second = store.create_assistant(user, AssistantId::generate(at), "Sales".parse()?)?;
/// assert_eq!((first.number, second.number), (1, 2));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Assistant {
    /// The id, unique among the user's assistants.
    pub id: AssistantId,
    /// The number in the list of assistants: from 1 for each user, in order of creation.
    pub number: u32,
    /// The current name, which every list shows.
    pub name: Name,
}
