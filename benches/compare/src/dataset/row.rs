//! Row: one conversation as every engine returns it.
//!
//! The fields are owned and the same for all engines, so that each does the same work per row.

use convodb::{Channel, ChannelKind, ConversationRef, ExternalIdentifier, Name, Phone};
use uuid::Uuid;

/// A conversation with owned texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) assistant: Uuid,
    pub(crate) kind: ChannelKind,
    pub(crate) sender_name: Option<String>,
    pub(crate) sender_phone: Option<String>,
    pub(crate) customer_name: Option<String>,
    pub(crate) customer_phone: Option<String>,
    pub(crate) external_identifier: Option<String>,
    pub(crate) variables: Option<String>,
    pub(crate) message_count: u32,
    pub(crate) cost_nanos: i64,
    pub(crate) ai_enabled: bool,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
    /// Milliseconds since 1970.
    pub(crate) updated_at: u64,
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
pub(crate) const fn kind_number(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Test => 0,
        ChannelKind::Widget => 1,
        ChannelKind::Whatsapp => 2,
        ChannelKind::Api => 3,
    }
}

/// The kind with a stored number.
pub(crate) fn kind_of(number: u8) -> anyhow::Result<ChannelKind> {
    ChannelKind::ALL
        .into_iter()
        .find(|kind| kind_number(*kind) == number)
        .ok_or_else(|| anyhow::anyhow!("unknown kind number {number}"))
}
