//! OpenAPI of the token's user and the user's assistants.

use convodb::Name;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    SchemaRef, given_uuid, integer, list, named, object, optional, or_null, required, text_of,
    time, url, uuid,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::error_responses::ErrorResponse;
use crate::openapi::{USER, examples};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![me(), assistants(), all_assistants(), create(), rename()]
}

/// A user.
pub(super) fn user() -> SchemaRef {
    let count = |description| integer(description, 0..=u64::MAX);
    object(
        "A user of the server",
        [
            required("id", integer("", 1..=u64::from(u32::MAX))),
            required("name", text_of(Name::MAX_BYTES, "")),
            required("created_at", time("Time of creation")),
            optional("conversations", count("Extension: the number of conversations")),
            optional("bytes", count("Extension: the bytes that conversations and messages take")),
            optional("max_conversations", or_null(count("The quota; null is no limit"))),
            optional("max_bytes", or_null(count("The quota; null is no limit"))),
        ],
    )
    .into()
}

fn me() -> Endpoint {
    let example = json!({
        "id": 1, "name": "Acme", "created_at": "2025-01-01 00:00:00", "conversations": 1,
        "bytes": 380, "max_conversations": null, "max_bytes": null,
    });
    Endpoint::new(HttpMethod::Get, "/api/user/me", USER, "readMe", "Read the user")
        .description("Returns the user that the token belongs to.")
        .returns("The user of the token", named("User"), Example::only(example))
}

fn assistants() -> Endpoint {
    let path = "/api/user/assistants/get";
    let pages = 1..=u64::from(u32::MAX);
    Endpoint::new(HttpMethod::Get, path, USER, "listAssistants", "List assistants")
        .description(
            "Returns one page of the user's assistants, in the form of Laravel's paginator, \
             without its `links` field for HTML.",
        )
        .query("page", integer("The page number, from 1; 1 by default", pages), 1)
        .per_page()
        .cached()
        .returns("A page", named("AssistantPage"), Example::only(page_example()))
        .with_link_header()
}

fn all_assistants() -> Endpoint {
    let path = "/api/user/assistants";
    let example = json!([{"id": 1, "uuid": examples::ASSISTANT, "name": "Support Assistant"}]);
    Endpoint::new(HttpMethod::Get, path, USER, "listAllAssistants", "List all assistants")
        .description(
            "Returns all of the user's assistants as an array, by number, for clients that read no \
             pages. More than 10,000 are refused with 422.",
        )
        .fails_with(ErrorResponse::Invalid)
        .cached()
        .returns("The assistants", list("", named("Assistant")), Example::only(example))
}

/// The body of a page of assistants.
pub(super) fn page() -> SchemaRef {
    let number = |description| integer(description, 1..=u64::from(u32::MAX));
    let first = "The position of the first item in the list, from 1; null if the page is empty";
    let last = "The position of the last item in the list; null if the page is empty";
    object(
        "A page of the assistants, as Laravel's paginator prints it",
        [
            required("current_page", number("")),
            required("data", list("", named("Assistant"))),
            required("first_page_url", url("")),
            required("from", or_null(number(first))),
            required("last_page", number("")),
            required("last_page_url", url("")),
            required("next_page_url", or_null(url(""))),
            required("path", url("")),
            required("per_page", integer("", 1..=100)),
            required("prev_page_url", or_null(url(""))),
            required("to", or_null(number(last))),
            required("total", integer("", 0..=u64::from(u32::MAX))),
        ],
    )
    .into()
}

fn page_example() -> Value {
    let path = "http://127.0.0.1:8080/api/user/assistants/get";
    let page = format!("{path}?per_page=15&page=1");
    json!({
        "current_page": 1,
        "data": [{"id": 1, "uuid": examples::ASSISTANT, "name": "Support Assistant"}],
        "first_page_url": page,
        "from": 1,
        "last_page": 1,
        "last_page_url": page,
        "next_page_url": null,
        "path": path,
        "per_page": 15,
        "prev_page_url": null,
        "to": 1,
        "total": 1,
    })
}

/// The body of a new assistant.
pub(super) fn new_assistant() -> SchemaRef {
    let name = "1 to 255 bytes; need not be unique";
    let id = "A UUID that no other assistant of the user has; a new one by default";
    object(
        "An assistant to create",
        [
            required("name", text_of(Name::MAX_BYTES, name)),
            optional("uuid", or_null(given_uuid(id))),
        ],
    )
    .into()
}

/// The body of a new name.
pub(super) fn new_name() -> SchemaRef {
    object("The new name", [required("name", text_of(Name::MAX_BYTES, "1 to 255 bytes"))]).into()
}

fn create() -> Endpoint {
    let body = json!({"name": "Sales", "uuid": examples::NEW_ASSISTANT});
    let response = json!({"id": 2, "uuid": examples::NEW_ASSISTANT, "name": "Sales"});
    let path = "/api/user/assistants";
    Endpoint::new(HttpMethod::Post, path, USER, "createAssistant", "Create an assistant")
        .description("Creates an assistant of the user.")
        .extension()
        .json_body(named("NewAssistant"), Example::only(body))
        .writes()
        .returns("The new assistant", named("Assistant"), Example::only(response))
}

fn rename() -> Endpoint {
    let response = json!({"id": 1, "uuid": examples::ASSISTANT, "name": "Front Desk"});
    let path = "/api/user/assistants/{uuid}";
    Endpoint::new(HttpMethod::Patch, path, USER, "renameAssistant", "Rename an assistant")
        .extension()
        .description("Renames an assistant. All lists show the new name at once.")
        .path_parameter("uuid", uuid("The UUID of the assistant"), examples::ASSISTANT)
        .json_body(named("AssistantRename"), Example::only(json!({"name": "Front Desk"})))
        .writes()
        .fails_with(ErrorResponse::AssistantNotFound)
        .returns("The renamed assistant", named("Assistant"), Example::only(response))
}
