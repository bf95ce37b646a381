//! The five exact matches that a list can be narrowed by.

use crate::encoding::index_term::{Field, Fingerprinter, Fingerprints};
use crate::model::channel::ChannelKind;
use crate::model::conversation::Conversation;
use crate::model::id::AssistantId;
use crate::model::text::{ExternalIdentifier, Phone, Text};

/// Exact matches, any combination of them. A conversation is listed when it matches all that are
/// given; texts match byte for byte.
///
/// ```
/// use convodb::{ChannelKind, Filter};
/// let filter = Filter {
///     kind: Some(ChannelKind::Whatsapp),
///     customer_phone: Some("+4915112345678".parse()?),
///     ..Filter::default()
/// };
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The API's `type`.
    pub kind: Option<ChannelKind>,
    /// The API's `assistant_id`.
    pub assistant: Option<AssistantId>,
    /// The API's `whatsapp_sender_phone`: implies WhatsApp.
    pub sender_phone: Option<Phone>,
    /// The API's `customer_phone`: implies WhatsApp.
    pub customer_phone: Option<Phone>,
    /// The API's `external_identifier`: implies the API channel.
    pub external_identifier: Option<ExternalIdentifier>,
}

impl Filter {
    /// Whether a conversation has all that is asked for.
    pub(crate) fn matches(&self, row: &Conversation) -> bool {
        let channel = &row.channel;
        let wanted = |field, value: Option<&str>| {
            self.text(field).is_none_or(|wanted| value == Some(wanted))
        };
        self.kind.is_none_or(|kind| kind == channel.kind())
            && self.assistant.is_none_or(|assistant| assistant == row.assistant)
            && wanted(Field::Sender, channel.sender_phone())
            && wanted(Field::Customer, channel.customer_phone())
            && wanted(Field::External, channel.external_identifier())
    }

    /// The text that is asked for in a text field.
    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        match field {
            Field::Sender => self.sender_phone.as_ref().map(Text::as_str),
            Field::Customer => self.customer_phone.as_ref().map(Text::as_str),
            Field::External => self.external_identifier.as_ref().map(Text::as_str),
            Field::Kind | Field::Assistant => None,
        }
    }

    /// The fingerprints of what is asked for. About 80 ns for each field but the type.
    pub(crate) fn fingerprints(&self, fingerprinter: &Fingerprinter) -> Fingerprints {
        let mut wanted = Fingerprints::default();
        if let Some(kind) = self.kind {
            wanted.set(Field::Kind, fingerprinter.kind(kind));
        }
        if let Some(assistant) = self.assistant {
            wanted.set(Field::Assistant, fingerprinter.assistant(assistant));
        }
        for field in [Field::Sender, Field::Customer, Field::External] {
            if let Some(text) = self.text(field) {
                wanted.set(field, fingerprinter.text(field, text));
            }
        }
        wanted
    }
}
