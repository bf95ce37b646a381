//! Row: one conversation as every engine returns it, with owned texts.

use convodb::{Channel, ChannelKind, ConversationRef, ExternalIdentifier, Name, Phone};
use uuid::Uuid;

/// A conversation with owned texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The id.
    pub id: Uuid,
    /// The assistant.
    pub assistant: Uuid,
    /// The type.
    pub kind: ChannelKind,
    /// The name beside the sender's phone.
    pub sender_name: Option<String>,
    /// The phone of the user.
    pub sender_phone: Option<String>,
    /// The name of the customer.
    pub customer_name: Option<String>,
    /// The phone of the customer.
    pub customer_phone: Option<String>,
    /// The external identifier.
    pub external_identifier: Option<String>,
    /// The variables, as JSON.
    pub variables: Option<String>,
    /// The number of messages.
    pub message_count: u32,
    /// The cost in billionths of a US dollar.
    pub cost_nanos: i64,
    /// Whether the AI answers.
    pub ai_enabled: bool,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// Milliseconds since 1970.
    pub updated_at: u64,
}

impl From<&ConversationRef<'_>> for Row {
    fn from(conversation: &ConversationRef<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mut row = Self {
            id: conversation.id.uuid(),
            assistant: conversation.assistant.uuid(),
            kind: conversation.channel.kind(),
            sender_name: None,
            sender_phone: None,
            customer_name: None,
            customer_phone: None,
            external_identifier: None,
            variables: owned(conversation.variables.as_ref().map(|json| json.as_str())),
            message_count: conversation.message_count,
            cost_nanos: conversation.total_cost.nanos(),
            ai_enabled: conversation.ai_enabled,
            created_at: conversation.created_at.millis(),
            updated_at: conversation.updated_at.millis(),
        };
        match conversation.channel {
            Channel::Test | Channel::Widget => {}
            Channel::Whatsapp { sender, customer } => {
                row.sender_name = owned(sender.name.map(Name::get));
                row.sender_phone = owned(sender.phone.map(Phone::get));
                row.customer_name = owned(customer.name.map(Name::get));
                row.customer_phone = owned(customer.phone.map(Phone::get));
            }
            Channel::Api { external_identifier } => {
                row.external_identifier = owned(external_identifier.map(ExternalIdentifier::get));
            }
        }
        row
    }
}

/// The number of a kind in the stores of the other engines.
#[must_use]
pub const fn kind_number(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Test => 0,
        ChannelKind::Widget => 1,
        ChannelKind::Whatsapp => 2,
        ChannelKind::Api => 3,
    }
}

/// The kind with a stored number.
///
/// # Errors
/// No kind has this number.
pub fn kind_of(number: u8) -> anyhow::Result<ChannelKind> {
    ChannelKind::ALL
        .into_iter()
        .find(|kind| kind_number(*kind) == number)
        .ok_or_else(|| anyhow::anyhow!("unknown kind number {number}"))
}

/// The creation time of the row at a position, in milliseconds since 1970. Positions are assigned as
/// convodb does: the creation time, then 22 bits in the order of arrival.
#[must_use]
pub const fn created_at_millis(position: u64) -> u64 {
    position >> 22
}

/// The position of a row that was created at a time, and follows `last` within its user.
#[must_use]
pub const fn next_position(created_at_millis: u64, last: u64) -> u64 {
    let first = created_at_millis << 22;
    if first > last { first } else { last + 1 }
}
