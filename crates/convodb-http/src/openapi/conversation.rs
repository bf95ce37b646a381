//! OpenAPI of single conversations: create, read, change, delete, enable and disable AI.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{SchemaRef, boolean, list, named, object, pattern, required, uuid};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::error_responses::ErrorResponse;
use crate::openapi::parts::status_true;
use crate::openapi::{CONVERSATIONS, examples};

const ALL: &str = "/api/conversations";
const CURSOR: &str = "Extension. The `next_cursor` or `prev_cursor` of a page of this history";
const CREATE: &str = "Create a conversation";
const ONE: &str = "/api/conversations/{uuid}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        create(),
        read(),
        change(),
        delete(),
        set_ai("/api/automate/conversations/{uuid}/enable-ai", "enableAi", true),
        set_ai("/api/automate/conversations/{uuid}/disable-ai", "disableAi", false),
    ]
}

/// An endpoint of one conversation, which answers 404 if it does not exist.
pub(super) fn of_one(
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Endpoint {
    of_example(method, path, id, summary, examples::CONVERSATION)
}

fn of_example(
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    example: &str,
) -> Endpoint {
    Endpoint::new(method, path, CONVERSATIONS, id, summary)
        .path_parameter("uuid", uuid("The id of the conversation"), example)
        .fails_with(ErrorResponse::ConversationNotFound)
}

/// The response to a new conversation.
pub(super) fn created() -> SchemaRef {
    object(
        "A created conversation",
        [
            status_true(),
            required("conversation_id", uuid("")),
            required("history", list("Always empty", named("Message"))),
        ],
    )
    .into()
}

/// The response to a write that has nothing else to tell.
pub(super) fn success() -> SchemaRef {
    object("The write succeeded", [status_true()]).into()
}

/// The response to a change of `ai_enabled`.
pub(super) fn ai_setting() -> SchemaRef {
    object(
        "Whether the assistant replies",
        [status_true(), required("ai_enabled", boolean("The new value"))],
    )
    .into()
}

fn create() -> Endpoint {
    let all_fields = json!({
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
    let response = json!({"status": true, "conversation_id": examples::CREATED, "history": []});
    Endpoint::new(HttpMethod::Post, ALL, CONVERSATIONS, "createConversation", CREATE)
        .description("Creates a conversation, which is on disk before the response is sent.")
        .json_body(
            named("NewConversation"),
            [
                Example::new("api", "All fields of an API conversation", all_fields),
                Example::new("whatsapp", "A WhatsApp conversation with its customer", whatsapp),
                Example::new("widget", "Required fields only", json!({"assistant_id": 1})),
            ],
        )
        .idempotent("create-9f1c4a6e")
        .writes()
        .fails_with(ErrorResponse::AssistantNotFound)
        .returns("Created", named("CreatedConversation"), [Example::new("api", "", response)])
}

fn read() -> Endpoint {
    let start = json!({"status": true, "history": examples::history()});
    let whole = examples::merged(start, examples::item());
    let cursors = json!({"per_page": 15, "next_cursor": null, "prev_cursor": null});
    let page = examples::merged(whole.clone(), cursors);
    of_one(HttpMethod::Get, ONE, "readConversation", "Read a conversation")
        .description(
            "Returns `status`, the history, and the fields of the list, all from one snapshot. The \
             reference API documents `status` and `history`; the fields of the list are an \
             extension.\n\nPages of the history are an extension, too: with `per_page` or `cursor` \
             the response has a part of the messages, and cursors of the parts before and after \
             it. Without either it has the whole history, which is streamed if it is long.",
        )
        .per_page()
        .query("cursor", pattern(CURSOR, r"^((after|before)-\d{1,9})?$"), "")
        .cached()
        .returns(
            "The conversation",
            named("ConversationWithHistory"),
            [
                Example::new("page", "A page of the history, as `per_page` requests it", page),
                Example::new("whole", "The whole history, without parameters", whole),
            ],
        )
}

fn change() -> Endpoint {
    let body = json!({"customer": {"name": "Jo"}, "variables": {"plan": "pro"}});
    let response = examples::merged(json!({"status": true}), examples::item());
    let changed = json!({
        "variables": {"plan": "pro"},
        "customer": {"name": "Jo", "phone": "+14155559876"},
        "message_count": 3,
    });
    of_one(HttpMethod::Patch, ONE, "changeConversation", "Change a conversation")
        .extension()
        .description(
            "Changes the given fields. A contact is changed part by part. The type, the id and the \
             time of creation cannot change, and a change never moves a conversation in the list.",
        )
        .json_body(named("ConversationChange"), Example::only(body))
        .writes()
        .returns(
            "The changed conversation",
            named("ChangedConversation"),
            Example::only(examples::merged(response, changed)),
        )
}

fn delete() -> Endpoint {
    let response = Example::only(json!({"status": true}));
    let summary = "Delete a conversation";
    of_example(HttpMethod::Delete, ONE, "deleteConversation", summary, examples::CREATED)
        .extension()
        .description("Deletes the conversation and its messages.")
        .writes()
        .returns("Deleted", named("Success"), response)
}

fn set_ai(path: &'static str, id: &'static str, enabled: bool) -> Endpoint {
    let summary = if enabled { "Enable AI" } else { "Disable AI" };
    let description = if enabled {
        "Sets `ai_enabled` to `true`. The request has no body and is idempotent."
    } else {
        "Sets `ai_enabled` to `false`. The request has no body and is idempotent."
    };
    of_one(HttpMethod::Post, path, id, summary)
        .description(description)
        .writes()
        .fails_with(ErrorResponse::Invalid)
        .returns(
            "The new setting",
            named("AiSetting"),
            Example::only(json!({"status": true, "ai_enabled": enabled})),
        )
}
