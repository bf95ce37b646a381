//! Previews: the beginnings of a conversation's first and last message.

use std::fmt;

use crate::model::message::{Message, Role};
use crate::model::timestamp::Timestamp;

/// The beginnings of the first and the last stored message of a conversation; the same message
/// twice if there is only one. Read with a page by [`ListRequest::previews`](crate::ListRequest::previews).
///
/// `S` is the type that stores the texts: `String`, or `&str` in [`PreviewRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Preview<S = String> {
    /// The beginning of the first message.
    pub first: Excerpt<S>,
    /// The beginning of the last message.
    pub last: Excerpt<S>,
}

/// A preview whose texts are borrowed from a page or a buffer.
pub type PreviewRef<'a> = Preview<&'a str>;

impl<'a> PreviewRef<'a> {
    /// The preview of a conversation with these messages; `None` without any.
    #[must_use]
    pub fn of(messages: &'a [Message]) -> Option<Self> {
        let (first, last) = (messages.first()?, messages.last()?);
        Some(Self { first: Excerpt::of(first), last: Excerpt::of(last) })
    }
}

impl<S> Preview<S> {
    /// The same preview with each text changed into what `change` returns for it.
    pub(crate) fn with_texts<'s, T>(&'s self, mut change: impl FnMut(&'s S) -> T) -> Preview<T> {
        let Self { first, last } = self;
        Preview { first: first.with_text(&mut change), last: last.with_text(&mut change) }
    }
}

impl<S: AsRef<str>> Preview<S> {
    /// Returns the same preview, borrowing its texts.
    #[must_use]
    pub fn borrowed(&self) -> PreviewRef<'_> {
        self.with_texts(AsRef::as_ref)
    }

    /// Returns the same preview with its own copies of the texts.
    #[must_use]
    pub fn owned(&self) -> Preview {
        self.with_texts(|text| text.as_ref().to_owned())
    }
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
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Excerpt<S = String> {
    /// The author of the message.
    pub role: Role,
    /// The first [`Excerpt::MAX_CHARACTERS`] characters of the content.
    pub text: S,
    /// The time of the message.
    pub created_at: Timestamp,
}

impl Excerpt {
    /// The maximum number of characters (Unicode scalar values) of an excerpt.
    pub const MAX_CHARACTERS: usize = 140;
}

impl<'a> Excerpt<&'a str> {
    /// The beginning of a message.
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        let content = message.content();
        let end = content.char_indices().nth(Excerpt::MAX_CHARACTERS).map(|(end, _)| end);
        let text = end.map_or(content, |end| &content[..end]);
        Self { role: message.role(), text, created_at: message.created_at() }
    }
}

impl<S> Excerpt<S> {
    fn with_text<'s, T>(&'s self, change: impl FnOnce(&'s S) -> T) -> Excerpt<T> {
        Excerpt { role: self.role, text: change(&self.text), created_at: self.created_at }
    }
}

impl<S: AsRef<str>> Excerpt<S> {
    /// Returns the same excerpt, borrowing its text.
    #[must_use]
    pub fn borrowed(&self) -> Excerpt<&str> {
        self.with_text(AsRef::as_ref)
    }

    /// Returns the same excerpt with its own copy of the text.
    #[must_use]
    pub fn owned(&self) -> Excerpt {
        self.with_text(|text| text.as_ref().to_owned())
    }
}

impl<S> fmt::Debug for Excerpt<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Excerpt")
            .field("role", &self.role)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_between_two_characters() {
        let excerpt = |content: &str| {
            Excerpt::of(&Message::new(Role::User, content, Timestamp::MIN).unwrap()).text.to_owned()
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
