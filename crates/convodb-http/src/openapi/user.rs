//! Who one is, and one's assistants.

use convodb::NameKind;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    Shape, always, integer, list, maybe, named, object, or_null, text_of, time, url, uuid,
};
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::error_responses::Refusal;
use crate::openapi::{ACCOUNT, examples};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![me(), assistants(), create(), rename()]
}

fn me() -> Endpoint {
    let user = object(
        "",
        [
            always("id", integer("", 1..=u64::from(u32::MAX))),
            always("name", text_of::<NameKind>("")),
            always("created_at", time("")),
        ],
    );
    let example = json!({"id": 1, "name": "Acme", "created_at": "2025-01-01 00:00:00"});
    Endpoint::new(HttpMethod::Get, "/api/user/me", ACCOUNT, "readMe", "Read the account").answers(
        "The user of the token",
        user.into(),
        Body::one(example),
    )
}

fn assistants() -> Endpoint {
    let path = "/api/user/assistants/get";
    let numbers = 1..=u64::from(u32::MAX);
    Endpoint::new(HttpMethod::Get, path, ACCOUNT, "listAssistants", "List assistants")
        .tells("In the form of Laravel's paginator, without its `links` for HTML.")
        .query("page", integer("From 1", numbers), None)
        .per_page()
        .answers("A page", page(), Body::one(page_example()))
        .links()
}

fn page() -> Shape {
    let number = |tells| integer(tells, 1..=u64::from(u32::MAX));
    object(
        "",
        [
            always("current_page", number("")),
            always("data", list("", named("Assistant"))),
            always("first_page_url", url("")),
            always("from", or_null(number("Of the page's first item"))),
            always("last_page", number("")),
            always("last_page_url", url("")),
            always("next_page_url", or_null(url(""))),
            always("path", url("")),
            always("per_page", integer("", 1..=100)),
            always("prev_page_url", or_null(url(""))),
            always("to", or_null(number("Of the page's last item"))),
            always("total", integer("", 0..=u64::from(u32::MAX))),
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

fn create() -> Endpoint {
    let name = "It has 1 to 255 bytes, and may be another's name, too";
    let new = object(
        "An assistant to create",
        [
            always("name", text_of::<NameKind>(name)),
            maybe(
                "uuid",
                or_null(uuid("One that the caller does not have yet; a new one if none")),
            ),
        ],
    );
    let body = json!({"name": "Sales", "uuid": examples::NEW_ASSISTANT});
    let answer = json!({"id": 2, "uuid": examples::NEW_ASSISTANT, "name": "Sales"});
    let path = "/api/user/assistants";
    Endpoint::new(HttpMethod::Post, path, ACCOUNT, "createAssistant", "Create an assistant")
        .takes(new.into(), Body::one(body))
        .writes()
        .answers("The assistant", named("Assistant"), Body::one(answer))
}

fn rename() -> Endpoint {
    let name = object("Another name", [always("name", text_of::<NameKind>("1 to 255 bytes"))]);
    let answer = json!({"id": 1, "uuid": examples::ASSISTANT, "name": "Front Desk"});
    let path = "/api/user/assistants/{uuid}";
    Endpoint::new(HttpMethod::Patch, path, ACCOUNT, "renameAssistant", "Rename an assistant")
        .tells("Every list shows the new name at once.")
        .in_path("uuid", uuid("The assistant's id"), examples::ASSISTANT)
        .takes(name.into(), Body::one(json!({"name": "Front Desk"})))
        .writes()
        .or(Refusal::AssistantNotFound)
        .answers("The assistant", named("Assistant"), Body::one(answer))
}
