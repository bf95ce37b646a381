//! The messages of a conversation.

use axum::response::Response;
use convodb::ConversationKind;

use crate::auth::Account;
use crate::body::{Unread, read_message};
use crate::clock::now;
use crate::error::Result;
use crate::response;
use crate::routes::path::PathId;

/// `POST /api/conversations/{uuid}/messages`: stored, counted and billed in one write. Nothing here
/// answers for the assistant.
pub(crate) async fn append(
    account: Account,
    path: PathId<ConversationKind>,
    body: Unread,
) -> Result<Response> {
    let id = path.conversation()?;
    let message = read_message(&body.json().await?, now()?)?;
    let write = move |user, store: &convodb::Store| Ok(store.append_message(user, id, message)?);
    let count = account.write(write).await?;
    Ok(response::ok(format!(
        r#"{{"status":true,"message":null,"function_calls":[],"message_count":{count}}}"#
    )))
}
