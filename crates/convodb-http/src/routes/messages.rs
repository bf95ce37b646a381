//! The messages of a conversation.

use axum::response::Response;
use convodb::{ConversationKind, Store, Transaction};

use crate::body::{RequestBody, read_message};
use crate::clock::now;
use crate::error::Result;
use crate::extract::auth::AuthWrite;
use crate::extract::idempotency::Idempotency;
use crate::extract::path::PathId;
use crate::response::json_body;

/// `POST /api/conversations/{uuid}/messages`: stored, counted and billed in one write. Nothing here
/// answers for the assistant.
pub(crate) async fn append(
    account: AuthWrite,
    path: PathId<ConversationKind>,
    once: Idempotency,
    body: RequestBody,
) -> Result<Response> {
    let id = path.conversation()?;
    let (body, now) = (body.json().await?, now()?);
    let message = read_message(&body, now)?;
    let once = once.with(&body, now);
    let write = move |user, store: &Store| {
        let append = move |transaction: &mut Transaction<'_>| {
            Ok(transaction.append_message(user, id, &message)?.to_be_bytes())
        };
        Ok(store.write(move |transaction| once.run(transaction, user, append))?)
    };
    let count = u32::from_be_bytes(account.write(write).await?);
    Ok(json_body::ok(format!(
        r#"{{"status":true,"message":null,"function_calls":[],"message_count":{count}}}"#
    )))
}
