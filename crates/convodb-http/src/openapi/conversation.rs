//! One conversation: made, read, changed, deleted; and whether its assistant answers.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{always, boolean, list, named, object, uuid};
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::error_responses::Refusal;
use crate::openapi::schemas::went_well;
use crate::openapi::{CONVERSATIONS, examples};

const ALL: &str = "/api/conversations";
const CREATE: &str = "Create a conversation";
const ONE: &str = "/api/conversations/{uuid}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        create(),
        read(),
        change(),
        delete(),
        ai("/api/automate/conversations/{uuid}/enable-ai", "enableAi", true),
        ai("/api/automate/conversations/{uuid}/disable-ai", "disableAi", false),
    ]
}

/// An endpoint of one conversation, which may not be there.
pub(super) fn of_one(
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Endpoint {
    Endpoint::new(method, path, CONVERSATIONS, id, summary)
        .in_path("uuid", uuid("The conversation's id"), examples::CONVERSATION)
        .or(Refusal::ConversationNotFound)
}

fn create() -> Endpoint {
    let created = object(
        "",
        [
            went_well(),
            always("conversation_id", uuid("")),
            always("history", list("Empty", named("Message"))),
        ],
    );
    let whole = json!({
        "assistant_id": 1,
        "type": "api",
        "external_identifier": "crm-1",
        "variables": {"plan": "pro"},
        "created_at": "2025-07-24 09:12:40",
        "id": examples::CREATED,
    });
    let whatsapp = json!({
        "assistant_id": examples::ASSISTANT,
        "type": "whatsapp",
        "customer": {"name": "John Doe", "phone": "+14155559876"},
    });
    let answer = json!({"status": true, "conversation_id": examples::CREATED, "history": []});
    Endpoint::new(HttpMethod::Post, ALL, CONVERSATIONS, "createConversation", CREATE)
        .tells("On disk before it is answered.")
        .takes(
            named("NewConversation"),
            [
                Body::new("api", "With all that may be given", whole),
                Body::new("whatsapp", "Of WhatsApp, with the customer's end", whatsapp),
                Body::new("widget", "The least", json!({"assistant_id": 1})),
            ],
        )
        .once()
        .writes()
        .or(Refusal::AssistantNotFound)
        .answers("Created", created.into(), [Body::new("api", "", answer)])
}

fn read() -> Endpoint {
    let start = json!({"status": true, "history": examples::history()});
    of_one(HttpMethod::Get, ONE, "readConversation", "Read a conversation")
        .tells("The fields of the list, behind `status` and the history, of one moment.")
        .answers(
            "The conversation",
            named("ConversationWithHistory"),
            Body::one(examples::before(start, examples::item())),
        )
}

fn change() -> Endpoint {
    let body = json!({"customer": {"name": "Jo"}, "variables": {"plan": "pro"}});
    let answer = examples::before(json!({"status": true}), examples::item());
    let changed = json!({
        "variables": {"plan": "pro"},
        "customer": {"name": "Jo", "phone": "+14155559876"},
        "message_count": 3,
    });
    of_one(HttpMethod::Patch, ONE, "changeConversation", "Change a conversation")
        .tells(
            "Of a contact only the given parts change. Type, id and time of creation never change, \
             and a change never moves a conversation in the list.",
        )
        .takes(named("ConversationChange"), Body::one(body))
        .writes()
        .answers(
            "The conversation as it is now",
            named("ChangedConversation"),
            Body::one(examples::before(answer, changed)),
        )
}

fn delete() -> Endpoint {
    of_one(HttpMethod::Delete, ONE, "deleteConversation", "Delete a conversation")
        .tells("With its messages.")
        .writes()
        .answers("Deleted", object("", [went_well()]).into(), Body::one(json!({"status": true})))
}

fn ai(path: &'static str, id: &'static str, enabled: bool) -> Endpoint {
    let summary = if enabled { "Switch the assistant on" } else { "Switch the assistant off" };
    let shape = object("", [went_well(), always("ai_enabled", boolean(""))]);
    of_one(HttpMethod::Post, path, id, summary)
        .tells("Takes no body. Doing it twice is as doing it once.")
        .writes()
        .answers(
            "As it is now",
            shape.into(),
            Body::one(json!({"status": true, "ai_enabled": enabled})),
        )
}
