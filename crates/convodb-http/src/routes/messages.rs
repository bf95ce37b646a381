//! The messages of a conversation.

use axum::response::Response;
use convodb::{ConversationId, Store, Transaction};

use crate::auth::Account;
use crate::body::{Unread, read_message};
use crate::clock::now;
use crate::error::Result;
use crate::once::Once;
use crate::response;
use crate::routes::path::PathId;

/// `POST /api/conversations/{uuid}/messages`: stored, counted and billed in one write. Nothing here
/// answers for the assistant.
pub(crate) async fn append(
    account: Account,
    path: PathId<ConversationId>,
    once: Once,
    body: Unread,
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
    Ok(response::ok(format!(
        r#"{{"status":true,"message":null,"function_calls":[],"message_count":{count}}}"#
    )))
}
