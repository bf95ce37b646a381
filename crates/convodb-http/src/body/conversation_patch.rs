//! The body that changes a conversation: what is left out stays, what is null is cleared.

use convodb::{
    AssistantId, Channel, Contact, Conversation, Error, ExternalIdentifier, Name, Phone, Timestamp,
    Variables,
};
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use crate::body::assistant::AssistantName;
use crate::body::object::{FieldErrors, object};
use crate::error::Result;
use crate::item::{
    Broken, ContactFields, NOT_API, NOT_WHATSAPP, boolean, object as inner_object, optional,
    parsed, variables,
};

/// What to change of a conversation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConversationPatch {
    /// The assistant to give it to.
    pub(crate) assistant: Option<AssistantName>,
    ai_enabled: Option<bool>,
    variables: Change<Variables>,
    external_identifier: Change<ExternalIdentifier>,
    sender: ContactChange,
    customer: ContactChange,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ContactChange {
    name: Change<Name>,
    phone: Change<Phone>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    assistant_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    ai_enabled: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    variables: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    external_identifier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    whatsapp_sender: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    customer: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireContact<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    phone: Option<&'a RawValue>,
}

/// A field that is there, null or not.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(json: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

impl ConversationPatch {
    /// Reads the body.
    ///
    /// # Errors
    /// All fields that break a rule, whatever the conversation is.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let wire: Wire<'_> = object(text)?;
        let mut fields = FieldErrors::default();
        let assistant = optional("assistant_id", wire.assistant_id, AssistantName::read);
        let change = Self {
            assistant: fields.take(assistant).flatten(),
            ai_enabled: fields.take(optional("ai_enabled", wire.ai_enabled, boolean)).flatten(),
            variables: fields.take(variables_change(wire.variables)).unwrap_or_default(),
            external_identifier: fields
                .take(Change::read("external_identifier", wire.external_identifier, parsed))
                .unwrap_or_default(),
            sender: contact(ContactFields::SENDER, wire.whatsapp_sender, &mut fields),
            customer: contact(ContactFields::CUSTOMER, wire.customer, &mut fields),
        };
        fields.finish()?;
        Ok(change)
    }

    /// A change of nothing but whether the assistant answers.
    pub(crate) fn of_ai(enabled: bool) -> Self {
        Self { ai_enabled: Some(enabled), ..Self::default() }
    }

    /// Changes the conversation, with the assistant that the body names looked up. What changes
    /// something also moves the time of the last change on to `now`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a part that this conversation's type does not have; what was changed
    /// until then is not to be kept.
    pub(crate) fn apply(
        self,
        assistant: Option<AssistantId>,
        conversation: &mut Conversation,
        now: Timestamp,
    ) -> convodb::Result<()> {
        let before = conversation.clone();
        let lacks = |field, reason| Err(Error::Invalid { field, reason });
        conversation.assistant = assistant.unwrap_or(before.assistant);
        conversation.ai_enabled = self.ai_enabled.unwrap_or(before.ai_enabled);
        self.variables.apply(&mut conversation.variables);
        match &mut conversation.channel {
            Channel::Whatsapp { sender, customer } => {
                self.sender.apply(sender);
                self.customer.apply(customer);
            }
            _ if self.sender != ContactChange::default() => {
                return lacks("whatsapp_sender", NOT_WHATSAPP);
            }
            _ if self.customer != ContactChange::default() => {
                return lacks("customer", NOT_WHATSAPP);
            }
            _ => {}
        }
        match &mut conversation.channel {
            Channel::Api { external_identifier } => {
                self.external_identifier.apply(external_identifier);
            }
            _ if self.external_identifier != Change::Kept => {
                return lacks("external_identifier", NOT_API);
            }
            _ => {}
        }
        if *conversation != before {
            conversation.updated_at = before.updated_at.max(now);
        }
        Ok(())
    }
}

impl ContactChange {
    fn apply(self, contact: &mut Contact) {
        self.name.apply(&mut contact.name);
        self.phone.apply(&mut contact.phone);
    }
}

/// PHP's empty object, an empty array, stands for none.
fn variables_change(json: Option<&RawValue>) -> Result<Change<Variables>, Broken> {
    let read = Change::read("variables", json, variables)?;
    Ok(match read {
        Change::Kept => Change::Kept,
        Change::Cleared | Change::Set(None) => Change::Cleared,
        Change::Set(Some(variables)) => Change::Set(variables),
    })
}

/// A contact of which only the given parts change; null clears both.
fn contact(
    names: ContactFields,
    json: Option<&RawValue>,
    fields: &mut FieldErrors,
) -> ContactChange {
    let Some(json) = json.map(RawValue::get) else {
        return ContactChange::default();
    };
    if json == "null" {
        return ContactChange { name: Change::Cleared, phone: Change::Cleared };
    }
    let wire: WireContact<'_> = match inner_object(json) {
        Ok(wire) => wire,
        Err(reason) => {
            fields.refuse(Broken { field: names.whole, reason });
            return ContactChange::default();
        }
    };
    ContactChange {
        name: fields.take(Change::read(names.name, wire.name, parsed)).unwrap_or_default(),
        phone: fields.take(Change::read(names.phone, wire.phone, parsed)).unwrap_or_default(),
    }
}

/// What becomes of a part of a conversation that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Change<T> {
    /// It was not given.
    #[default]
    Kept,
    /// It was null.
    Cleared,
    /// It was a value.
    Set(T),
}

impl<T> Change<T> {
    fn read(
        field: &'static str,
        json: Option<&RawValue>,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Self, Broken> {
        match json.map(RawValue::get) {
            None => Ok(Change::Kept),
            Some("null") => Ok(Change::Cleared),
            Some(json) => read(json).map(Change::Set).map_err(|reason| Broken { field, reason }),
        }
    }

    fn apply(self, part: &mut Option<T>) {
        match self {
            Change::Kept => {}
            Change::Cleared => *part = None,
            Change::Set(value) => *part = Some(value),
        }
    }
}
