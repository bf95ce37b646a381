//! Who owns what: users, and the assistants that hold their conversations.

use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::model::timestamp::Timestamp;

/// A user: the owner of assistants and conversations.
///
/// ```
/// let store = convodb::Store::in_memory()?;
/// let user = store.create_user("Acme".parse()?, "2025-01-25".parse()?)?;
/// assert_eq!((user.id.get(), user.name.as_str()), (1, "Acme"));
/// # Ok::<(), convodb::Error>(())
/// ```
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
pub struct Assistant {
    /// Its id, unique among its owner's assistants.
    pub id: AssistantId,
    /// Its number in the assistants list: from 1 for each owner, in order of creation.
    pub number: u32,
    /// Its present name, which every list shows.
    pub name: Name,
}
