//! Body that creates a conversation.

use convodb::{
    AssistantId, AssistantRef, Channel, ChannelKind, Conversation, ConversationId, Timestamp,
    Variables,
};
use convodb_json::channel::ChannelFields;
use convodb_json::field::{self, optional, parsed, required, variables};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::object::{FieldErrors, parse_object};
use crate::error::{ApiError, Result};

/// A conversation to create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewConversation {
    pub(crate) assistant: AssistantRef,
    id: ConversationId,
    channel: Channel,
    variables: Option<Variables>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct Wire<'a> {
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
    /// Parses the body. Defaults: the type `widget`, the time `now`, and a generated id.
    ///
    /// # Errors
    /// 422 with every invalid field.
    pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Self> {
        let wire: Wire<'_> = parse_object(text)?;
        let mut errors = FieldErrors::default();
        let assistant = required("assistant_id", wire.assistant_id, field::assistant);
        let assistant = errors.ok(assistant);
        let kind = errors.ok(optional("type", wire.kind, parsed));
        let variables = errors.ok(optional("variables", wire.variables, variables));
        let fields = ChannelFields {
            whatsapp_sender: wire.whatsapp_sender,
            customer: wire.customer,
            external_identifier: wire.external_identifier,
        };
        let channel = kind.map(|kind| {
            let mut invalid = Vec::new();
            let channel = fields.parse(kind.unwrap_or(ChannelKind::Widget), &mut invalid);
            invalid.into_iter().for_each(|error| errors.add(error));
            channel
        });
        let created_at = errors.ok(optional("created_at", wire.created_at, parsed)).flatten();
        let id = errors.ok(optional("id", wire.id, parsed)).flatten();
        errors.finish()?;
        let (Some(assistant), Some(channel)) = (assistant, channel) else {
            return Err(ApiError::fault("a required field is missing without an error"));
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

    /// Returns the conversation, with the assistant that the body names.
    pub(crate) fn into_conversation(self, assistant: AssistantId) -> Conversation {
        let Self { id, channel, variables, created_at, .. } = self;
        Conversation { variables, ..Conversation::new(id, assistant, channel, created_at) }
    }
}
