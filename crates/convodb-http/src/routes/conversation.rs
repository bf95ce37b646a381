//! One conversation: made, read, changed, deleted; and whether its assistant answers.

use axum::response::Response;
use convodb::{
    AssistantId, Conversation, ConversationId, ConversationKind, Error, Name, Snapshot, Store,
    Transaction, UserId,
};
use uuid::Uuid;

use crate::body::{AssistantName, ConversationPatch, NewConversation, RequestBody};
use crate::clock::now;
use crate::error::Result;
use crate::extract::auth::{AuthRead, AuthWrite};
use crate::extract::idempotency::Idempotency;
use crate::extract::path::PathId;
use crate::response::json_body;

/// `POST /api/conversations`.
pub(crate) async fn create(
    account: AuthWrite,
    once: Idempotency,
    body: RequestBody,
) -> Result<Response> {
    let (body, now) = (body.json().await?, now()?);
    let new = NewConversation::read(&body, now)?;
    let once = once.with(&body, now);
    let write = move |user, store: &Store| {
        let assistant = assistant(&store.snapshot(), user, new.assistant)?;
        let conversation = new.held_by(assistant);
        let insert = move |transaction: &mut Transaction<'_>| {
            transaction.insert(user, &conversation, &[])?;
            Ok(conversation.id.uuid().into_bytes())
        };
        Ok(store.write(move |transaction| once.run(transaction, user, insert))?)
    };
    let id = Uuid::from_bytes(account.write(write).await?);
    Ok(json_body::created_conversation(ConversationId::new(id)))
}

/// `GET /api/conversations/{uuid}`, with its history.
pub(crate) async fn read(
    AuthRead { user, snapshot }: AuthRead,
    path: PathId<ConversationKind>,
) -> Result<Response> {
    let id = path.conversation()?;
    let found = snapshot.get(user, id)?.zip(snapshot.history(user, id)?);
    let (conversation, history) = found.ok_or(Error::ConversationNotFound)?;
    json_body::conversation(&conversation, &history, user, &snapshot)
}

/// `PATCH /api/conversations/{uuid}`.
pub(crate) async fn change(
    account: AuthWrite,
    path: PathId<ConversationKind>,
    body: RequestBody,
) -> Result<Response> {
    let id = path.conversation()?;
    let change = ConversationPatch::read(&body.json().await?)?;
    let (conversation, name) = changed(&account, id, change).await?;
    Ok(json_body::changed_conversation(&conversation, &name))
}

/// `DELETE /api/conversations/{uuid}`, with its messages.
pub(crate) async fn delete(account: AuthWrite, path: PathId<ConversationKind>) -> Result<Response> {
    let id = path.conversation()?;
    account.write(move |user, store| Ok(store.delete(user, id)?)).await?;
    Ok(json_body::ok(r#"{"status":true}"#))
}

/// `POST /api/automate/conversations/{uuid}/enable-ai`.
pub(crate) async fn enable_ai(
    account: AuthWrite,
    path: PathId<ConversationKind>,
) -> Result<Response> {
    set_ai(account, path, true).await
}

/// `POST /api/automate/conversations/{uuid}/disable-ai`.
pub(crate) async fn disable_ai(
    account: AuthWrite,
    path: PathId<ConversationKind>,
) -> Result<Response> {
    set_ai(account, path, false).await
}

async fn set_ai(
    account: AuthWrite,
    path: PathId<ConversationKind>,
    enabled: bool,
) -> Result<Response> {
    let id = path.conversation()?;
    let (conversation, _) = changed(&account, id, ConversationPatch::of_ai(enabled)).await?;
    Ok(json_body::ok(format!(r#"{{"status":true,"ai_enabled":{}}}"#, conversation.ai_enabled)))
}

/// Changes a conversation in one write, and gives what it became and the name of its assistant.
async fn changed(
    account: &AuthWrite,
    id: ConversationId,
    change: ConversationPatch,
) -> Result<(Conversation, Name)> {
    let now = now()?;
    let write = move |user, store: &Store| {
        let named = change.assistant;
        let assistant = named.map(|named| assistant(&store.snapshot(), user, named)).transpose()?;
        let write = move |transaction: &mut Transaction<'_>| {
            let mut new = transaction.get(user, id)?.ok_or(Error::ConversationNotFound)?;
            change.apply(assistant, &mut new, now)?;
            let new = transaction.update(user, id, |conversation| *conversation = new)?;
            let missing = Error::AssistantNotFound;
            let name = transaction.assistant(user, new.assistant)?.ok_or(missing)?.name;
            Ok((new, name))
        };
        Ok(store.write(write)?)
    };
    account.write(write).await
}

/// The assistant that a body names. Assistants are never taken away, so what a snapshot finds is
/// still there when it is written.
fn assistant(snapshot: &Snapshot, user: UserId, named: AssistantName) -> Result<AssistantId> {
    let found = match named {
        AssistantName::Id(id) => snapshot.assistant(user, id)?.map(|found| found.id),
        AssistantName::Number(number) => snapshot.assistant_by_number(user, number)?,
    };
    Ok(found.ok_or(Error::AssistantNotFound)?)
}
