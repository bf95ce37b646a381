//! Schema components: the named schemas of request and response bodies.

use convodb::{ChannelKind, ExternalIdentifier, Message, Name, Phone, Role, Variables};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ArrayBuilder, Object, OneOfBuilder, Type};

use crate::openapi::builders::{
    Field, SchemaRef, any_json, boolean, enumeration, free_object, given_uuid, integer, list,
    named, named_or_null, object, optional, or_null, pattern, required, string, text, text_of,
    time, time_input, usd, usd_sum, uuid,
};
use crate::openapi::parts::{ASSISTANT, CONVERSATION_TYPE, status_true};
use crate::openapi::{
    changes, conversation as one, list as all, messages, probes, stats, transfer, user,
};

const COUNT: u64 = u32::MAX as u64;
/// The component of the authors of messages.
const ROLE: &str = "Role";

/// All schema components but those of errors.
///
/// Each body is one of them, and so is each object inside another one and each type that is used
/// twice: code generators name their types after components.
pub(super) fn schemas() -> Vec<(&'static str, SchemaRef)> {
    let types = ChannelKind::ALL.map(ChannelKind::as_str);
    let roles = Role::ALL.map(Role::as_str);
    vec![
        (CONVERSATION_TYPE, enumeration("The channel of a conversation", types).into()),
        (ROLE, enumeration("The author of a message", roles).into()),
        ("Conversation", object("A conversation, as lists contain it", conversation()).into()),
        ("ConversationPage", all::page()),
        ("ConversationTotal", all::total()),
        ("Change", changes::change()),
        ("ChangeKind", changes::kind()),
        ("ChangePage", changes::page()),
        ("Statistics", stats::statistics()),
        ("Grouping", stats::grouping()),
        ("StatisticsGroup", stats::group()),
        ("StatisticsTotal", stats::total()),
        ("Contact", contact().into()),
        ("GivenContact", given_contact().into()),
        ("Message", message().into()),
        ("ConversationWithHistory", with_history().into()),
        ("ChangedConversation", changed().into()),
        ("CreatedConversation", one::created()),
        ("Success", one::success()),
        ("AiSetting", one::ai_setting()),
        ("NewConversation", new_conversation().into()),
        ("ConversationChange", conversation_change().into()),
        ("NewMessage", new_message().into()),
        ("MessageContent", message_content()),
        ("TextPart", text_part().into()),
        ("AppendedMessage", messages::appended()),
        ("ImportedConversation", imported().into()),
        ("ImportedMessage", imported_message().into()),
        ("ImportReport", transfer::report()),
        ("RejectedLine", transfer::rejected_line()),
        ("User", user::user()),
        ("Assistant", assistant().into()),
        ("AssistantPage", user::page()),
        ("AssistantRef", assistant_ref()),
        ("NewAssistant", user::new_assistant()),
        ("AssistantRename", user::new_name()),
        ("ServerIndex", probes::index()),
        ("Health", probes::health()),
        ("OpenApiDocument", probes::description()),
    ]
}

/// The alternatives exclude each other, so that generated types are unions of a text and a number.
fn assistant_ref() -> SchemaRef {
    let uuid = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
    let text = "Its UUID, or its number in a string; a blank one counts as not given";
    OneOfBuilder::new()
        .description(Some(ASSISTANT))
        .item(pattern(text, &format!(r"^({uuid}|\d{{1,9}})?$")))
        .item(integer("Its number", 0..=COUNT))
        .into()
}

/// A description of `variables`, with their bounds.
fn variables(description: &str) -> String {
    let kib = Variables::MAX_BYTES / 1024;
    format!("{description}: at most {kib} KiB, nested at most 127 levels deep")
}

fn conversation() -> Vec<Field> {
    let identifier = "The client's own identifier; present on `api` conversations that have one";
    vec![
        required("id", uuid("")),
        required("assistant_id", uuid("The UUID of its assistant")),
        required("assistant_name", string("The current name of the assistant")),
        required("type", named(CONVERSATION_TYPE)),
        required("variables", or_null(free_object(&variables("Values of the client's choice")))),
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
            required("role", named(ROLE)),
            required("content", text("", 0..=Message::MAX_CONTENT_BYTES)),
            optional("function_calls", function_calls("Present if the message has any. ")),
            required("created_at", time("Extension. Time of the message")),
        ],
    )
}

fn with_history() -> Object {
    let history = required("history", list("The messages, in order", named("Message")));
    let page = "Only in a page of the history. ";
    let cursor = |which: &str| or_null(string(&format!("{page}The cursor of the page {which}")));
    let end = [
        optional("per_page", integer(&format!("{page}Its size"), 1..=100)),
        optional("next_cursor", cursor("after it; null for the last one")),
        optional("prev_cursor", cursor("before it; null for the first one")),
    ];
    let fields = [status_true(), history].into_iter().chain(conversation()).chain(end);
    object("A conversation with its history, or with a page of it", fields)
}

