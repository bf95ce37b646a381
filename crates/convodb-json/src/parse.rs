//! Item parser: one JSON object to a conversation, its messages and the name of its assistant.
//!
//! Each field is first read as raw JSON text. So an error can name its field, and numbers and
//! variables keep their exact text. An error never repeats a value.

use std::fmt;

use convodb::{Channel, Conversation, Cost, Message, Name};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use crate::channel::ChannelFields;
use crate::field::{
    InvalidField, boolean, cost, is_object, object, optional, parsed, required, variables,
    whole_number,
};
use crate::message::MessageFields;
use crate::time::time;

/// A conversation parsed from a line, with the parts that an import stores beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The conversation, with the id of its assistant.
    pub conversation: Conversation,
    /// The name of its assistant, if the line has it.
    pub assistant_name: Option<Name>,
    /// Its messages in order; empty if the line has none.
    pub messages: Vec<Message>,
}

/// Why a line is not an item. Names the field and the rule, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The line is not JSON.
    #[error("the line is not valid JSON at column {column}")]
    Syntax {
        /// The byte at which the line stops being JSON, from 1.
        column: usize,
    },
    /// The line is JSON, but not one object, or an object with a field twice.
    #[error("the line must be one JSON object with each field at most once")]
    Form,
    /// The fields beside the messages are too long to be read.
    #[error("the line has more than {max} bytes beside its messages")]
    LongFields {
        /// How many bytes they may have.
        max: usize,
    },
    /// A field breaks a rule.
    #[error("{field} {reason}")]
    Field {
        /// The field, with its parent: `customer.phone`.
        field: &'static str,
        /// What a right value looks like.
        reason: &'static str,
    },
    /// A field of a message breaks a rule.
    #[error("{list}[{index}].{field} {reason}")]
    Message {
        /// The field with the list: `messages`, or `history`.
        list: &'static str,
        /// The index of the message, from 0.
        index: usize,
        /// The field of the message; `message` if it is not an object.
        field: &'static str,
        /// What a right value looks like.
        reason: &'static str,
    },
}

impl Item {
    /// Parses one line.
    ///
    /// `id`, `assistant_id`, `type` and `created_at` are required. Absent or null, `message_count`
    /// is the number of messages, `total_cost` the sum of their costs, `ai_enabled` true, and
    /// `updated_at` the time of creation. For `variables`, `[]` means none, because PHP encodes an
    /// empty associative array like this. The messages may also be called `history`, as in the
    /// response of the API with a single conversation. Unknown fields are ignored.
    ///
    /// ```
    /// use convodb_json::Item;
    /// let line = br#"{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "type": "api",
    ///     "assistant_id": "a1b2c3d4-5678-40ab-8def-1234567890ab", "external_identifier": "crm-1",
    ///     "created_at": "2025-01-25 10:15:00"}"#;
    /// let item = Item::parse(line)?;
    /// assert_eq!(item.conversation.channel.external_identifier(), Some("crm-1"));
    ///
    /// let error = Item::parse(br#"{"id": 1}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "id must be a string");
    /// # Ok::<(), convodb_json::ItemError>(())
    /// ```
    ///
    /// # Errors
    /// [`ItemError`] with the first rule that the line breaks.
    pub fn parse(line: &[u8]) -> Result<Self, ItemError> {
        Self::parse_with(line, Vec::new())
    }

    /// Parses a line whose messages were parsed before, and are no longer part of it.
    pub(crate) fn parse_with(line: &[u8], messages: Vec<Message>) -> Result<Self, ItemError> {
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
        wire.parse(messages)
    }
}

/// The fields of a line, each as raw JSON.
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
    history: Option<&'a RawValue>,
    next_cursor: Option<&'a RawValue>,
    prev_cursor: Option<&'a RawValue>,
}

