//! One message of a conversation's history.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::cost::Cost;
use crate::model::json;
use crate::model::timestamp::Timestamp;

/// Who says a message.
///
/// ```
/// use convodb::Role;
/// assert_eq!("assistant".parse::<Role>()?, Role::Assistant);
/// assert_eq!(Role::ALL.map(Role::as_str), ["user", "assistant", "system"]);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `user`: the customer.
    User,
    /// `assistant`: the assistant, or a person who took over.
    Assistant,
    /// `system`: an instruction or an event.
    System,
}

impl Role {
    /// All roles, in the order of their documentation.
    pub const ALL: [Role; 3] = [Role::User, Role::Assistant, Role::System];

    /// The word that the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
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
            reason: "must be one of user, assistant, system",
        })
    }
}

/// A message as it was said. Nothing of it is parsed again but `function_calls`, which is checked
/// to be a JSON array once.
///
/// ```
/// use convodb::{Message, Role};
/// let message = Message::new(Role::Assistant, "Booked.", "2025-01-25 14:30:00".parse()?)?
///     .with_function_calls(r#"[{"name": "book"}]"#)?
///     .with_cost("0.0004".parse()?);
/// assert_eq!((message.content(), message.cost().nanos()), ("Booked.", 400_000));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Message<S = String> {
    role: Role,
    content: S,
    function_calls: Option<S>,
    cost: Cost,
    created_at: Timestamp,
}

impl<S: AsRef<str>> Message<S> {
    /// The most bytes of a content.
    pub const MAX_CONTENT_BYTES: usize = 1024 * 1024;
    /// The most bytes of function calls.
    pub const MAX_FUNCTION_CALLS_BYTES: usize = 64 * 1024;

    /// A message of at most [`Message::MAX_CONTENT_BYTES`] that cost nothing and called nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the content is longer.
    pub fn new(role: Role, content: S, created_at: Timestamp) -> Result<Self> {
        if content.as_ref().len() > Self::MAX_CONTENT_BYTES {
            return Err(Error::Invalid {
                field: "content",
                reason: "must have at most 1048576 bytes",
            });
        }
        Ok(Self { role, content, function_calls: None, cost: Cost::ZERO, created_at })
    }

    /// The same message with the functions that it called, as the text of a JSON array of at most
    /// [`Message::MAX_FUNCTION_CALLS_BYTES`].
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is longer or not a JSON array.
    pub fn with_function_calls(self, array: S) -> Result<Self> {
        let text = array.as_ref();
        if text.len() > Self::MAX_FUNCTION_CALLS_BYTES || !json::is_array(text) {
            return Err(Error::Invalid {
                field: "function_calls",
                reason: "must be a JSON array of at most 65536 bytes",
            });
        }
        Ok(Self { function_calls: Some(array), ..self })
    }

    /// The same message with what it cost.
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Who said it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What was said.
    #[must_use]
    pub fn content(&self) -> &str {
        self.content.as_ref()
    }

    /// The functions that it called: the text of a JSON array.
    #[must_use]
    pub fn function_calls(&self) -> Option<&str> {
        self.function_calls.as_ref().map(AsRef::as_ref)
    }

    /// What it cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// When it was said.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }
}

impl Message {
    /// Puts a message together from parts that were checked before they were stored.
    pub(crate) fn from_stored(
        role: Role,
        content: String,
        function_calls: Option<String>,
        cost: Cost,
        created_at: Timestamp,
    ) -> Self {
        Self { role, content, function_calls, cost, created_at }
    }
}

impl<S: AsRef<str>> fmt::Debug for Message<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("role", &self.role)
            .field("content_bytes", &self.content.as_ref().len())
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
        let message = Message::new(Role::Assistant, "", at).unwrap();
        assert!(message.with_function_calls("[{\"name\":\"book\"}]").is_ok());
        assert!(message.with_function_calls("{}").is_err());
        assert!(message.with_function_calls("[").is_err());
    }

    #[test]
    fn debug_shows_no_content() {
        let message = Message::new(Role::User, "my secret", Timestamp::MIN).unwrap();
        assert!(!format!("{message:?}").contains("secret"));
    }
}
