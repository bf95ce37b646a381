//! Previews: the beginnings of a conversation's first and last message.

use std::fmt;

use crate::model::message::{Message, Role};
use crate::model::timestamp::Timestamp;

/// The beginnings of the first and the last stored message of a conversation; the same message
/// twice if there is only one. Read by [`Snapshot::previews`](crate::Snapshot::previews).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Preview {
    /// The beginning of the first message.
    pub first: Excerpt,
    /// The beginning of the last message.
    pub last: Excerpt,
}

/// The beginning of a message. `Debug` does not print the text, which is personal data.
///
/// ```
/// use convodb::{Excerpt, Message, Role, Timestamp};
/// let message = Message::new(Role::User, "é".repeat(200), Timestamp::MIN)?;
/// let excerpt = Excerpt::of(&message);
/// assert_eq!(excerpt.text.chars().count(), Excerpt::MAX_CHARACTERS);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Excerpt {
    /// The author of the message.
    pub role: Role,
    /// The first [`Excerpt::MAX_CHARACTERS`] characters of the content.
    pub text: String,
    /// The time of the message.
    pub created_at: Timestamp,
}

impl Excerpt {
    /// The maximum number of characters (Unicode scalar values) of an excerpt.
    pub const MAX_CHARACTERS: usize = 140;

    /// The beginning of a message.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let content = message.content();
        let end = content.char_indices().nth(Self::MAX_CHARACTERS).map(|(end, _)| end);
        let text = end.map_or(content, |end| &content[..end]).to_owned();
        Self { role: message.role(), text, created_at: message.created_at() }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Excerpt")
            .field("role", &self.role)
            .field("bytes", &self.text.len())
            .field("created_at", &self.created_at)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_between_two_characters() {
        let excerpt = |content: &str| {
            Excerpt::of(&Message::new(Role::User, content, Timestamp::MIN).unwrap()).text
        };
        assert_eq!(excerpt(""), "");
        let exact = "ü".repeat(140);
        assert_eq!(excerpt(&exact), exact);
        assert_eq!(excerpt(&format!("{exact}x")), exact);
        assert_eq!(excerpt(&format!("{}😀x", "a".repeat(139))), format!("{}😀", "a".repeat(139)));
        let shown = format!(
            "{:?}",
            Excerpt::of(&Message::new(Role::User, "secret", Timestamp::MIN).unwrap())
        );
        assert!(!shown.contains("secret"), "{shown}");
    }
}
