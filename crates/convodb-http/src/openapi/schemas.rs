//! Schema components: the named schemas of request and response bodies.

use convodb::{ExternalIdentifier, Message, Name, Phone, Variables};
use serde_json::json;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{AllOfBuilder, Object, Type};

use crate::openapi::builders::{
    Field, SchemaRef, any_json, boolean, constant, conversation_type, enumeration, given_uuid,
    integer, list, named, null, object, optional, or_null, pattern, required, role, string, text,
    text_of, time, time_input, usd, usd_sum, uuid,
};

const COUNT: u64 = u32::MAX as u64;
/// How queries and bodies name an assistant.
pub(super) const ASSISTANT: &str =
    "An assistant of the user: its UUID, or its number in the list of assistants";

/// All schema components but those of errors.
pub(super) fn schemas() -> Vec<(&'static str, SchemaRef)> {
    vec![
        ("Conversation", object("A conversation, as lists contain it", conversation()).into()),
        ("Contact", contact().into()),
        ("GivenContact", given_contact().into()),
        ("Message", message().into()),
        ("ConversationWithHistory", with_history()),
        ("ChangedConversation", changed()),
        ("NewConversation", new_conversation().into()),
        ("ConversationChange", conversation_change().into()),
        ("NewMessage", new_message()),
        ("ImportedConversation", imported().into()),
        ("Assistant", assistant().into()),
        ("AssistantName", assistant_name()),
    ]
}

/// The field `status` of a success.
pub(super) fn status_true() -> Field {
    required("status", constant("", Type::Boolean, true))
}

fn assistant_name() -> SchemaRef {
    AnyOfBuilder::new()
        .description(Some(ASSISTANT))
        .item(uuid(""))
        .item(integer("", 0..=COUNT))
        .item(pattern("The number in a string", r"^\d{1,9}$"))
        .into()
}

fn variables(description: &str) -> Object {
    let kib = Variables::MAX_BYTES / 1024;
    let description = format!("{description}: at most {kib} KiB, nested at most 127 levels deep");
    object(&description, [])
}

fn conversation() -> Vec<Field> {
    let identifier = "The client's own identifier; present on `api` conversations that have one";
    vec![
        required("id", uuid("")),
        required("assistant_id", uuid("The UUID of its assistant")),
        required("assistant_name", string("The current name of the assistant")),
        required("type", conversation_type("The channel")),
        required("variables", or_null(variables("Values of the client's choice"))),
        optional("external_identifier", text_of(ExternalIdentifier::MAX_BYTES, identifier)),
        required("message_count", integer("", 0..=COUNT)),
        required("total_cost", usd_sum("The total cost of its messages")),
        required("ai_enabled", boolean("Whether the assistant replies")),
        required("created_at", time("Time of creation")),
        required("updated_at", time("Time of the last change")),
        optional("whatsapp_sender", named("Contact")),
        optional("customer", named("Contact")),
    ]
}

fn contact() -> Object {
    let name = or_null(text_of(Name::MAX_BYTES, "Null if unknown"));
    let phone = or_null(text_of(
        Phone::MAX_BYTES,
        "Null if there is none: a WhatsApp user with a username may have no phone",
    ));
    object(
        "One end of a WhatsApp conversation; present exactly if the type is `whatsapp`",
        [required("name", name), required("phone", phone)],
    )
}

fn given_contact() -> Object {
    let name = or_null(text("Blank for none", 0..=Name::MAX_BYTES));
    let phone = "Stored and compared byte for byte; blank for none";
    let phone = or_null(text(phone, 0..=Phone::MAX_BYTES));
    object(
        "One end of a WhatsApp conversation; allowed only if the type is `whatsapp`",
        [optional("name", name), optional("phone", phone)],
    )
}

fn function_calls(extension: &str) -> SchemaRef {
    let kib = Message::MAX_FUNCTION_CALLS_BYTES / 1024;
    let description =
        format!("{extension}The function calls, stored as JSON text of at most {kib} KiB");
    list(&description, any_json())
}

fn message() -> Object {
    object(
        "A message of a history",
        [
            required("role", role()),
            required("content", text("", 0..=Message::MAX_CONTENT_BYTES)),
            optional("function_calls", function_calls("Present if the message has any. ")),
            required("created_at", time("Extension. Time of the message")),
        ],
    )
}

fn with_history() -> SchemaRef {
    let history = required("history", list("The messages, in order", named("Message")));
    let page = "Only in a page of the history. ";
    let cursor = |which: &str| or_null(string(&format!("{page}The cursor of the page {which}")));
    let own = object(
        "",
        [
            status_true(),
            history,
            optional("per_page", integer(&format!("{page}Its size"), 1..=100)),
            optional("next_cursor", cursor("after it; null for the last one")),
            optional("prev_cursor", cursor("before it; null for the first one")),
        ],
    );
    AllOfBuilder::new().item(own).item(named("Conversation")).into()
}

fn changed() -> SchemaRef {
    AllOfBuilder::new().item(object("", [status_true()])).item(named("Conversation")).into()
}

/// A reference to a schema component, or null.
fn named_or_null(name: &str) -> SchemaRef {
    AnyOfBuilder::new().item(named(name)).item(null("")).into()
}

/// `variables` of a request. Null and `[]`, which PHP writes for an empty object, both mean none.
fn given_variables() -> SchemaRef {
    let mut empty = utoipa::openapi::Array::default();
    empty.max_items = Some(0);
    AnyOfBuilder::new()
        .description(Some(
            "Values of the client's choice. Null means none, and so does `[]`, which PHP writes \
             for an empty object",
        ))
        .item(or_null(variables("An object, stored as its JSON text")))
        .item(empty)
        .into()
}

