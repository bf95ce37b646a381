//! Item writer: a conversation as one JSON object, appended to a buffer in the documented order.
//!
//! About 0.2 us an item. Nothing is allocated except when the buffer grows.

use convodb::{Channel, Contact, ConversationRef, Excerpt, Message, Preview, PreviewRef, Result};

use crate::assistant_names::{AssistantNames, write_assistant};
use crate::json;

/// How times are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// To the second, as in the documented API: `2025-01-25 10:15:00`.
    Seconds,
    /// RFC 3339 with milliseconds, which is lossless: `2025-01-25T10:15:00.250Z`.
    Millis,
}

/// Appends a conversation as one JSON object without line breaks.
///
/// `variables` are copied as stored, with the exact text of each number; only line breaks between
/// their values become spaces, because an item is always one line. About 0.2 us.
///
/// ```
/// use convodb::{Channel, Conversation, ConversationId, Timestamp};
/// let at: Timestamp = "2025-01-25 10:15:00".parse()?;
/// let id: ConversationId = "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse()?;
/// let bot = "a1b2c3d4-5678-40ab-8def-1234567890ab".parse()?;
/// let conversation = Conversation::new(id, bot, Channel::Widget, at);
/// let mut line = Vec::new();
/// convodb_json::write_item(&mut line, &conversation.borrowed(), "Support");
/// assert!(line.starts_with(br#"{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","assistant_id":"#));
/// # Ok::<(), convodb::Error>(())
/// ```
#[inline]
pub fn write_item(out: &mut Vec<u8>, row: &ConversationRef<'_>, assistant_name: &str) {
    out.push(b'{');
    write_fields(out, row, assistant_name, TimeFormat::Seconds);
    out.push(b'}');
}

/// [`write_item`] with the name of the row's assistant from `names`, which also has both fields of
/// the assistant as JSON.
///
/// # Errors
/// As [`AssistantNames::name`]; `out` then contains a part of the item.
#[inline]
pub fn write_named_item(
    out: &mut Vec<u8>,
    row: &ConversationRef<'_>,
    names: &mut AssistantNames,
) -> Result<()> {
    json::raw(out, "{\"id\":");
    json::uuid(out, row.id.uuid());
    out.extend_from_slice(names.fields(row.assistant)?);
    write_rest(out, row, TimeFormat::Seconds);
    out.push(b'}');
    Ok(())
}

