//! Users and their assistants: plain records of the accounts of a store.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
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
/// let user = store.create_user("Acme", "2025-01-25".parse()?)?;
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
    /// Whether the user is being erased. All writes but deletions are refused; erasing again
    /// continues: see [`Store::erase_user`](crate::Store::erase_user).
    pub closed: bool,
}

/// An assistant of a user: the bot that answers in conversations.
///
/// ```
/// # use convodb::{AssistantId, Store, Timestamp};
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// let first = store.create_assistant(user, AssistantId::generate(at), "Support")?;
/// let second = store.create_assistant(user, AssistantId::generate(at), "Sales")?;
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

/// How a person or a client names an assistant of a user: by its id or by its number.
///
/// ```
/// use convodb::AssistantRef;
/// assert_eq!("2".parse::<AssistantRef>()?, AssistantRef::Number(2));
/// let id = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// assert_eq!(id.parse::<AssistantRef>()?, AssistantRef::Id(id.parse()?));
/// assert!("Bot".parse::<AssistantRef>().is_err());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssistantRef {
    /// By its id.
    Id(AssistantId),
    /// By its number in the assistants list, from 1.
    Number(u32),
}

impl fmt::Display for AssistantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssistantRef::Id(id) => id.fmt(f),
            AssistantRef::Number(number) => number.fmt(f),
        }
    }
}

/// Digits are a number, a hyphenated UUID is an id.
impl FromStr for AssistantRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = match is_number {
            true => text.parse().ok().map(AssistantRef::Number),
            false => text.parse().ok().map(AssistantRef::Id),
        };
        let reason = "must be an assistant's number in the list or its UUID";
        parsed.ok_or(Error::Invalid { field: "assistant", reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assistant_ref_is_a_number_or_a_hyphenated_uuid() {
        for text in ["1", "4294967295", "7c9e6679-7425-40de-944b-e07fc1f90ae7"] {
            assert_eq!(text.parse::<AssistantRef>().unwrap().to_string(), text);
        }
        for wrong in ["", "+1", "-1", "4294967296", "Bot", "7c9e6679742540de944be07fc1f90ae7"] {
            let error = wrong.parse::<AssistantRef>().unwrap_err().to_string();
            assert!(error.contains("number") && error.contains("UUID"), "{wrong}: {error}");
        }
    }
}
