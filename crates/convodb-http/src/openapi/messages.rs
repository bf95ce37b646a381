//! OpenAPI of messages: append a message to a conversation.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    SchemaRef, any_json, integer, list, named, object, required, string,
};
use crate::openapi::conversation::of_one;
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::parts::status_true;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let path = "/api/conversations/{uuid}/messages";
    let all_fields = json!({
        "role": "assistant",
        "content": "It is on its way.",
        "cost": 0.0008,
        "created_at": "2025-01-25T10:29:03Z",
    });
    let response = json!({"status": true, "message": "", "function_calls": [], "message_count": 3});
    vec![
        of_one(HttpMethod::Post, path, "appendMessage", "Append a message")
            .description(
                "Appends a message to the conversation, increments `message_count` and adds the cost to `total_cost` \
                 in one write, which is on disk before the response is sent.",
            )
            .json_body(
                named("NewMessage"),
                [
                    Example::new(
                        "user",
                        "As in the reference API",
                        json!({"message": "Thank you!"}),
                    ),
                    Example::new("assistant", "With role, cost and time", all_fields),
                ],
            )
            .idempotent("append-3b0e7d52")
            .writes()
            .returns("Stored", named("AppendedMessage"), [Example::new("user", "", response)]),
    ]
}

/// The response to a message.
pub(super) fn appended() -> SchemaRef {
    let count = "Extension. The number of messages, including this one";
    object(
        "A stored message",
        [
            status_true(),
            required(
                "message",
                string("Always empty: the server stores messages, it does not reply"),
            ),
            required("function_calls", list("Always empty", any_json())),
            required("message_count", integer(count, 1..=u64::from(u32::MAX))),
        ],
    )
    .into()
}
