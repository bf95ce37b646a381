//! Selection: which fields of an item a client wants.

use convodb::{Channel, ConversationRef, Result};

use crate::assistant_names::AssistantNames;
use crate::json;
use crate::write::write_contact;

/// The names of the fields of an item, in the order in which an item has them.
const NAMES: [&str; 13] = [
    "id",
    "assistant_id",
    "assistant_name",
    "type",
    "variables",
    "external_identifier",
    "message_count",
    "total_cost",
    "ai_enabled",
    "created_at",
    "updated_at",
    "whatsapp_sender",
    "customer",
];

/// A set of fields of an item. A field that the type of a conversation does not have is left out of
/// its item, as in a whole one.
///
/// ```
/// use convodb_json::ItemFields;
/// let fields = ItemFields::NONE.with("id").and_then(|fields| fields.with("customer"));
/// assert!(fields.is_some_and(|fields| fields.has("customer")));
/// assert_eq!(ItemFields::NONE.with("phone"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemFields(u16);

impl ItemFields {
    /// No field.
    pub const NONE: ItemFields = ItemFields(0);
    /// Every field.
    pub const ALL: ItemFields = ItemFields((1 << NAMES.len()) - 1);

    /// The names of all fields, in the order of an item.
    #[must_use]
    pub const fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// The set with one field more; `None` if items have no field of this name.
    #[must_use]
    pub fn with(self, name: &str) -> Option<Self> {
        let number = NAMES.iter().position(|known| *known == name)?;
        Some(Self(self.0 | 1 << number))
    }

    /// Whether the set has the field of this name.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        NAMES.iter().position(|known| *known == name).is_some_and(|at| self.0 >> at & 1 == 1)
    }
}

/// Appends the selected fields of a conversation as one JSON object without line breaks, in the order
/// of [`write_item`](crate::write_item). Reads the name of the assistant only if it is selected.
///
/// # Errors
/// As [`AssistantNames::name`]; `out` then contains a part of the item.
pub fn write_selected_item(
    out: &mut Vec<u8>,
    row: &ConversationRef<'_>,
    names: &mut AssistantNames,
    fields: ItemFields,
) -> Result<()> {
    out.push(b'{');
    let start = out.len();
    for (number, name) in NAMES.into_iter().enumerate() {
        if fields.0 >> number & 1 == 0 || !has_field(row, name) {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        json::string(out, name);
        out.push(b':');
        write_value(out, row, names, name)?;
    }
    out.push(b'}');
    Ok(())
}

/// Whether a conversation of this type has the field.
fn has_field(row: &ConversationRef<'_>, name: &str) -> bool {
    match name {
        "external_identifier" => row.channel.external_identifier().is_some(),
        "whatsapp_sender" | "customer" => matches!(row.channel, Channel::Whatsapp { .. }),
        _ => true,
    }
}

fn write_value(
    out: &mut Vec<u8>,
    row: &ConversationRef<'_>,
    names: &mut AssistantNames,
    name: &str,
) -> Result<()> {
    match (name, &row.channel) {
        ("id", _) => json::uuid(out, row.id.uuid()),
        ("assistant_id", _) => json::uuid(out, row.assistant.uuid()),
        ("assistant_name", _) => json::string(out, names.name(row.assistant)?),
        ("type", channel) => json::string(out, channel.kind().as_str()),
        ("variables", _) => match row.variables {
            Some(variables) => json::one_line(out, variables.get()),
            None => json::raw(out, "null"),
        },
        ("message_count", _) => json::integer(out, row.message_count.into()),
        ("total_cost", _) => json::cost(out, row.total_cost),
        ("ai_enabled", _) => json::raw(out, if row.ai_enabled { "true" } else { "false" }),
        ("created_at", _) => json::time(out, row.created_at),
        ("updated_at", _) => json::time(out, row.updated_at),
        ("whatsapp_sender", Channel::Whatsapp { sender, .. }) => write_contact(out, sender),
        ("customer", Channel::Whatsapp { customer, .. }) => write_contact(out, customer),
        (_, channel) => json::string_or_null(out, channel.external_identifier()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{AssistantId, Contact, Conversation, ConversationId, Store, Timestamp};

    use crate::write::write_item;

    /// All fields together are the item; each of them alone is its part of the item.
    #[test]
    fn a_selection_is_a_part_of_the_item() {
        let store = Store::in_memory().unwrap();
        let at: Timestamp = "2025-01-25 10:15:00".parse().unwrap();
        let user = store.create_user("Acme", at).unwrap().id;
        let bot = AssistantId::generate(at);
        store.create_assistant(user, bot, "Sup\"port").unwrap();
        let mut names = AssistantNames::new(store.snapshot(), user);
        let contact = Contact { name: Some("Jo".parse().unwrap()), phone: None };
        for channel in [
            Channel::Test,
            Channel::Api { external_identifier: Some("crm-1".parse().unwrap()) },
            Channel::Api { external_identifier: None },
            Channel::Whatsapp { sender: contact.clone(), customer: contact },
        ] {
            let row = Conversation::new(ConversationId::generate(at), bot, channel, at);
            let row = row.borrowed();
            let mut select = |fields| {
                let mut out = Vec::new();
                write_selected_item(&mut out, &row, &mut names, fields).unwrap();
                out
            };
            let mut whole = Vec::new();
            write_item(&mut whole, &row, "Sup\"port");
            assert_eq!(select(ItemFields::ALL), whole);
            let item: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            for name in ItemFields::names() {
                let one = select(ItemFields::NONE.with(name).unwrap());
                let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
                let expected = item.get(name).map(|value| serde_json::json!({ *name: value }));
                assert_eq!(one, expected.unwrap_or_else(|| serde_json::json!({})), "{name}");
            }
            assert_eq!(select(ItemFields::NONE), b"{}");
        }
    }
}
