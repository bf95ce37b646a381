//! Reads an item back, with the messages it may have, into values of the engine.
//!
//! Each field is taken as its own piece of JSON text first, so that an error names its field, and
//! numbers and variables stay the text they are. An error never repeats what was read.

use std::borrow::Cow;
use std::str::FromStr;

use convodb::{
    Channel, ChannelKind, Contact, Conversation, Cost, Error, Message, Name, Phone, Role,
    Timestamp, Variables,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A conversation read from a line, with what an import needs beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The conversation; its assistant's id is in it.
    pub conversation: Conversation,
    /// The name of its assistant, where the line tells it.
    pub assistant_name: Option<Name>,
    /// Its messages, in their order; none where the line has none.
    pub messages: Vec<Message>,
}

/// Why a line is no item. Names the field and the rule, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The line is not JSON.
    #[error("the line is not valid JSON at column {column}")]
    Syntax {
        /// The byte where it stops being JSON, counted from 1.
        column: usize,
    },
    /// The line is JSON, but not of an item's form.
    #[error("the line must be one JSON object with each field at most once")]
    Form,
    /// A field breaks its rule.
    #[error("{field} {reason}")]
    Field {
        /// The field, with the one it is part of: `customer.phone`.
        field: &'static str,
        /// What a right value looks like.
        reason: &'static str,
    },
    /// A field of a message breaks its rule.
    #[error("messages[{index}]{}{field} {reason}", if field.is_empty() { "" } else { "." })]
    Message {
        /// Which message, counted from 0.
        index: usize,
        /// The field of the message; empty when the message itself is at fault.
        field: &'static str,
        /// What a right value looks like.
        reason: &'static str,
    },
}

impl Item {
    /// Reads one line.
    ///
    /// `id`, `assistant_id`, `type` and `created_at` are needed. Left out or null, `message_count`
    /// is the number of messages, `total_cost` the sum of their costs, `ai_enabled` true, and
    /// `updated_at` the time of creation; the empty array that PHP writes for empty `variables`
    /// stands for none. Fields of other names are passed over.
    ///
    /// ```
    /// use convodb_http::item::Item;
    /// let line = br#"{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "type": "api",
    ///     "assistant_id": "a1b2c3d4-5678-40ab-8def-1234567890ab", "external_identifier": "crm-1",
    ///     "created_at": "2025-01-25 10:15:00"}"#;
    /// let item = Item::parse(line)?;
    /// assert_eq!(item.conversation.channel.external_identifier(), Some("crm-1"));
    ///
    /// let error = Item::parse(br#"{"id": 1}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "id must be a string");
    /// # Ok::<(), convodb_http::item::ItemError>(())
    /// ```
    ///
    /// # Errors
    /// [`ItemError`], which says what would be right.
    pub fn parse(line: &[u8]) -> Result<Self, ItemError> {
        let text = std::str::from_utf8(line)
            .map_err(|error| ItemError::Syntax { column: error.valid_up_to() + 1 })?;
        let wire = serde_json::from_str::<WireItem<'_>>(text).map_err(|error| {
            if error.is_data() {
                ItemError::Form
            } else {
                ItemError::Syntax { column: error.column() }
            }
        })?;
        if !is_object(text) {
            return Err(ItemError::Form);
        }
        wire.read()
    }
}

/// The fields of a line, each as the JSON that it is.
#[derive(Deserialize)]
struct WireItem<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    assistant_id: Option<&'a RawValue>,
    assistant_name: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<&'a RawValue>,
    variables: Option<&'a RawValue>,
    external_identifier: Option<&'a RawValue>,
    message_count: Option<&'a RawValue>,
    total_cost: Option<&'a RawValue>,
    ai_enabled: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    updated_at: Option<&'a RawValue>,
    whatsapp_sender: Option<&'a RawValue>,
    customer: Option<&'a RawValue>,
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireContact<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    phone: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    function_calls: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
}

