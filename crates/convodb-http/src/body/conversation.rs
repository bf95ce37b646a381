//! The body that creates a conversation.

use convodb::{
    AssistantId, Channel, ChannelKind, Conversation, ConversationId, Timestamp, Variables,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::assistant::AssistantName;
use crate::body::object::{FieldErrors, object};
use crate::error::{ApiError, Result};
use crate::item::{ChannelParts, optional, parsed, required, variables};

/// A conversation to create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewConversation {
    pub(crate) assistant: AssistantName,
    id: ConversationId,
    channel: Channel,
    variables: Option<Variables>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct WireNew<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    assistant_id: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<&'a RawValue>,
    variables: Option<&'a RawValue>,
    external_identifier: Option<&'a RawValue>,
    whatsapp_sender: Option<&'a RawValue>,
    customer: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
}

impl NewConversation {
    /// Reads the body. Left out, the type is `widget`, the time `now`, and the id a new one.
    ///
    /// # Errors
    /// All fields that break a rule.
    pub(crate) fn read(text: &str, now: Timestamp) -> Result<Self> {
        let wire: WireNew<'_> = object(text)?;
        let mut fields = FieldErrors::default();
        let assistant = required("assistant_id", wire.assistant_id, AssistantName::read);
        let assistant = fields.take(assistant);
        let kind = fields.take(optional("type", wire.kind, parsed));
        let variables = fields.take(optional("variables", wire.variables, variables));
        let parts = ChannelParts {
            whatsapp_sender: wire.whatsapp_sender,
            customer: wire.customer,
            external_identifier: wire.external_identifier,
        };
        let channel = kind.map(|kind| {
            let mut broken = Vec::new();
            let channel = parts.read(kind.unwrap_or(ChannelKind::Widget), &mut broken);
            broken.into_iter().for_each(|broken| fields.refuse(broken));
            channel
        });
        let created_at = fields.take(optional("created_at", wire.created_at, parsed)).flatten();
        let id = fields.take(optional("id", wire.id, parsed)).flatten();
        fields.finish()?;
        let (Some(assistant), Some(channel)) = (assistant, channel) else {
            return Err(ApiError::fault("a field was neither taken nor refused"));
        };
        let created_at = created_at.unwrap_or(now);
        Ok(Self {
            assistant,
            id: id.unwrap_or_else(|| ConversationId::generate(created_at)),
            channel,
            variables: variables.flatten().flatten(),
            created_at,
        })
    }

    /// The conversation, with the assistant that its body names.
    pub(crate) fn held_by(self, assistant: AssistantId) -> Conversation {
        let Self { id, channel, variables, created_at, .. } = self;
        Conversation { variables, ..Conversation::new(id, assistant, channel, created_at) }
    }
}