impl WireItem<'_> {
    fn parse(&self, given: Vec<Message>) -> Result<Item, ItemError> {
        let id = required("id", self.id, parsed)?;
        let assistant = required("assistant_id", self.assistant_id, parsed)?;
        let channel = self.channel()?;
        let created_at = required("created_at", self.created_at, time)?;
        let mut messages = self.messages()?;
        if messages.is_empty() {
            messages = given;
        }
        let conversation = Conversation {
            id,
            assistant,
            channel,
            variables: optional("variables", self.variables, variables)?.flatten(),
            message_count: self.message_count(messages.len())?,
            total_cost: self.total_cost(&messages)?,
            ai_enabled: optional("ai_enabled", self.ai_enabled, boolean)?.unwrap_or(true),
            created_at,
            updated_at: optional("updated_at", self.updated_at, time)?.unwrap_or(created_at),
        };
        let assistant_name = optional("assistant_name", self.assistant_name, parsed)?;
        Ok(Item { conversation, assistant_name, messages })
    }

    fn channel(&self) -> Result<Channel, InvalidField> {
        let kind = required("type", self.kind, parsed)?;
        let fields = ChannelFields {
            whatsapp_sender: self.whatsapp_sender,
            customer: self.customer,
            external_identifier: self.external_identifier,
        };
        let mut invalid = Vec::new();
        let channel = fields.parse(kind, &mut invalid);
        match invalid.into_iter().next() {
            Some(first) => Err(first),
            None => Ok(channel),
        }
    }

    /// Returns the given message count, or else the number of messages in the line.
    ///
    /// The count may exceed the messages, as in an export without them, but not fall below.
    fn message_count(&self, messages: usize) -> Result<u32, InvalidField> {
        let field = "message_count";
        let reason = "must be a whole number from 0 to 4294967295";
        let count = optional(field, self.message_count, |json| whole_number(json).ok_or(reason))?;
        let messages = u32::try_from(messages).map_err(|_| InvalidField { field, reason })?;
        match count {
            Some(count) if count < messages => Err(InvalidField {
                field,
                reason: "must not be less than the number of messages given",
            }),
            count => Ok(count.unwrap_or(messages)),
        }
    }

    fn total_cost(&self, messages: &[Message]) -> Result<Cost, InvalidField> {
        let field = "total_cost";
        if let Some(total) = optional(field, self.total_cost, cost)? {
            return Ok(total);
        }
        let sum = messages.iter().try_fold(Cost::ZERO, |sum, each| sum.checked_add(each.cost()));
        let reason = "must be given where the costs of the messages add up beyond its range";
        sum.ok_or(InvalidField { field, reason })
    }

    fn messages(&self) -> Result<Vec<Message>, ItemError> {
        let (name, list) = match (self.messages, self.history) {
            (Some(list), None) => ("messages", list),
            (None, Some(list)) => ("history", list),
            (None, None) => return Ok(Vec::new()),
            (Some(_), Some(_)) => {
                let reason = "must be left out where there are messages";
                return Err(ItemError::Field { field: "history", reason });
            }
        };
        if name == "history" && (self.next_cursor.is_some() || self.prev_cursor.is_some()) {
            let reason = "must be complete: next_cursor or prev_cursor says that it is one page";
            return Err(ItemError::Field { field: name, reason });
        }
        let reason = "must be an array";
        let mut wrong = None;
        let mut json = serde_json::Deserializer::from_str(list.get());
        let messages = json.deserialize_seq(MessagesVisitor { name, wrong: &mut wrong });
        // The text is JSON, so without a wrong message it is not an array.
        messages.map_err(|_| wrong.unwrap_or(ItemError::Field { field: name, reason }))
    }
}

/// Parses messages one by one, and stops at the first wrong one.
///
/// A list of all texts first would take many times the memory of a line with many tiny values.
struct MessagesVisitor<'w> {
    /// The field with the list.
    name: &'static str,
    wrong: &'w mut Option<ItemError>,
}

impl<'de> Visitor<'de> for MessagesVisitor<'_> {
    type Value = Vec<Message>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Message>, A::Error> {
        let mut messages = Vec::new();
        while let Some(json) = list.next_element::<&RawValue>()? {
            match parse_message(json.get()) {
                Ok(message) => messages.push(message),
                Err(InvalidField { field, reason }) => {
                    let (list, index) = (self.name, messages.len());
                    *self.wrong = Some(ItemError::Message { list, index, field, reason });
                    return Err(A::Error::custom(reason));
                }
            }
        }
        Ok(messages)
    }
}

