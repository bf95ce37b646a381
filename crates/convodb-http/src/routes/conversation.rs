//! A single conversation: create, read, update, delete, and enable or disable its assistant.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{
    AssistantId, AssistantRef, Conversation, ConversationId, Error, MAX_DELETED_MESSAGES, Name,
    Snapshot, Transaction, UserId,
};
use uuid::Uuid;

use crate::body::{ConversationPatch, NewConversation, RequestBody};
use crate::clock::now;
use crate::error::Result;
use crate::extract::auth::{AuthRead, AuthWrite, Read, Write};
use crate::extract::cached_get::respond;
use crate::extract::idempotency::{Idempotency, stored_bytes};
use crate::extract::params;
use crate::extract::path::PathId;
use crate::middleware::caller::Caller;
use crate::response::history::{History, STREAMED_BYTES};
use crate::response::history_page::HistoryPage;
use crate::response::json_body;
use crate::state::Service;

/// `POST /api/conversations`.
pub(crate) async fn create(
    auth: AuthWrite<Write>,
    idempotency: Idempotency,
    body: RequestBody,
) -> Result<Response> {
    let (body, now) = (body.json().await?, now()?);
    let new = NewConversation::parse(&body, now)?;
    let request = idempotency.with_body(&body, now, auth.restriction());
    let user = auth.user();
    let assistant = resolve(new.assistant, &auth.snapshot()?, user)?;
    let conversation = new.into_conversation(assistant);
    let id = auth
        .write(move |transaction| {
            request.run(transaction, user, |transaction| {
                let id = conversation.id.uuid().into_bytes().to_vec();
                transaction.insert(user, conversation, Vec::new())?;
                Ok(id)
            })
        })
        .await?;
    let id = ConversationId::new(Uuid::from_bytes(stored_bytes(id)?));
    Ok(json_body::created_conversation(id))
}

/// `GET /api/conversations/{uuid}`, with its messages, or with a page of them.
pub(crate) async fn read(
    State(service): State<Service>,
    auth: AuthRead<Read>,
    Extension(caller): Extension<Caller>,
    path: PathId<ConversationId>,
    request: Request,
) -> Result<Response> {
    let service = &service;
    respond(service, auth, request, |auth, request| async move {
        let AuthRead { user, snapshot, authority, .. } = auth;
        let id = path.conversation()?;
        let params = params::history(request.uri().query().unwrap_or_default())?;
        let found = snapshot.conversation(user, id)?.zip(snapshot.message_iter(user, id)?);
        let (conversation, messages) = found.ok_or(Error::ConversationNotFound)?;
        let page = params.map(|params| HistoryPage::of(params, messages.stored()));
        let (skipped, len) = page.map_or((0, messages.stored()), |page| (page.skipped, page.len));
        let end = json_body::after_history(&conversation, page.as_ref(), user, &snapshot)?;
        let messages = messages.from(skipped).take(len as usize);
        let deadline = Instant::now() + service.limits().export_timeout;
        let history = History::new(messages, end, deadline, move || authority.check());
        history.response(service.long_reads(), || caller.take(STREAMED_BYTES))
    })
    .await
}

/// `PATCH /api/conversations/{uuid}`.
pub(crate) async fn update(
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
    body: RequestBody,
) -> Result<Response> {
    let id = path.conversation()?;
    let patch = ConversationPatch::parse(&body.json().await?)?;
    let (conversation, name) = apply(&auth, id, patch).await?;
    Ok(json_body::updated_conversation(&conversation, &name))
}

/// `DELETE /api/conversations/{uuid}`, with its messages; in several writes if it has very many.
pub(crate) async fn delete(
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
) -> Result<Response> {
    let (user, id) = (auth.user(), path.conversation()?);
    let delete_part = move |transaction: &mut Transaction<'_>| {
        transaction.delete_within(user, id, &mut { MAX_DELETED_MESSAGES })
    };
    while !auth.write(delete_part).await? {}
    Ok(json_body::ok(r#"{"status":true}"#))
}

/// `POST /api/automate/conversations/{uuid}/enable-ai`.
pub(crate) async fn enable_ai(
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
) -> Result<Response> {
    set_ai(auth, path, true).await
}

/// `POST /api/automate/conversations/{uuid}/disable-ai`.
pub(crate) async fn disable_ai(
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
) -> Result<Response> {
    set_ai(auth, path, false).await
}

async fn set_ai(
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
    enabled: bool,
) -> Result<Response> {
    let id = path.conversation()?;
    let (conversation, _) = apply(&auth, id, ConversationPatch::ai_enabled(enabled)).await?;
    let enabled = conversation.ai_enabled;
    Ok(json_body::ok(format!(r#"{{"status":true,"ai_enabled":{enabled}}}"#)))
}

/// Applies a patch in one write. Returns the updated conversation and the name of its assistant.
pub(super) async fn apply(
    auth: &AuthWrite<Write>,
    id: ConversationId,
    patch: ConversationPatch,
) -> Result<(Conversation, Name)> {
    let (user, now) = (auth.user(), now()?);
    let assistant =
        patch.assistant.map(|named| resolve(named, &auth.snapshot()?, user)).transpose()?;
    auth.write(move |transaction| {
        let updated = transaction
            .update(user, id, now, |conversation| patch.apply(assistant, conversation))?;
        let assistant = transaction.assistant(user, updated.assistant)?;
        Ok((updated, assistant.ok_or(Error::AssistantNotFound)?.name))
    })
    .await
}

/// Returns the id of the assistant that a body names.
///
/// # Errors
/// 404 if the user has no such assistant.
fn resolve(assistant: AssistantRef, snapshot: &Snapshot, user: UserId) -> Result<AssistantId> {
    Ok(snapshot.resolve_assistant(user, assistant)?.ok_or(Error::AssistantNotFound)?.id)
}
