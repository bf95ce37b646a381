//! A conversation without its messages: one row of every list.

use crate::model::channel::Channel;
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, ConversationId};
use crate::model::timestamp::Timestamp;
use crate::model::variables::Variables;

/// A conversation of a user's assistant with a customer, without its messages.
///
/// `S` is the type that stores its texts: `String`, or `&str` in [`ConversationRef`].
///
/// All fields are public, because each one validates itself and any combination of them is a valid
/// conversation. (A [`Message`](crate::Message) has private fields and getters, because its limits
/// apply to plain strings.)
///
/// Serde: an object of these fields. This is the form of the Rust value; the HTTP API has its own.
///
/// ```
/// use convodb::{AssistantId, Channel, Conversation, ConversationId, Cost, Timestamp};
/// let at: Timestamp = "2025-01-25 14:30:00".parse()?;
/// let (id, bot) = (ConversationId::generate(at), AssistantId::generate(at));
/// let mut conversation = Conversation::new(id, bot, Channel::Widget, at);
/// conversation.total_cost = "0.0032".parse()?;
/// assert_eq!((conversation.message_count, conversation.ai_enabled), (0, true));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "S: AsRef<str>",
        deserialize = "
            S: AsRef<str> + serde::Deserialize<'de>,
            Variables<S>: serde::Deserialize<'de>
        "
    ))
)]
pub struct Conversation<S = String> {
    /// The id, unique among the user's conversations.
    pub id: ConversationId,
    /// The assistant that answers; it belongs to the same user.
    pub assistant: AssistantId,
    /// The channel, with the fields that only that channel has.
    pub channel: Channel<S>,
    /// A JSON object of the user.
    pub variables: Option<Variables<S>>,
    /// The number of messages.
    pub message_count: u32,
    /// The total cost in USD.
    pub total_cost: Cost,
    /// Whether the assistant answers; false once a person has taken over.
    pub ai_enabled: bool,
    /// The time of creation. It fixes the position in the list and never changes.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// A conversation whose texts are borrowed from a page or a buffer.
///
/// ```
/// # use convodb::{Conversation, ConversationRef};
/// /// Takes rows of a page without a copy, and owned conversations.
/// fn is_long(row: &ConversationRef<'_>) -> bool {
///     row.message_count > 100
/// }
/// # fn both(page: &convodb::Page, own: &Conversation) -> bool {
/// page.conversations().any(|row| is_long(&row)) || is_long(&own.borrowed())
/// # }
/// ```
pub type ConversationRef<'a> = Conversation<&'a str>;

impl Conversation {
    /// A conversation that begins at `created_at`: no messages, no cost, the assistant enabled.
    #[must_use]
    pub const fn new(
        id: ConversationId,
        assistant: AssistantId,
        channel: Channel,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            assistant,
            channel,
            variables: None,
            message_count: 0,
            total_cost: Cost::ZERO,
            ai_enabled: true,
            created_at,
            updated_at: created_at,
        }
    }
}

impl<S: AsRef<str>> Conversation<S> {
    /// Returns the same conversation, borrowing its texts.
    #[must_use]
    pub fn borrowed(&self) -> ConversationRef<'_> {
        self.with_texts(self.channel.borrowed(), self.variables.as_ref().map(Variables::borrowed))
    }

    /// Returns the same conversation with its own copies of the texts.
    #[must_use]
    pub fn owned(&self) -> Conversation {
        self.with_texts(self.channel.owned(), self.variables.as_ref().map(Variables::owned))
    }

    fn with_texts<T>(
        &self,
        channel: Channel<T>,
        variables: Option<Variables<T>>,
    ) -> Conversation<T> {
        Conversation {
            id: self.id,
            assistant: self.assistant,
            channel,
            variables,
            message_count: self.message_count,
            total_cost: self.total_cost,
            ai_enabled: self.ai_enabled,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}