impl WireItem<'_> {
    fn read(&self) -> Result<Item, ItemError> {
        let created_at = required("created_at", self.created_at, parsed)?;
        let messages = self.messages()?;
        let conversation = Conversation {
            id: required("id", self.id, parsed)?,
            assistant: required("assistant_id", self.assistant_id, parsed)?,
            channel: self.channel()?,
            variables: optional("variables", self.variables, variables)?.flatten(),
            message_count: self.message_count(messages.len())?,
            total_cost: self.total_cost(&messages)?,
            ai_enabled: optional("ai_enabled", self.ai_enabled, boolean)?.unwrap_or(true),
            created_at,
            updated_at: optional("updated_at", self.updated_at, parsed)?.unwrap_or(created_at),
        };
        let assistant_name = optional("assistant_name", self.assistant_name, parsed)?;
        Ok(Item { conversation, assistant_name, messages })
    }

    fn channel(&self) -> Result<Channel, ItemError> {
        let kind: ChannelKind = required("type", self.kind, parsed)?;
        let sender = contact(
            ["whatsapp_sender", "whatsapp_sender.name", "whatsapp_sender.phone"],
            self.whatsapp_sender,
        )?;
        let customer =
            contact(["customer", "customer.name", "customer.phone"], self.customer)?;
        let external_identifier =
            optional("external_identifier", self.external_identifier, parsed)?;
        let only_on = |field, reason| Err(ItemError::Field { field, reason });
        if kind != ChannelKind::Whatsapp {
            for (field, contact) in [("whatsapp_sender", &sender), ("customer", &customer)] {
                if *contact != Contact::default() {
                    return only_on(field, "must be left out unless the type is whatsapp");
                }
            }
        }
        if kind != ChannelKind::Api && external_identifier.is_some() {
            return only_on("external_identifier", "must be left out unless the type is api");
        }
        Ok(match kind {
            ChannelKind::Test => Channel::Test,
            ChannelKind::Widget => Channel::Widget,
            ChannelKind::Whatsapp => Channel::Whatsapp { sender, customer },
            ChannelKind::Api => Channel::Api { external_identifier },
        })
    }

    /// As many messages as are told, which may be more than are given but not fewer.
    fn message_count(&self, given: usize) -> Result<u32, ItemError> {
        let field = "message_count";
        let error = |reason| ItemError::Field { field, reason };
        let range = "must be a whole number from 0 to 4294967295";
        let given = u32::try_from(given).map_err(|_| error(range))?;
        let told = optional(field, self.message_count, |json| json.parse().map_err(|_| range))?;
        if told.is_some_and(|told| told < given) {
            return Err(error("must not be less than the number of messages given"));
        }
        Ok(told.unwrap_or(given))
    }

    fn total_cost(&self, messages: &[Message]) -> Result<Cost, ItemError> {
        if let Some(told) = optional("total_cost", self.total_cost, number)? {
            return Ok(told);
        }
        let sum = messages.iter().try_fold(Cost::ZERO, |sum, each| sum.checked_add(each.cost()));
        sum.ok_or(ItemError::Field {
            field: "total_cost",
            reason: "must be given where the costs of the messages add up to over 9.2 billion",
        })
    }

    fn messages(&self) -> Result<Vec<Message>, ItemError> {
        let wires = optional("messages", self.messages, |json| {
            serde_json::from_str::<Vec<&RawValue>>(json).map_err(|_| "must be an array")
        })?;
        let wires = wires.unwrap_or_default().into_iter().enumerate();
        wires.map(|(index, json)| message(json.get()).map_err(|rule| rule.of(index))).collect()
    }
}

/// A rule that a field of a message breaks.
struct MessageRule {
    field: &'static str,
    reason: &'static str,
}

impl MessageRule {
    fn of(self, index: usize) -> ItemError {
        ItemError::Message { index, field: self.field, reason: self.reason }
    }
}
