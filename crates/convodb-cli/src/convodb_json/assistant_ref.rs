//! Reference to an assistant: by UUID or by its number in the assistants list.

use std::fmt;
use std::str::FromStr;

use convodb::{AssistantId, Error, Result, Snapshot, UserId};

/// An assistant as a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssistantRef {
    /// Its UUID.
    Id(AssistantId),
    /// Its number in the user's list of assistants, from 1.
    Number(u32),
}

impl AssistantRef {
    /// Returns the id of the user's assistant, or `None` if the user has no such assistant.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub(crate) fn resolve(self, snapshot: &Snapshot, user: UserId) -> Result<Option<AssistantId>> {
        match self {
            AssistantRef::Id(id) => Ok(snapshot.assistant(user, id)?.map(|found| found.id)),
            AssistantRef::Number(number) => snapshot.assistant_by_number(user, number),
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