/// Parses one message.
pub(crate) fn parse_message(json: &str) -> Result<Message, InvalidField> {
    let fields: MessageFields<'_> =
        object(json).map_err(|reason| InvalidField { field: "message", reason })?;
    let mut invalid = Vec::new();
    let message = fields.parse(None, &mut invalid);
    let missing = InvalidField { field: "message", reason: "is not valid" };
    message.ok_or_else(|| invalid.into_iter().next().unwrap_or(missing))
}

impl From<InvalidField> for ItemError {
    fn from(InvalidField { field, reason }: InvalidField) -> Self {
        ItemError::Field { field, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::write_item;
    use convodb::Role;

    const IDS: &str = r#""id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","created_at":"2025-01-25 10:15:00""#;

    fn line(rest: &str) -> String {
        format!("{{{IDS},{rest}}}")
    }

    #[track_caller]
    fn read(rest: &str) -> Item {
        Item::parse(line(rest).as_bytes()).unwrap_or_else(|error| panic!("{rest}: {error}"))
    }

    /// Parsing `line` fails with `expected`, which contains no value of the item.
    #[track_caller]
    fn rejected(line: &str, expected: &str) {
        assert_eq!(Item::parse(line.as_bytes()).unwrap_err().to_string(), expected, "{line}");
    }

    #[test]
    fn a_written_item_parses_to_the_same_conversation() {
        for rest in [
            r#""type":"widget""#,
            r#""type":"test","variables":{"a": 1.10,"b":[1e40]},"message_count":8,"total_cost":0.000000001,"ai_enabled":false,"updated_at":"2025-01-26 00:00:01""#,
            r#""type":"api","external_identifier":"crm \"\u0000\ud83d\ude00""#,
            r#""type":"whatsapp","whatsapp_sender":{"name":"Acme","phone":"+1"},"customer":{"name":null,"phone":"+2"}"#,
        ] {
            let item = read(rest);
            let mut written = Vec::new();
            write_item(&mut written, &item.conversation.borrowed(), "Bot");
            let again = Item::parse(&written).unwrap();
            assert_eq!(again.conversation, item.conversation, "{rest}");
            assert_eq!(again.assistant_name.unwrap().as_str(), "Bot");
        }
    }

    #[test]
    fn messages_may_be_called_history() {
        let message = r#"{"role":"user","content":"hi","created_at":1737814500250}"#;
        let item = read(&format!(
            r#""status":true,"type":"test","history":[{message}],"next_cursor":null,"prev_cursor":null"#
        ));
        assert_eq!(
            item.messages,
            read(&format!(r#""type":"test","messages":[{message}]"#)).messages
        );
        assert_eq!((item.messages.len(), item.conversation.message_count), (1, 1));
        let null = format!(r#""type":"test","messages":null,"history":[{message}]"#);
        assert_eq!(read(&null).messages, item.messages);
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let messages = r#""messages":[{"role":"user","content":"hi\n","cost":0.1,"created_at":"2025-01-25"},{"role":"assistant","content":"","function_calls":[{"name":"book"}],"cost":2e-1,"created_at":"2025-01-25T10:00:00Z","other":{}}]"#;
        let item = read(&format!(r#""type":"widget","variables":[ ],"customer":null,{messages}"#));
        let Item { conversation, messages, assistant_name } = item;
        assert_eq!(conversation.message_count, 2);
        assert_eq!(conversation.total_cost.to_string(), "0.3");
        assert!(conversation.ai_enabled && conversation.variables.is_none());
        assert_eq!(conversation.updated_at, conversation.created_at);
        assert_eq!(assistant_name, None);
        assert_eq!((messages[0].role(), messages[0].content()), (Role::User, "hi\n"));
        assert_eq!(messages[1].function_calls(), Some(r#"[{"name":"book"}]"#));
    }

    #[test]
    fn blank_strings_are_absent_and_whole_numbers_may_have_a_fraction() {
        let item = read(
            r#""type":"whatsapp","customer":{"name":"","phone":""},"whatsapp_sender":"","variables":"","external_identifier":"","assistant_name":"","message_count":3.0,"total_cost":"","ai_enabled":"","updated_at":"""#,
        );
        let blank = read(r#""type":"whatsapp","message_count":3"#);
        assert_eq!(item, blank);
        let message = r#"{"role":"tool","content":"","created_at":"2025-01-25"}"#;
        let item = read(&format!(r#""type":"test","messages":[{message}]"#));
        assert_eq!((item.messages[0].role(), item.messages[0].content()), (Role::Tool, ""));
    }

    #[test]
    fn an_error_names_the_field_and_the_rule() {
        for (rest, expected) in [
            (r#""type":"widget","ai_enabled":"yes""#, "ai_enabled must be true or false"),
            (r#""type":"fax""#, "type must be one of test, widget, whatsapp, api"),
            (r#""type":null"#, "type is required"),
            (
                r#""type":"api","variables":[1]"#,
                "variables must be a JSON object, nested at most 127 deep",
            ),
            (
                r#""type":"api","message_count":-1"#,
                "message_count must be a whole number from 0 to 4294967295",
            ),
            (
                r#""type":"api","message_count":3.5"#,
                "message_count must be a whole number from 0 to 4294967295",
            ),
            (
                r#""type":"api","variables":{"a":1e400}"#,
                "variables must not contain a number beyond 1.8e308",
            ),
            (
                r#""type":"api","variables":{"a":"\ud83d"}"#,
                "variables must not contain half of a surrogate pair",
            ),
            (
                r#""type":"api","total_cost":1e400"#,
                "total_cost must be a decimal number of USD within 9.2 billion",
            ),
            (
                r#""type":"api","total_cost":"secret""#,
                "total_cost must be a decimal number of USD within 9.2 billion",
            ),
            (
                r#""type":"api","updated_at":"secret""#,
                "updated_at must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339, or a number of \
                 milliseconds since 1970",
            ),
            (
                r#""type":"api","customer":{"phone":"+49secret"}"#,
                "customer must be left out where the type is not whatsapp",
            ),
            (
                r#""type":"whatsapp","external_identifier":"secret""#,
                "external_identifier must be left out where the type is not api",
            ),
            (
                r#""type":"whatsapp","whatsapp_sender":{"phone":"\ud83d"}"#,
                "whatsapp_sender.phone must not contain half of a surrogate pair",
            ),
            (r#""type":"whatsapp","customer":{"name":5}"#, "customer.name must be a string"),
            (
                r#""type":"whatsapp","customer":["secret","secret"]"#,
                "customer must be an object with each field at most once",
            ),
            (r#""type":"test","messages":{}"#, "messages must be an array"),
            (r#""type":"test","history":{}"#, "history must be an array"),
            (
                r#""type":"test","messages":[],"history":[]"#,
                "history must be left out where there are messages",
            ),
            (
                r#""type":"test","history":[],"next_cursor":"x","prev_cursor":null"#,
                "history must be complete: next_cursor or prev_cursor says that it is one page",
            ),
            (
                r#""type":"test","history":[{"role":"user","content":"","created_at":"2025-01-25"},3]"#,
                "history[1].message must be an object with each field at most once",
            ),
            (
                r#""type":"test","messages":[3]"#,
                "messages[0].message must be an object with each field at most once",
            ),
            (
                r#""type":"test","messages":[{"role":"user","created_at":"2025-01-25"}]"#,
                "messages[0].content is required",
            ),
            (
                r#""type":"test","message_count":0,"messages":[{"role":"user","content":"","created_at":"2025-01-25"}]"#,
                "message_count must not be less than the number of messages given",
            ),
            (
                r#""type":"test","messages":[{"role":"user","content":"","created_at":"2025-01-25","function_calls":{}}]"#,
                "messages[0].function_calls must be a JSON array of at most 65536 bytes",
            ),
        ] {
            rejected(&line(rest), expected);
        }
        rejected("{}", "id is required");
        rejected(r#"{"id":"x"}"#, "id must be a valid UUID");
    }

    #[test]
    fn anything_but_one_object_is_rejected() {
        rejected("", "the line is not valid JSON at column 0");
        rejected(r#"{"id": }"#, "the line is not valid JSON at column 8");
        rejected("{} {}", "the line is not valid JSON at column 4");
        let form = "the line must be one JSON object with each field at most once";
        for wrong in ["[]", "[1,2,3]", "3", "\"secret\"", r#"{"id":"a","id":"b"}"#] {
            rejected(wrong, form);
        }
        let error = Item::parse(b"{\"id\":\"\xff\"}").unwrap_err();
        assert_eq!(error, ItemError::Syntax { column: 8 });
    }
}
