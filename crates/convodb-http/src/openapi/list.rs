//! OpenAPI of the list of conversations: its filters, pagination and page.

use convodb::{Count, ExternalIdentifier, Phone, Sort};
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    SchemaRef, boolean, enumeration, integer, list, named, object, optional, or_null, pattern,
    required, several, string, text, text_of, time_input, url,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::parts::{ASSISTANT, CONVERSATION_TYPE};
use crate::openapi::{CONVERSATIONS, examples};
use crate::response::columns::Columns;

const PATH: &str = "/api/user/conversations";

const INCLUDE: &str = "Extension. `total` adds the number of conversations of the list, from the \
                       same snapshot as the page; blank for none";
const COUNT: &str = "Extension. `only` answers that number without conversations and cursors; blank \
                     for a page";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let list = Endpoint::new(
        HttpMethod::Get,
        PATH,
        CONVERSATIONS,
        "listConversations",
        "List conversations",
    )
    .description(
        "Returns one page of the user's conversations, newest first. Filters combine freely, and a \
         page costs the same at any depth.\n\nA cursor alone continues its list: it contains the \
         filters, the sort, the bounds, the order and the page size. The same filters, or some of them, may \
         be repeated beside it; a different value is refused with 422. Another `per_page` beside a \
         cursor takes precedence. A cursor never expires, and is valid for one user of one \
         store.\n\nUnknown parameters are ignored, except those that a client may believe to be \
         filters, as `updated_from`, `order[]` or `assistantId`; with `Prefer: handling=strict` all are refused with \
         422. An empty parameter counts as absent, and one that occurs twice is refused, except \
         `type`, `assistant_id` and `fields`.\n\nBy last activity, a list reorders while it is read: a \
         conversation that is active meanwhile may be missing from the pages, or be on two of them. \
         Each page has a `changes_cursor`, the same on all pages of a walk. Collect the pages by id, \
         then apply the changes since that cursor, which `GET /api/user/conversations/changes` returns: \
         the result has each conversation once, in its last state.",
    );
    let fields = format!(
        "Extension. The fields of each conversation, separated by commas, of {}; blank for all but \
         `preview`, which alone is added to all. An item has them in this order. Repeat it beside \
         a cursor, as the links of `Link` do",
        Columns::known().join(", ")
    );
    let list = filters(list)
        .per_page()
        .query("cursor", text("The `next_cursor` or `prev_cursor` of a page", 0..=512), "")
        .query("include", pattern(INCLUDE, "^(total)?$"), "")
        .query("count", pattern(COUNT, "^(only)?$"), "")
        .query("fields", text(&fields, 0..=255), "")
        .prefers_strictness()
        .cached()
        .returns("A page", named("ConversationPage"), Example::only(example()))
        .with_link_header();
    vec![list]
}

/// Adds the filters, bounds and order of a list. In a query string, an assistant's number is text.
pub(super) fn filters(endpoint: Endpoint) -> Endpoint {
    let sender = "The phone number of the WhatsApp sender; compared like `customer_phone`";
    let customer = "The phone number of the customer; compared byte for byte. A `+` at the \
                    beginning is a plus sign, percent-encoded or not";
    let identifier = "The client's own identifier, which only conversations of type `api` have; \
                      compared byte for byte; blank for any";
    let ai_enabled = "Extension. `false`: only conversations whose AI is off; blank for all. Needs the \
                      index `ai-off` of the store (422 without it, 503 while it is being built); \
                      cannot be combined with phones and `external_identifier`";
    let sort = "Extension. The time that sorts the list. `created_at`, the default: for every filter. \
                `last_activity`: `updated_at`, the time of the newest message or of a later change; \
                without filter, or with `type`, `assistant_id`, both of them, \
                `whatsapp_sender_phone` or `customer_phone`, and no other combination. Needs the index \
                `last-activity` of the store (422 without it, 503 while it is being built)";
    let active_from = "Extension. With `sort=last_activity`, only conversations whose last activity was \
                       at this time or later";
    let active_to = "Extension. With `sort=last_activity`, only conversations whose last activity was at \
                     this time or earlier, including all of the day or second that it names";
    let order = "Extension. `desc`: newest first; `asc`: oldest first. The default is `desc`, and \
                 `asc` for an export";
    let from = "Extension. Only conversations created at this time or later";
    let to = "Extension. Only conversations created at this time or earlier, including all of the \
              day or second that it names";
    endpoint
        .query("type", several("The channel", named(CONVERSATION_TYPE)), json!(["whatsapp"]))
        .query("assistant_id", assistants(), json!([examples::ASSISTANT]))
        .query("customer_phone", text_of(Phone::MAX_BYTES, customer), examples::CUSTOMER)
        .query("whatsapp_sender_phone", text_of(Phone::MAX_BYTES, sender), examples::SENDER)
        .query("external_identifier", text(identifier, 0..=ExternalIdentifier::MAX_BYTES), "")
        .query("ai_enabled", pattern(ai_enabled, "^(false|0)?$"), "")
        .query("created_from", time_input(from), "2025-01-01")
        .query("created_to", time_input(to), "2025-01-31 23:59:59")
        .query("sort", enumeration(sort, Sort::ALL.map(Sort::as_str)), "created_at")
        .query("active_from", time_input(active_from), "")
        .query("active_to", time_input(active_to), "")
        .query("order", enumeration(order, ["desc", "asc"]), "desc")
}

/// The assistants to filter by.
pub(super) fn assistants() -> SchemaRef {
    several(ASSISTANT, text("", 1..=255))
}

/// The body of a page.
pub(super) fn page() -> SchemaRef {
    let next = "The cursor of the next page; null exactly if the list ends with this page";
    let changes = "Extension. With `sort=last_activity`, the cursor of the change feed at the \
                   beginning of the walk that this page is part of";
    let prev = "The cursor of the previous page; null exactly if the list begins with this page";
    object(
        "These five fields, in this order, `changes_cursor` if the list is by last activity, and `total` \
         if it was asked for",
        [
            required("data", list("", named("Conversation"))),
            required("path", url("The URL of the list, without a query")),
            required("per_page", integer("", 1..=100)),
            required("next_cursor", or_null(string(next))),
            required("prev_cursor", or_null(string(prev))),
            optional("changes_cursor", string(changes)),
            optional("total", named("ConversationTotal")),
        ],
    )
    .into()
}

/// The number of conversations of a list.
pub(super) fn total() -> SchemaRef {
    let exact = format!(
        "False if the list has more than `conversations`: those of lists by phone, identifier or \
         `ai_enabled=false` in a store without the index `counters`, of lists with `active_from` or `active_to`, and of the days that `created_from` and \
         `created_to` cut, are counted up to {} in all",
        Count::MAX_SCANNED
    );
    object(
        "The number of conversations of the list",
        [required("conversations", integer("", 0..=u64::MAX)), required("exact", boolean(&exact))],
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
