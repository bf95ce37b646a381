//! What bodies are made of, each under its name in the document.

use convodb::{ExternalIdentifierKind, NameKind, PhoneKind};
use serde_json::json;
use utoipa::openapi::builders::AnyOfBuilder;
use utoipa::openapi::{AllOfBuilder, Object, Type};

use crate::openapi::builders::{
    Field, Shape, always, any_text, anything, boolean, constant, given_time, integer, kind, list,
    maybe, named, null, object, or_null, role, text, text_of, time, usd, uuid,
};

const COUNT: u64 = u32::MAX as u64;

type Message = convodb::Message<String>;
type Variables = convodb::Variables<String>;

/// All of them.
pub(super) fn schemas() -> Vec<(&'static str, Shape)> {
    vec![
        ("Conversation", object("A conversation, as lists show it", conversation()).into()),
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

/// What `status` says where all went well.
pub(super) fn went_well() -> Field {
    always("status", constant("", Type::Boolean, true))
}

/// How a request names an assistant.
fn assistant_name() -> Shape {
    AnyOfBuilder::new()
        .description(Some("One of the caller's assistants: its UUID, or its number in their list"))
        .item(uuid(""))
        .item(integer("", 0..=COUNT))
        .into()
}

fn variables(tells: &str) -> Object {
    let bytes = Variables::MAX_BYTES / 1024;
    let tells = format!("{tells}: at most {bytes} KiB, nested at most 127 deep");
    object(&tells, [])
}

fn conversation() -> Vec<Field> {
    let identifier = "The caller's own name for it; stands on `api` conversations that have one";
    vec![
        always("id", uuid("")),
        always("assistant_id", uuid("The assistant that has it")),
        always("assistant_name", any_text("The assistant's present name")),
        always("type", kind("Where it takes place")),
        always("variables", or_null(variables("The caller's own values"))),
        maybe("external_identifier", text_of::<ExternalIdentifierKind>(identifier)),
        always("message_count", integer("", 0..=COUNT)),
        always("total_cost", usd("What its messages cost")),
        always("ai_enabled", boolean("Whether the assistant answers")),
        always("created_at", time("When it began")),
        always("updated_at", time("When it was last changed")),
        maybe("whatsapp_sender", named("Contact")),
        maybe("customer", named("Contact")),
    ]
}

fn contact() -> Object {
    let name = or_null(text_of::<NameKind>("Null where nobody knows it"));
    let phone = or_null(text_of::<PhoneKind>("Null where there is none, as with a user name"));
    object(
        "One end of a WhatsApp conversation; stands where the type is `whatsapp`, and only there",
        [always("name", name), always("phone", phone)],
    )
}

fn given_contact() -> Object {
    let name = or_null(text_of::<NameKind>(""));
    let phone = or_null(text_of::<PhoneKind>("Kept and compared byte for byte"));
    object(
        "One end of a WhatsApp conversation: only where the type is `whatsapp`",
        [maybe("name", name), maybe("phone", phone)],
    )
}

fn calls() -> Shape {
    let bytes = Message::MAX_FUNCTION_CALLS_BYTES / 1024;
    list(&format!("What it calls, as its own text of at most {bytes} KiB"), anything())
}

fn message() -> Object {
    object(
        "A message of a history",
        [
            always("role", role()),
            always("content", text("", 0..=Message::MAX_CONTENT_BYTES)),
            maybe("function_calls", calls()),
            always("created_at", time("When it was said")),
        ],
    )
}

fn with_history() -> Shape {
    let history = always("history", list("The messages, in order", named("Message")));
    let own = object("", [went_well(), history]);
    AllOfBuilder::new().item(own).item(named("Conversation")).into()
}

fn changed() -> Shape {
    AllOfBuilder::new().item(object("", [went_well()])).item(named("Conversation")).into()
}

/// A reference to a schema, or null.
fn named_or_null(name: &str) -> Shape {
    AnyOfBuilder::new().item(named(name)).item(null("")).into()
}

/// `variables` of a request: null and PHP's empty object stand for none.
fn given_variables() -> Shape {
    let mut empty = utoipa::openapi::Array::default();
    empty.max_items = Some(0);
    AnyOfBuilder::new()
        .description(Some("The caller's own values; `[]`, PHP's empty object, and null are none"))
        .item(or_null(variables("An object, kept as its own text")))
        .item(empty)
        .into()
}

fn identifier() -> Object {
    let tells = "The caller's own name for it; only where the type is `api`";
    or_null(text_of::<ExternalIdentifierKind>(tells))
}

fn new_conversation() -> Object {
    let mut kind = or_null(kind("Where it takes place"));
    kind.default = Some(json!("widget"));
    object(
        "A conversation to create",
        [
            always("assistant_id", named("AssistantName")),
            maybe("type", kind),
            maybe("variables", given_variables()),
            maybe("external_identifier", identifier()),
            maybe("customer", named_or_null("GivenContact")),
            maybe("whatsapp_sender", named_or_null("GivenContact")),
            maybe("created_at", or_null(given_time("Now where nothing is said"))),
            maybe("id", or_null(uuid("One that the caller does not have yet; a new one if none"))),
        ],
    )
}

fn conversation_change() -> Object {
    object(
        "What is left out stays; null clears `variables`, the identifier, a contact or a part of one",
        [
            maybe("assistant_id", named("AssistantName")),
            maybe("ai_enabled", boolean("Whether the assistant answers")),
            maybe("variables", given_variables()),
            maybe("external_identifier", identifier()),
            maybe("customer", named_or_null("GivenContact")),
            maybe("whatsapp_sender", named_or_null("GivenContact")),
        ],
    )
}

fn new_message() -> Shape {
    let content = |tells: &str| text(tells, 0..=Message::MAX_CONTENT_BYTES);
    let rest = || {
        [
            maybe("function_calls", AnyOfBuilder::new().item(calls()).item(null(""))),
            maybe("cost", or_null(usd("What it cost"))),
            maybe("created_at", or_null(given_time("Now where nothing is said"))),
        ]
    };
    let mut speaker = or_null(role());
    speaker.default = Some(json!("user"));
    let [calls_field, cost, time] = rest();
    let full = object(
        "A message",
        [always("role", role()), always("content", content("")), calls_field, cost, time],
    );
    let [calls_field, cost, time] = rest();
    let said = "What is said; `content` is then left out";
    let mut short = object(
        "A message in the reference's words",
        [
            always("message", content(said)),
            maybe("role", speaker),
            maybe("content", null("")),
            calls_field,
            cost,
            time,
        ],
    );
    short.title = Some("As in the reference".to_owned());
    let mut full = full;
    full.properties.insert("message".to_owned(), null("").into());
    full.title = Some("With a role".to_owned());
    AnyOfBuilder::new().item(full).item(short).into()
}

fn imported() -> Object {
    let said = object(
        "",
        [
            always("role", role()),
            always("content", text("", 0..=Message::MAX_CONTENT_BYTES)),
            maybe("function_calls", calls()),
            maybe("cost", or_null(usd("What it cost"))),
            always("created_at", given_time("When it was said")),
        ],
    );
    object(
        "A line of an import or an export",
        [
            always("id", uuid("One that the caller has is left as it is")),
            always("assistant_id", uuid("Created with its name where the caller has none of it")),
            maybe("assistant_name", or_null(text_of::<NameKind>(""))),
            always("type", kind("Where it took place")),
            maybe("variables", given_variables()),
            maybe("external_identifier", identifier()),
            maybe("message_count", or_null(integer("No fewer than the messages given", 0..=COUNT))),
            maybe("total_cost", or_null(usd("The sum of the messages' costs if none"))),
            maybe("ai_enabled", or_null(boolean("True where nothing is said"))),
            always("created_at", given_time("When it began")),
            maybe("updated_at", or_null(given_time("When it was last changed"))),
            maybe("whatsapp_sender", named_or_null("GivenContact")),
            maybe("customer", named_or_null("GivenContact")),
            maybe("messages", list("Its history, in order", said)),
        ],
    )
}

fn assistant() -> Object {
    object(
        "An assistant",
        [
            always("id", integer("Its number, which filters and bodies take", 1..=COUNT)),
            always("uuid", uuid("")),
            always("name", text_of::<NameKind>("")),
        ],
    )
}
