//! A conversation: the row of every list.

use crate::model::channel::Channel;
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, ConversationId};
use crate::model::timestamp::Timestamp;
use crate::model::variables::Variables;

/// One conversation of an owner with the outside, without its messages.
///
/// `S` is how its texts are held: `String` by default, `&str` in [`ConversationRef`].
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
pub struct Conversation<S = String> {
    /// Its id, unique among its owner's.
    pub id: ConversationId,
    /// The assistant that holds it; one of the same owner's.
    pub assistant: AssistantId,
    /// How it is held, with what only that channel has.
    pub channel: Channel<S>,
    /// A JSON object of the owner's.
    pub variables: Option<Variables<S>>,
    /// How many messages it has.
    pub message_count: u32,
    /// What it has cost.
    pub total_cost: Cost,
    /// Whether the assistant answers.
    pub ai_enabled: bool,
    /// When it began. Fixes its place in the list and never changes.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A conversation whose texts are borrowed from the page or the buffer that it was read into.
///
/// ```
/// # use convodb::{Conversation, ConversationRef};
/// /// Works on rows of a page without a copy, and on conversations of one's own.
/// fn is_long(row: &ConversationRef<'_>) -> bool {
///     row.message_count > 100
/// }
/// # fn both(page: &convodb::Page, own: &Conversation) -> bool {
/// page.conversations().any(|row| is_long(&row)) || is_long(&own.borrowed())
/// # }
/// ```
pub type ConversationRef<'a> = Conversation<&'a str>;

impl Conversation {
    /// A conversation that begins at `created_at`: no messages, no cost, the assistant answering.
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
    /// The same conversation, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> ConversationRef<'_> {
        self.with_texts(self.channel.borrowed(), self.variables.as_ref().map(Variables::borrowed))
    }

    /// The same conversation, with its own texts.
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
