//! A message of a conversation, and the role of its author.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::cost::Cost;
use crate::model::json;
use crate::model::timestamp::Timestamp;

/// The author of a message.
///
/// ```
/// use convodb::Role;
/// assert_eq!("assistant".parse::<Role>()?, Role::Assistant);
/// assert_eq!(Role::ALL.map(Role::as_str), ["user", "assistant", "system", "tool"]);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Role {
    /// `user`: the customer.
    User,
    /// `assistant`: the assistant, or a person who has taken over.
    Assistant,
    /// `system`: an instruction or an event.
    System,
    /// `tool`: the result of a function that the assistant called.
    Tool,
}

impl Role {
    /// All roles, in the order of the documentation.
    pub const ALL: [Role; 4] = [Role::User, Role::Assistant, Role::System, Role::Tool];

    /// The role's name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
            Role::Tool => "tool",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(Error::Invalid {
            field: "role",
            reason: "must be one of user, assistant, system, tool",
        })
    }
}

/// A message, stored verbatim.
///
/// The fields are private and have getters, because their limits apply to plain strings: the
/// constructors validate them, and a `Message` is therefore always valid. `Debug` does not print
/// the content, which is personal data.
///
/// Serde: an object with the names of the getters. `function_calls` is the array itself in formats
/// that people read, such as JSON, and a string of its text in binary formats. Deserialization
/// validates, and needs neither `function_calls` nor `cost`.
///
/// ```
/// use convodb::{Message, Role, Timestamp};
/// let at: Timestamp = "2025-01-25 14:30:00".parse()?;
/// let question = Message::new(Role::User, "A table for two?", at)?;
/// let answer = Message::new(Role::Assistant, "Booked.", at)?
///     .with_function_calls(r#"[{"name": "book"}]"#)?
///     .with_cost("0.0004".parse()?);
/// assert_eq!((question.content(), question.cost().nanos()), ("A table for two?", 0));
/// assert_eq!((answer.content(), answer.cost().nanos()), ("Booked.", 400_000));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    role: Role,
    content: String,
    function_calls: Option<String>,
    cost: Cost,
    created_at: Timestamp,
}

impl Message {
    /// The maximum length of a content in bytes: 1 MiB. A content may be empty.
    pub const MAX_CONTENT_BYTES: usize = 1024 * 1024;
    /// The maximum length of function calls in bytes: 64 KiB.
    pub const MAX_FUNCTION_CALLS_BYTES: usize = 64 * 1024;

    /// A message without cost and function calls.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the content is longer than [`Message::MAX_CONTENT_BYTES`].
    pub fn new(role: Role, content: impl Into<String>, created_at: Timestamp) -> Result<Self> {
        let content = content.into();
        if content.len() > Self::MAX_CONTENT_BYTES {
            return Err(Error::Invalid {
                field: "content",
                reason: "must have at most 1048576 bytes",
            });
        }
        Ok(Self { role, content, function_calls: None, cost: Cost::ZERO, created_at })
    }

    /// Returns the same message with the functions that it called: the text of a JSON array.
    /// The elements are not interpreted.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the text is longer than [`Message::MAX_FUNCTION_CALLS_BYTES`] or is
    /// not a JSON array (RFC 8259), nested at most 127 deep.
    pub fn with_function_calls(self, array: impl Into<String>) -> Result<Self> {
        let array = array.into();
        let rule = "must be a JSON array of at most 65536 bytes";
        let is_short = array.len() <= Self::MAX_FUNCTION_CALLS_BYTES;
        let checked = if is_short { json::check_array(&array, rule) } else { Err(rule) };
        checked.map_err(|reason| Error::Invalid { field: "function_calls", reason })?;
        Ok(Self { function_calls: Some(array), ..self })
    }

    /// Returns the same message with this cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// The author.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The text of the message.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The functions that the message called: the text of a JSON array.
    #[must_use]
    pub fn function_calls(&self) -> Option<&str> {
        self.function_calls.as_deref()
    }

    /// The cost of the message in USD.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// The time of the message, as the caller gave it.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// A message whose parts were validated before they were stored.
    pub(crate) const fn from_stored(
        role: Role,
        content: String,
        function_calls: Option<String>,
        cost: Cost,
        created_at: Timestamp,
    ) -> Self {
        Self { role, content, function_calls, cost, created_at }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("role", &self.role)
            .field("content_bytes", &self.content.len())
            .field("cost", &self.cost)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_function_calls() {
        let at = Timestamp::MIN;
        assert!(Message::new(Role::User, "x".repeat(1024 * 1024), at).is_ok());
        assert!(Message::new(Role::User, "x".repeat(1024 * 1024 + 1), at).is_err());
        let message = || Message::new(Role::Assistant, "", at).unwrap();
        assert!(message().with_function_calls("[{\"name\":\"book\"}]").is_ok());
        assert!(message().with_function_calls("{}").is_err());
        assert!(message().with_function_calls("[").is_err());
    }

    #[test]
    fn every_role_parses_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        let error = "bot".parse::<Role>().unwrap_err().to_string();
        assert_eq!(error, "role must be one of user, assistant, system, tool");
    }

    #[test]
    fn debug_shows_no_content() {
        let message = Message::new(Role::User, "my secret", Timestamp::MIN).unwrap();
        assert!(!format!("{message:?}").contains("secret"));
    }
}
