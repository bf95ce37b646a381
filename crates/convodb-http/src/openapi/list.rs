//! The list of conversations, and what its filters are.

use convodb::{ExternalIdentifierKind, PhoneKind};
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    Shape, always, any_text, given_time, integer, kind, list, named, object, or_null, text,
    text_of, url, word,
};
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::{CONVERSATIONS, examples};

const PATH: &str = "/api/user/conversations";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let list = Endpoint::new(
        HttpMethod::Get,
        PATH,
        CONVERSATIONS,
        "listConversations",
        "List conversations",
    )
    .tells(
        "Any combination of filters, at any depth, for the same cost. A cursor alone continues its \
         list: it carries the filters, the bounds, the order and the page size. The same filters \
         beside it are fine, fewer too; a different one is refused. It never expires, and is for \
         one user of one store.\n\nUnknown parameters are passed over; a blank one counts as not \
         given; one that is given twice is refused.",
    );
    let list = filters(list)
        .per_page()
        .query("cursor", text("The `next_cursor` or `prev_cursor` of a page", 0..=255), None)
        .answers("A page", page(), Body::one(example()))
        .links();
    vec![list]
}

/// The filters, bounds and order of a list. The number of an assistant and its UUID are texts here.
pub(super) fn filters(endpoint: Endpoint) -> Endpoint {
    let phone = |tells| text_of::<PhoneKind>(tells);
    let identifier = text_of::<ExternalIdentifierKind>("The caller's own name for it; exact");
    let assistant = "One of the caller's assistants: its UUID, or its number in their list";
    let order = word("Newest or oldest first; an extension", ["desc", "asc"]);
    endpoint
        .query("type", kind("Where the conversations take place"), Some(json!("whatsapp")))
        .query("assistant_id", text(assistant, 1..=255), None)
        .query("customer_phone", phone("Exact; a plus is a plus, encoded or not"), None)
        .query("whatsapp_sender_phone", phone("Likewise"), None)
        .query("external_identifier", identifier, None)
        .query("created_from", given_time("Begun then or later; an extension"), None)
        .query("created_to", given_time("Begun before then; an extension"), None)
        .query("order", order, None)
}

fn page() -> Shape {
    object(
        "Exactly these five fields, in this order",
        [
            always("data", list("", named("Conversation"))),
            always("path", url("The list's own URL")),
            always("per_page", integer("", 1..=100)),
            always("next_cursor", or_null(any_text("Null if and only if the list ends there"))),
            always("prev_cursor", or_null(any_text("Null if and only if the list begins there"))),
        ],
    )
    .into()
}

fn example() -> Value {
    json!({
        "data": [examples::item()],
        "path": "http://127.0.0.1:8080/api/user/conversations",
        "per_page": 15,
        "next_cursor": null,
        "prev_cursor": null,
    })
}