fn identifier(extension: &str) -> Object {
    let description = format!(
        "{extension}The client's own identifier; blank for none; allowed only if the type \
                 is `api`"
    );
    or_null(text(&description, 0..=ExternalIdentifier::MAX_BYTES))
}

fn new_conversation() -> Object {
    let mut channel = or_null(conversation_type("The channel. Extension: `whatsapp` and `api`"));
    channel.default = Some(json!("widget"));
    let created_at = "Extension. Time of creation; the current time by default";
    let id = "Extension. An id that no other conversation of the user has; a new UUID (version 7) \
              by default";
    object(
        "A conversation to create. The contacts are an extension",
        [
            required("assistant_id", named("AssistantName")),
            optional("type", channel),
            optional("variables", given_variables()),
            optional("external_identifier", identifier("Extension. ")),
            optional("customer", named_or_null("GivenContact")),
            optional("whatsapp_sender", named_or_null("GivenContact")),
            optional("created_at", or_null(time_input(created_at))),
            optional("id", or_null(given_uuid(id))),
        ],
    )
}

fn conversation_change() -> Object {
    object(
        "The fields to change. An absent field stays as it is; null, or a blank string, \
         clears `variables`, the identifier, a contact, or a part of a contact; where the type does \
         not have the field, nothing changes",
        [
            optional("assistant_id", named("AssistantName")),
            optional("ai_enabled", boolean("Whether the assistant replies")),
            optional("variables", given_variables()),
            optional("external_identifier", identifier("")),
            optional("customer", named_or_null("GivenContact")),
            optional("whatsapp_sender", named_or_null("GivenContact")),
        ],
    )
}

fn new_message() -> SchemaRef {
    let content = |description: &str| text(description, 0..=Message::MAX_CONTENT_BYTES);
    let created_at = "Extension. Time of the message; the current time by default";
    let rest = || {
        let calls = AnyOfBuilder::new().item(function_calls("Extension. ")).item(null(""));
        [
            optional("function_calls", calls),
            optional("cost", or_null(usd("Extension. The cost of the message; 0 by default"))),
            optional("created_at", or_null(time_input(created_at))),
        ]
    };
    let mut author = or_null(role());
    author.default = Some(json!("user"));
    let part =
        object("", [required("type", enumeration("", ["text"])), required("text", string(""))]);
    let given = AnyOfBuilder::new()
        .description(Some("A text, or parts of text, which become its lines"))
        .item(content(""))
        .item(list("", part));
    let [calls, cost, time] = rest();
    let mut with_role = object(
        "A message with a role",
        [required("role", role()), required("content", given), calls, cost, time],
    );
    with_role.properties.insert("message".to_owned(), null("").into());
    with_role.title = Some("Extension: with a role".to_owned());
    let with_calls = |field, title: &str| {
        let [_, cost, time] = rest();
        let description = "A message that calls functions, with or without a content";
        let content = or_null(content(""));
        let calls = required(field, function_calls(""));
        let mut message = object(
            description,
            [required("role", role()), optional("content", content), calls, cost, time],
        );
        message.properties.insert("message".to_owned(), null("").into());
        message.title = Some(title.to_owned());
        message
    };
    let [calls, cost, time] = rest();
    let text = "The text of the message; `content` must then be absent or null";
    let mut as_reference = object(
        "A message in the form of the reference API",
        [
            required("message", content(text)),
            optional("role", author),
            optional("content", null("")),
            calls,
            cost,
            time,
        ],
    );
    as_reference.title = Some("As in the reference API".to_owned());
    AnyOfBuilder::new()
        .item(with_role)
        .item(as_reference)
        .item(with_calls("function_calls", "Extension: with function calls"))
        .item(with_calls("tool_calls", "Extension: in the form of OpenAI"))
        .into()
}

fn imported() -> Object {
    let message = object(
        "",
        [
            required("role", role()),
            required("content", text("", 0..=Message::MAX_CONTENT_BYTES)),
            optional("function_calls", function_calls("")),
            optional("cost", or_null(usd("The cost of the message; 0 by default"))),
            required("created_at", time_input("Time of the message")),
        ],
    );
    let assistant = "Created with `assistant_name` if the user has no assistant with this UUID";
    let count = "At least the number of `messages`, which is the default";
    let cost = "The total cost; the sum of the costs of `messages` by default";
    let ai_enabled = "Whether the assistant replies; true by default";
    let updated_at = "Time of the last change; `created_at` by default";
    object(
        "A line of an import or an export",
        [
            required("id", uuid("A conversation of the user with this id is left unchanged")),
            required("assistant_id", uuid(assistant)),
            optional("assistant_name", or_null(text_of(Name::MAX_BYTES, ""))),
            required("type", conversation_type("The channel")),
            optional("variables", given_variables()),
            optional("external_identifier", identifier("")),
            optional("message_count", or_null(integer(count, 0..=COUNT))),
            optional("total_cost", or_null(usd(cost))),
            optional("ai_enabled", or_null(boolean(ai_enabled))),
            required("created_at", time_input("Time of creation")),
            optional("updated_at", or_null(time_input(updated_at))),
            optional("whatsapp_sender", named_or_null("GivenContact")),
            optional("customer", named_or_null("GivenContact")),
            optional("messages", list("The history, in order", message)),
        ],
    )
}

fn assistant() -> Object {
    object(
        "An assistant",
        [
            required("id", integer("Its number, as filters and bodies accept it", 1..=COUNT)),
            required("uuid", uuid("")),
            required("name", text_of(Name::MAX_BYTES, "")),
        ],
    )
}
