//! Body that updates a conversation: a merge patch, in which an absent field stays, and null or a blank string clears.

use convodb::{
    AssistantId, AssistantRef, Channel, Contact, Conversation, Error, ExternalIdentifier, Name,
    Phone, Variables,
};
use convodb_json::channel::{ContactFields, NOT_API, NOT_WHATSAPP};
use convodb_json::field::{
    self, BLANK, InvalidField, boolean, object, optional, parsed, variables,
};
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use crate::body::object::{FieldErrors, parse_object};
use crate::error::Result;

/// An update of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConversationPatch {
    /// The new assistant.
    pub(crate) assistant: Option<AssistantRef>,
    ai_enabled: Option<bool>,
    variables: Patch<Variables>,
    external_identifier: Patch<ExternalIdentifier>,
    sender: ContactPatch,
    customer: ContactPatch,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ContactPatch {
    name: Patch<Name>,
    phone: Patch<Phone>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    assistant_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ai_enabled: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    variables: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    external_identifier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    whatsapp_sender: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    customer: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireContact<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    phone: Option<&'a RawValue>,
}

/// Deserializes a field that is present, also if it is null.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(json: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

impl ConversationPatch {
    /// Parses the body.
    ///
    /// # Errors
    /// 422 with every field that is invalid for any conversation.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wire: Wire<'_> = parse_object(text)?;
        let mut errors = FieldErrors::default();
        let assistant = optional("assistant_id", wire.assistant_id, field::assistant);
        let patch = Self {
            assistant: errors.ok(assistant).flatten(),
            ai_enabled: errors.ok(optional("ai_enabled", wire.ai_enabled, boolean)).flatten(),
            variables: errors.ok(variables_patch(wire.variables)).unwrap_or_default(),
            external_identifier: errors
                .ok(Patch::parse("external_identifier", wire.external_identifier, parsed))
                .unwrap_or_default(),
            sender: contact_patch(ContactFields::SENDER, wire.whatsapp_sender, &mut errors),
            customer: contact_patch(ContactFields::CUSTOMER, wire.customer, &mut errors),
        };
        errors.finish()?;
        Ok(patch)
    }

    /// Returns a patch that only enables or disables the assistant.
    pub(crate) fn ai_enabled(enabled: bool) -> Self {
        Self { ai_enabled: Some(enabled), ..Self::default() }
    }

    /// Applies the patch, with its resolved assistant.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the value of a field that a conversation of this type does not have. The
    /// conversation is then partly changed and must be discarded.
    pub(crate) fn apply(
        self,
        assistant: Option<AssistantId>,
        conversation: &mut Conversation,
    ) -> convodb::Result<()> {
        let invalid = |field, reason| Err(Error::Invalid { field, reason });
        conversation.assistant = assistant.unwrap_or(conversation.assistant);
        conversation.ai_enabled = self.ai_enabled.unwrap_or(conversation.ai_enabled);
        self.variables.apply(&mut conversation.variables);
        match &mut conversation.channel {
            Channel::Whatsapp { sender, customer } => {
                self.sender.apply(sender);
                self.customer.apply(customer);
            }
            _ if self.sender.has_value() => return invalid("whatsapp_sender", NOT_WHATSAPP),
            _ if self.customer.has_value() => return invalid("customer", NOT_WHATSAPP),
            _ => {}
        }
        match &mut conversation.channel {
            Channel::Api { external_identifier } => {
                self.external_identifier.apply(external_identifier);
            }
            _ if self.external_identifier.has_value() => {
                return invalid("external_identifier", NOT_API);
            }
            _ => {}
        }
        Ok(())
    }
}

impl ContactPatch {
    fn has_value(&self) -> bool {
        self.name.has_value() || self.phone.has_value()
    }

    fn apply(self, contact: &mut Contact) {
        self.name.apply(&mut contact.name);
        self.phone.apply(&mut contact.phone);
    }
}

/// Parses a patch of variables. An empty array clears them: PHP encodes an empty object like this.
fn variables_patch(json: Option<&RawValue>) -> Result<Patch<Variables>, InvalidField> {
    Ok(match Patch::parse("variables", json, variables)? {
        Patch::Unchanged => Patch::Unchanged,
        Patch::Cleared | Patch::Set(None) => Patch::Cleared,
        Patch::Set(Some(variables)) => Patch::Set(variables),
    })
}

/// Parses a patch of a contact: only the given parts change; null clears both.
fn contact_patch(
    fields: ContactFields,
    json: Option<&RawValue>,
    errors: &mut FieldErrors,
) -> ContactPatch {
    let Some(json) = json.map(RawValue::get) else {
        return ContactPatch::default();
    };
    if is_empty(json) {
        return ContactPatch { name: Patch::Cleared, phone: Patch::Cleared };
    }
    let wire: WireContact<'_> = match object(json) {
        Ok(wire) => wire,
        Err(reason) => {
            errors.add(InvalidField { field: fields.contact, reason });
            return ContactPatch::default();
        }
    };
    ContactPatch {
        name: errors.ok(Patch::parse(fields.name, wire.name, parsed)).unwrap_or_default(),
        phone: errors.ok(Patch::parse(fields.phone, wire.phone, parsed)).unwrap_or_default(),
    }
}

/// Whether a field's value is none: null, or a blank string.
fn is_empty(json: &str) -> bool {
    json == "null" || json == BLANK
}

/// An update of an optional value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Patch<T> {
    /// The field is absent.
    #[default]
    Unchanged,
    /// The field is null or blank.
    Cleared,
    /// The field has a value.
    Set(T),
}

impl<T> Patch<T> {
    fn parse(
        field: &'static str,
        json: Option<&RawValue>,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Self, InvalidField> {
        match json.map(RawValue::get) {
            None => Ok(Patch::Unchanged),
            Some(json) if is_empty(json) => Ok(Patch::Cleared),
            Some(json) => {
                parse(json).map(Patch::Set).map_err(|reason| InvalidField { field, reason })
            }
        }
    }

    /// Whether there is a value to set. To clear what a conversation does not have changes nothing.
    const fn has_value(&self) -> bool {
        matches!(self, Patch::Set(_))
    }

    fn apply(self, value: &mut Option<T>) {
        match self {
            Patch::Unchanged => {}
            Patch::Cleared => *value = None,
            Patch::Set(new) => *value = Some(new),
        }
    }
}