/// Appends a conversation as a line of an export, without the line break: the item with times to
/// the millisecond, and its messages if given.
///
/// [`Item::parse`](crate::Item::parse) returns the same conversation and the same messages, except
/// that line breaks between the values of `variables` and `function_calls` have become spaces.
/// About 0.2 us, plus 0.1 us a message.
///
/// ```
/// use convodb::{Channel, Conversation, ConversationId, Message, Role, Timestamp};
/// use convodb_json::{Item, write_line};
/// let at: Timestamp = "2025-01-25T10:15:00.250Z".parse()?;
/// let bot = "a1b2c3d4-5678-40ab-8def-1234567890ab".parse()?;
/// let mut conversation =
///     Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
/// conversation.message_count = 1;
/// let history = [Message::new(Role::User, "Hello!".to_owned(), at)?];
/// let mut line = Vec::new();
/// write_line(&mut line, &conversation.borrowed(), "Support", Some(&history));
///
/// let item = Item::parse(&line)?;
/// assert_eq!(item.conversation, conversation);
/// assert_eq!(item.messages, history);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_line(
    out: &mut Vec<u8>,
    row: &ConversationRef<'_>,
    assistant_name: &str,
    messages: Option<&[Message]>,
) {
    begin_line(out, row, assistant_name);
    if let Some(messages) = messages {
        json::raw(out, LINE_MESSAGES);
        for (at, message) in messages.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_line_message(out, message);
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// What precedes the messages of a line.
pub(crate) const LINE_MESSAGES: &str = ",\"messages\":[";

/// Appends the fields of a line, without its messages and its end.
pub(crate) fn begin_line(out: &mut Vec<u8>, row: &ConversationRef<'_>, assistant_name: &str) {
    out.push(b'{');
    write_fields(out, row, assistant_name, TimeFormat::Millis);
}

/// Appends a message of a line.
pub(crate) fn write_line_message(out: &mut Vec<u8>, message: &Message) {
    out.push(b'{');
    write_role_and_content(out, message);
    json::raw(out, ",\"cost\":");
    json::cost(out, message.cost());
    json::raw(out, ",\"created_at\":");
    json::exact_time(out, message.created_at());
    out.push(b'}');
}

/// Appends a message as an item of the array `history` of a single conversation.
pub fn write_history_message(out: &mut Vec<u8>, message: &Message) {
    out.push(b'{');
    write_role_and_content(out, message);
    json::raw(out, ",\"created_at\":");
    json::time(out, message.created_at());
    out.push(b'}');
}

/// Appends a preview as the value of an item's field `preview`: an object, or null for a conversation
/// without stored messages.
pub fn write_preview(out: &mut Vec<u8>, preview: Option<PreviewRef<'_>>) {
    let Some(Preview { first, last }) = preview else { return json::raw(out, "null") };
    for (name, Excerpt { role, text, created_at }) in [("{\"first\":", first), (",\"last\":", last)]
    {
        json::raw(out, name);
        json::raw(out, "{\"role\":\"");
        json::raw(out, role.as_str());
        json::raw(out, "\",\"content\":");
        json::string(out, text);
        json::raw(out, ",\"created_at\":");
        json::time(out, created_at);
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends the fields that exports and histories share: role, content and function calls.
fn write_role_and_content(out: &mut Vec<u8>, message: &Message) {
    json::raw(out, "\"role\":\"");
    json::raw(out, message.role().as_str());
    json::raw(out, "\",\"content\":");
    json::string(out, message.content());
    if let Some(calls) = message.function_calls() {
        json::raw(out, ",\"function_calls\":");
        json::one_line(out, calls);
    }
}

/// Appends the fields of an item, without the braces around them.
#[inline]
pub fn write_fields(
    out: &mut Vec<u8>,
    row: &ConversationRef<'_>,
    assistant_name: &str,
    times: TimeFormat,
) {
    json::raw(out, "\"id\":");
    json::uuid(out, row.id.uuid());
    write_assistant(out, row.assistant, assistant_name);
    write_rest(out, row, times);
}

/// Appends the fields after those of the assistant.
#[inline]
fn write_rest(out: &mut Vec<u8>, row: &ConversationRef<'_>, times: TimeFormat) {
    match row.channel {
        Channel::Test => json::raw(out, ",\"type\":\"test\",\"variables\":"),
        Channel::Widget => json::raw(out, ",\"type\":\"widget\",\"variables\":"),
        Channel::Whatsapp { .. } => json::raw(out, ",\"type\":\"whatsapp\",\"variables\":"),
        Channel::Api { .. } => json::raw(out, ",\"type\":\"api\",\"variables\":"),
    }
    match row.variables {
        Some(variables) => json::one_line(out, variables.get()),
        None => json::raw(out, "null"),
    }
    if let Some(identifier) = row.channel.external_identifier() {
        json::raw(out, ",\"external_identifier\":");
        json::string(out, identifier);
    }
    json::raw(out, ",\"message_count\":");
    json::integer(out, row.message_count.into());
    json::raw(out, ",\"total_cost\":");
    json::cost(out, row.total_cost);
    match row.ai_enabled {
        true => json::raw(out, ",\"ai_enabled\":true"),
        false => json::raw(out, ",\"ai_enabled\":false"),
    }
    write_times(out, row, times);
    if let Channel::Whatsapp { sender, customer } = &row.channel {
        json::raw(out, ",\"whatsapp_sender\":");
        write_contact(out, sender);
        json::raw(out, ",\"customer\":");
        write_contact(out, customer);
    }
}

/// Appends both times of an item, after a comma.
#[inline]
fn write_times(out: &mut Vec<u8>, row: &ConversationRef<'_>, times: TimeFormat) {
    match times {
        TimeFormat::Seconds => {
            // One fragment: the texts between the times are copied with them.
            let mut text =
                *b",\"created_at\":\"0000-00-00 00:00:00\",\"updated_at\":\"0000-00-00 00:00:00\"";
            text[15..34].copy_from_slice(&row.created_at.to_ascii());
            text[50..69].copy_from_slice(&row.updated_at.to_ascii());
            out.extend_from_slice(&text);
        }
        TimeFormat::Millis => {
            json::raw(out, ",\"created_at\":");
            json::exact_time(out, row.created_at);
            json::raw(out, ",\"updated_at\":");
            json::exact_time(out, row.updated_at);
        }
    }
}

#[inline]
pub(crate) fn write_contact(out: &mut Vec<u8>, contact: &Contact<&str>) {
    let name = contact.name.map(convodb::Name::get);
    let phone = contact.phone.map(convodb::Phone::get);
    // Almost all contacts: the quotation marks are part of what is between the texts.
    if let (Some(name), Some(phone)) = (name, phone)
        && !json::needs_escapes(name.as_bytes())
        && !json::needs_escapes(phone.as_bytes())
    {
        json::raw(out, "{\"name\":\"");
        json::raw(out, name);
        json::raw(out, "\",\"phone\":\"");
        json::raw(out, phone);
        return json::raw(out, "\"}");
    }
    json::raw(out, "{\"name\":");
    json::string_or_null(out, name);
    json::raw(out, ",\"phone\":");
    json::string_or_null(out, phone);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{Conversation, Cost, Variables};

    fn conversation(channel: Channel) -> Conversation {
        Conversation {
            message_count: 8,
            total_cost: "0.0032".parse().unwrap(),
            updated_at: "2025-01-25 10:28:45".parse().unwrap(),
            ..Conversation::new(
                "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse().unwrap(),
                "a1b2c3d4-5678-40ab-8def-1234567890ab".parse().unwrap(),
                channel,
                "2025-01-25 10:15:00".parse().unwrap(),
            )
        }
    }

    #[track_caller]
    fn check(conversation: &Conversation, expected: &str) {
        let mut out = Vec::new();
        write_item(&mut out, &conversation.borrowed(), "Support Assistant");
        let expected = format!(
            r#"{{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","assistant_name":"Support Assistant",{expected}}}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_whatsapp_item_is_the_documented_example() {
        let contact = |name: &str, phone: &str| Contact {
            name: Some(name.parse().unwrap()),
            phone: Some(phone.parse().unwrap()),
        };
        check(
            &conversation(Channel::Whatsapp {
                sender: contact("Acme Corp Support", "+14155551234"),
                customer: contact("John Doe", "+14155559876"),
            }),
            r#""type":"whatsapp","variables":null,"message_count":8,"total_cost":0.0032,"ai_enabled":true,"created_at":"2025-01-25 10:15:00","updated_at":"2025-01-25 10:28:45","whatsapp_sender":{"name":"Acme Corp Support","phone":"+14155551234"},"customer":{"name":"John Doe","phone":"+14155559876"}"#,
        );
    }

    #[test]
    fn absent_contacts_are_null_and_an_absent_identifier_is_left_out() {
        check(
            &conversation(Channel::Whatsapp {
                sender: Contact::default(),
                customer: Contact::default(),
            }),
            r#""type":"whatsapp","variables":null,"message_count":8,"total_cost":0.0032,"ai_enabled":true,"created_at":"2025-01-25 10:15:00","updated_at":"2025-01-25 10:28:45","whatsapp_sender":{"name":null,"phone":null},"customer":{"name":null,"phone":null}"#,
        );
        let named = |name: &str| Contact { name: name.parse().ok(), phone: None };
        check(
            &conversation(Channel::Whatsapp {
                sender: named("a"),
                customer: Contact { phone: "+\"1\"".parse().ok(), ..named("b\\c") },
            }),
            r#""type":"whatsapp","variables":null,"message_count":8,"total_cost":0.0032,"ai_enabled":true,"created_at":"2025-01-25 10:15:00","updated_at":"2025-01-25 10:28:45","whatsapp_sender":{"name":"a","phone":null},"customer":{"name":"b\\c","phone":"+\"1\""}"#,
        );
        check(
            &conversation(Channel::Api { external_identifier: None }),
            r#""type":"api","variables":null,"message_count":8,"total_cost":0.0032,"ai_enabled":true,"created_at":"2025-01-25 10:15:00","updated_at":"2025-01-25 10:28:45""#,
        );
    }

    #[test]
    fn an_external_identifier_follows_the_variables() {
        let identifier = "crm-\"1\"\n".parse().unwrap();
        let variables = "{ \"price\": 1.10,\n\"tags\":[],\"note\":\"a\\nb\" }".to_owned();
        check(
            &Conversation {
                variables: Some(Variables::new(variables).unwrap()),
                ai_enabled: false,
                total_cost: Cost::ZERO,
                ..conversation(Channel::Api { external_identifier: Some(identifier) })
            },
            r#""type":"api","variables":{ "price": 1.10, "tags":[],"note":"a\nb" },"external_identifier":"crm-\"1\"\n","message_count":8,"total_cost":0.0,"ai_enabled":false,"created_at":"2025-01-25 10:15:00","updated_at":"2025-01-25 10:28:45""#,
        );
    }
}
