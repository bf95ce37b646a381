//! The messages of a conversation.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{always, anything, integer, list, named, null, object};
use crate::openapi::conversation::of_one;
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::schemas::went_well;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let path = "/api/conversations/{uuid}/messages";
    let stored = object(
        "",
        [
            went_well(),
            always("message", null("No assistant answers here")),
            always("function_calls", list("Empty", anything())),
            always("message_count", integer("With this one", 1..=u64::from(u32::MAX))),
        ],
    );
    let said = json!({
        "role": "assistant",
        "content": "It is on its way.",
        "cost": 0.0008,
        "created_at": "2025-01-25T10:29:03Z",
    });
    let answer = json!({"status": true, "message": null, "function_calls": [], "message_count": 3});
    vec![
        of_one(HttpMethod::Post, path, "appendMessage", "Append a message")
            .tells("Stored, counted and billed in one write.")
            .takes(
                named("NewMessage"),
                [
                    Body::new("user", "As in the reference", json!({"message": "Thank you!"})),
                    Body::new("assistant", "With all that may be given", said),
                ],
            )
            .once()
            .writes()
            .answers("Stored", stored.into(), [Body::new("user", "", answer)]),
    ]
}