fn changed() -> Object {
    object("A changed conversation", [status_true()].into_iter().chain(conversation()))
}

/// `variables` of a request. Null and `[]`, which PHP writes for an empty object, both mean none.
fn given_variables() -> SchemaRef {
    let description = variables(
        "Values of the client's choice, stored as JSON text; null, or the `[]` that PHP writes for \
         an empty object, means none",
    );
    // Code generators make a map of this, and of alternatives a type without use.
    ArrayBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Array, Type::Null]))
        .description(Some(description))
        .items(any_json())
        .max_items(Some(0))
        .extensions(Some(Extensions::from_iter([("additionalProperties", true)])))
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
    // A default in the schema would make the field required in some generated types.
    let channel = "The channel; `widget` by default. Extension: `whatsapp` and `api`";
    let created_at = "Extension. Time of creation; the current time by default";
    let id = "Extension. An id that no other conversation of the user has; a new UUID (version 7) \
              by default";
    object(
        "A conversation to create. The contacts are an extension",
        [
            required("assistant_id", named("AssistantRef")),
            optional("type", named_or_null(CONVERSATION_TYPE, channel)),
            optional("variables", given_variables()),
            optional("external_identifier", identifier("Extension. ")),
            optional("customer", named_or_null("GivenContact", "")),
            optional("whatsapp_sender", named_or_null("GivenContact", "")),
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
            optional("assistant_id", named("AssistantRef")),
            optional("ai_enabled", boolean("Whether the assistant replies")),
            optional("variables", given_variables()),
            optional("external_identifier", identifier("")),
            optional("customer", named_or_null("GivenContact", "")),
            optional("whatsapp_sender", named_or_null("GivenContact", "")),
        ],
    )
}

/// All forms of a message in one object, because code generators and tools of language models need
/// the fields at the top. Which of them belong together is in the description alone.
fn new_message() -> Object {
    let author = "The author; `user` by default beside `message`, required beside `content`";
    let content = "Extension. The text, or parts of text, which become its lines. May be missing \
                   beside function calls";
    let message = "The text, as in the reference API; `content` must then be absent or null";
    let calls = or_null_list("Extension. The function calls, stored as JSON text");
    let tool_calls = or_null_list("Extension. The function calls, under OpenAI's name");
    let cost = "Extension. The cost of the message; 0 by default";
    let created_at = "Extension. Time of the message; the current time by default";
    let text = or_null(text(message, 0..=Message::MAX_CONTENT_BYTES));
    object(
        "A message: `message` alone, as in the reference API, or, as an extension, `role` with \
         `content`, `function_calls` or `tool_calls`",
        [
            optional("message", text),
            optional("role", named_or_null(ROLE, author)),
            optional("content", named_or_null("MessageContent", content)),
            optional("function_calls", calls),
            optional("tool_calls", tool_calls),
            optional("cost", or_null(usd(cost))),
            optional("created_at", or_null(time_input(created_at))),
        ],
    )
}

/// An array of any values, or null.
fn or_null_list(description: &str) -> SchemaRef {
    let kib = Message::MAX_FUNCTION_CALLS_BYTES / 1024;
    let description = format!("{description}: at most {kib} KiB");
    ArrayBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Array, Type::Null]))
        .description(Some(description))
        .items(any_json())
        .into()
}

fn message_content() -> SchemaRef {
    OneOfBuilder::new()
        .description(Some("A text, or parts of text, which become its lines"))
        .item(text("", 0..=Message::MAX_CONTENT_BYTES))
        .item(list("", named("TextPart")))
        .into()
}

fn text_part() -> Object {
    object(
        "A part of a text, in the form of OpenAI",
        [required("type", enumeration("", ["text"])), required("text", string(""))],
    )
}

fn imported_message() -> Object {
    object(
        "A message of an import or an export",
        [
            required("role", named(ROLE)),
            required("content", text("", 0..=Message::MAX_CONTENT_BYTES)),
            optional("function_calls", function_calls("")),
            optional("cost", or_null(usd("The cost of the message; 0 by default"))),
            required("created_at", time_input("Time of the message")),
        ],
    )
}

fn imported() -> Object {
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
            required("type", named(CONVERSATION_TYPE)),
            optional("variables", given_variables()),
            optional("external_identifier", identifier("")),
            optional("message_count", or_null(integer(count, 0..=COUNT))),
            optional("total_cost", or_null(usd(cost))),
            optional("ai_enabled", or_null(boolean(ai_enabled))),
            required("created_at", time_input("Time of creation")),
            optional("updated_at", or_null(time_input(updated_at))),
            optional("whatsapp_sender", named_or_null("GivenContact", "")),
            optional("customer", named_or_null("GivenContact", "")),
            optional("messages", list("The history, in order", named("ImportedMessage"))),
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
