//! OpenAPI of the change feed.

use convodb::{ChangeKind, PageSize};
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    SchemaRef, boolean, enumeration, integer, list, named, named_as, named_or_null, object,
    required, string, text, uuid,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::error_responses::ErrorResponse;
use crate::openapi::{CONVERSATIONS, examples};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let changes = Endpoint::new(
        HttpMethod::Get,
        "/api/user/conversations/changes",
        CONVERSATIONS,
        "listChanges",
        "Follow changes",
    )
    .extension()
    .description(
        "Returns the conversations that were created, changed or deleted since a cursor, in commit \
         order. No change is skipped or repeated, even while others write. Changes expire after 30 \
         days by default; an older cursor is refused with 410. Renaming an assistant is not a \
         change of its conversations.\n\nTo start a copy: read `cursor=now` and store its \
         `next_cursor`, read the list or an export, then follow the changes from that cursor.\n\nFor \
         `Accept: text/event-stream` the response is a stream of server-sent events without an end. \
         Each has a part of the feed as its data and that part's `next_cursor` as its id; the first \
         one comes at once, even if it has no changes. `wait` is refused there.",
    );
    let (min, max) = (PageSize::MIN.get() as u64, PageSize::MAX.get() as u64);
    let mut size = integer("The most changes to read", min..=max);
    size.default = Some(json!(max));
    let wait = "The time to wait for a change if there is none yet, in seconds";
    let mut wait = integer(wait, 0..=60);
    wait.default = Some(json!(0));
    let cursor = "The `next_cursor` of a previous response, or `now` for the end of the feed; the \
                  beginning of the feed by default";
    let changes = changes
        .query("cursor", text(cursor, 0..=255), "")
        .query("per_page", size, max)
        .query("wait", wait, 0)
        .resumable()
        .fails_with(ErrorResponse::ChangesExpired)
        .fails_with(ErrorResponse::Unavailable)
        .returns("A part of the feed", named("ChangePage"), Example::only(example()))
        .also_returns("text/event-stream", "Events, each with a part of the feed as JSON");
    vec![changes]
}

/// A change of one conversation.
pub(super) fn change() -> SchemaRef {
    let kind = "`deleted` if the conversation was deleted; else `created` if this part contains \
                its creation, or `updated`";
    let deleted = "Null exactly if the conversation was deleted";
    object(
        "The change of one conversation, and its current state",
        [
            required("change", named_as("ChangeKind", kind)),
            required("id", uuid("The id of the conversation")),
            required("conversation", named_or_null("Conversation", deleted)),
        ],
    )
    .into()
}

/// The kinds of changes.
pub(super) fn kind() -> SchemaRef {
    enumeration("What happened to a conversation", ChangeKind::ALL.map(ChangeKind::as_str)).into()
}

/// The body of a part of the feed.
pub(super) fn page() -> SchemaRef {
    object(
        "Each changed conversation once, ordered by its last change",
        [
            required("data", list("", named("Change"))),
            required("per_page", integer("", 1..=100)),
            required("next_cursor", string("The cursor of the next part; never null")),
            required("has_more", boolean("Whether more changes can be read at once")),
        ],
    )
    .into()
}

fn example() -> Value {
    let created = json!({
        "change": "created",
        "id": examples::CONVERSATION,
        "conversation": examples::item(),
    });
    json!({
        "data": [created],
        "per_page": 100,
        "next_cursor": "AQFVhXlSgl1fUVO8pTpTMBXwFlzrc4yuGU9p",
        "has_more": false,
    })
}
