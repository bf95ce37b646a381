//! Example data: one conversation, its user and its assistants.
//!
//! All examples use the same data, so that a test can run them in order: it imports, lists, reads,
//! changes and deletes the conversation.

use serde_json::{Value, json};

/// The id of the conversation.
pub(super) const CONVERSATION: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// The id of the conversation that is created later.
pub(super) const CREATED: &str = "01983c5e-4b1a-7000-8000-5a0c1c1e7f10";
/// The id of the assistant of both.
pub(super) const ASSISTANT: &str = "a1b2c3d4-5678-40ab-8def-1234567890ab";
/// The id of the assistant that is created later.
pub(super) const NEW_ASSISTANT: &str = "c0ffee00-0000-4000-8000-000000000001";
/// The phone of the customer.
pub(super) const CUSTOMER: &str = "+14155559876";
/// The phone of the sender.
pub(super) const SENDER: &str = "+14155551234";

/// The index of the server.
pub(super) fn index() -> Value {
    let base = "http://127.0.0.1:8080";
    json!({
        "name": "convodb",
        "version": env!("CARGO_PKG_VERSION"),
        "documentation": format!("{base}/docs"),
        "openapi": format!("{base}/openapi.json"),
        "conversations": format!("{base}/api/user/conversations"),
        "health": format!("{base}/healthz"),
        "readiness": format!("{base}/readyz"),
    })
}

/// A line of an import or an export, with its messages.
pub(super) fn line() -> Value {
    json!({
        "id": CONVERSATION,
        "assistant_id": ASSISTANT,
        "assistant_name": "Support Assistant",
        "type": "whatsapp",
        "variables": null,
        "message_count": 2,
        "total_cost": 0.0032,
        "ai_enabled": true,
        "created_at": "2025-01-25T10:15:00.250Z",
        "updated_at": "2025-01-25T10:28:45.000Z",
        "whatsapp_sender": {"name": "Acme Corp Support", "phone": SENDER},
        "customer": {"name": "John Doe", "phone": CUSTOMER},
        "messages": [
            {
                "role": "user",
                "content": "Where is my order?",
                "cost": 0.0,
                "created_at": "2025-01-25T10:15:00.250Z",
            },
            {
                "role": "assistant",
                "content": "One moment.",
                "function_calls": [{"name": "track", "arguments": {"order": "A-17"}}],
                "cost": 0.0032,
                "created_at": "2025-01-25T10:28:45.000Z",
            },
        ],
    })
}

/// The conversation as lists contain it.
pub(super) fn item() -> Value {
    let mut item = line();
    if let Some(fields) = item.as_object_mut() {
        fields.shift_remove("messages");
        fields.insert("created_at".to_owned(), json!("2025-01-25 10:15:00"));
        fields.insert("updated_at".to_owned(), json!("2025-01-25 10:28:45"));
    }
    item
}

/// The history of the conversation.
pub(super) fn history() -> Value {
    json!([
        {"role": "user", "content": "Where is my order?", "created_at": "2025-01-25 10:15:00"},
        {
            "role": "assistant",
            "content": "One moment.",
            "function_calls": [{"name": "track", "arguments": {"order": "A-17"}}],
            "created_at": "2025-01-25 10:28:45",
        },
    ])
}

/// The fields of two objects, those of `first` first. A value of `rest` replaces one of `first`.
pub(super) fn merged(first: Value, rest: Value) -> Value {
    match (first, rest) {
        (Value::Object(mut first), Value::Object(rest)) => {
            first.extend(rest);
            Value::Object(first)
        }
        (first, _) => first,
    }
}
