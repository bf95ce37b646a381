//! Reference to an assistant: by UUID or by its number in the assistants list.

use std::fmt;
use std::str::FromStr;

use convodb::{AssistantId, Error, Result, Snapshot, UserId};

use crate::field::parsed;

/// An assistant as a client names it.
///
/// ```
/// use convodb::{AssistantId, Store, Timestamp};
/// use convodb_json::AssistantRef;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// let id = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
/// let snapshot = store.snapshot();
/// assert_eq!("1".parse::<AssistantRef>()?.resolve(&snapshot, user)?, Some(id));
/// assert_eq!(id.to_string().parse::<AssistantRef>()?.resolve(&snapshot, user)?, Some(id));
/// assert_eq!("2".parse::<AssistantRef>()?.resolve(&snapshot, user)?, None);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssistantRef {
    /// Its UUID.
    Id(AssistantId),
    /// Its number in the user's list of assistants, from 1.
    Number(u32),
}

impl AssistantRef {
    /// Parses the JSON value of a field: a UUID in a string, or a number.
    ///
    /// # Errors
    /// The rule that a wrong value breaks.
    pub fn from_json(json: &str) -> Result<Self, &'static str> {
        let rule = "must be an assistant's UUID or its number";
        if json.bytes().all(|byte| byte.is_ascii_digit()) {
            return json.parse().map(AssistantRef::Number).map_err(|_| rule);
        }
        parsed(json).map(AssistantRef::Id).map_err(|_| rule)
    }

    /// Returns the id of the user's assistant, or `None` if the user has no such assistant. One
    /// B-tree lookup, or two by number.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn resolve(self, snapshot: &Snapshot, user: UserId) -> Result<Option<AssistantId>> {
        match self {
            AssistantRef::Id(id) => Ok(snapshot.assistant(user, id)?.map(|found| found.id)),
            AssistantRef::Number(number) => {
                Ok(snapshot.assistant_by_number(user, number)?.map(|found| found.id))
            }
        }
    }
}

impl FromStr for AssistantRef {
    type Err = Error;

    /// Parses a number in decimal digits, or a UUID.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(AssistantRef::Number(number)),
            _ => text.parse().map(AssistantRef::Id),
        }
    }
}

impl fmt::Display for AssistantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssistantRef::Id(id) => id.fmt(f),
            AssistantRef::Number(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_uuids_are_parsed() {
        let uuid = "a1b2c3d4-5678-40ab-8def-1234567890ab";
        let by_id = AssistantRef::Id(uuid.parse().unwrap());
        assert_eq!(uuid.parse::<AssistantRef>().unwrap(), by_id);
        assert_eq!("7".parse::<AssistantRef>().unwrap(), AssistantRef::Number(7));
        for wrong in ["", "+7", "4294967296", "bot"] {
            assert!(wrong.parse::<AssistantRef>().is_err(), "{wrong}");
        }
        assert_eq!(AssistantRef::from_json(&format!("\"{uuid}\"")), Ok(by_id));
        assert_eq!(AssistantRef::from_json("7"), Ok(AssistantRef::Number(7)));
        for wrong in ["\"7\"", "-7", "null", "4294967296", "{}"] {
            assert!(AssistantRef::from_json(wrong).is_err(), "{wrong}");
        }
    }
}
