//! Messages of a conversation: append.

use axum::response::Response;
use convodb::ConversationId;
use convodb_service::{Write as StoreWrite, Written};

use crate::body::{RequestBody, parse_message};
use crate::clock::now;
use crate::error::Result;
use crate::extract::auth::{AuthWrite, Write};
use crate::extract::idempotency::{Idempotency, stored_bytes};
use crate::extract::path::PathId;
use crate::response::json_body;

/// `POST /api/conversations/{uuid}/messages`.
///
/// One write stores the message and updates the conversation's message count and cost. The server
/// runs no assistant, so the response contains no reply.
pub(crate) async fn append(
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
    idempotency: Idempotency,
    body: RequestBody,
) -> Result<Response> {
    let id = path.conversation()?;
    let (body, now) = (body.json().await?, now()?);
    let message = parse_message(&body, now)?;
    let request = idempotency.with_body(&body, now, auth.restriction());
    let count = |written: &Written| match written {
        Written::Appended(count) => count.to_be_bytes().to_vec(),
        _ => Vec::new(),
    };
    let count = request.write(&auth, StoreWrite::Append { id, message }, count).await?;
    let count = u32::from_be_bytes(stored_bytes(count)?);
    Ok(json_body::ok(format!(
        r#"{{"status":true,"message":"","function_calls":[],"message_count":{count}}}"#
    )))
}
