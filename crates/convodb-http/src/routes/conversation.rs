//! A single conversation: create, read, update, delete, and enable or disable its assistant.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{
    AssistantId, AssistantRef, Conversation, ConversationId, Error, MAX_DELETED_MESSAGES, Name,
    Transaction, UserId,
};
use convodb_json::AssistantNames;
use convodb_service::{
    ConversationHistory, RemoteView, Source, View, Write as StoreWrite, Written,
};
use uuid::Uuid;

use crate::body::{ConversationPatch, NewConversation, RequestBody};
use crate::clock::now;
use crate::error::{ApiError, Result};
use crate::extract::auth::{AuthRead, AuthWrite, Read, Write};
use crate::extract::cached_get::respond;
use crate::extract::idempotency::{Idempotency, stored_bytes};
use crate::extract::params;
use crate::extract::path::PathId;
use crate::middleware::caller::Caller;
use crate::response::history::{self, History, STREAMED_BYTES};
use crate::response::history_page::{HistoryPage, HistoryParams};
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
    let assistant = resolve(new.assistant, &auth.view().await?, auth.user()).await?;
    let conversation = new.into_conversation(assistant);
    let id = conversation.id.uuid().into_bytes();
    let insert = StoreWrite::Insert { conversation, messages: Vec::new() };
    let id = request.write(&auth, insert, move |_| id.to_vec()).await?;
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
        let AuthRead { user, view, authority, .. } = auth;
        let id = path.conversation()?;
        let params = params::history(request.uri().query().unwrap_or_default())?;
        let snapshot = match &view {
            View::Embedded(snapshot) => snapshot,
            View::Remote(remote) => return read_whole(remote, user, id, params).await,
        };
        let found = snapshot.conversation(user, id)?.zip(snapshot.message_iter(user, id)?);
        let (conversation, messages) = found.ok_or(Error::ConversationNotFound)?;
        let page = params.map(|params| HistoryPage::of(params, messages.stored()));
        let (skipped, len) = page.map_or((0, messages.stored()), |page| (page.skipped, page.len));
        let mut names = AssistantNames::new(snapshot.clone(), user);
        let end = json_body::after_history(&conversation, page.as_ref(), &mut names)?;
        let messages = messages.from(skipped).take(len as usize);
        let deadline = Instant::now() + service.limits().export_timeout;
        let history = History::new(messages, end, deadline, move || authority.check());
        history.response(service.long_reads(), || caller.take(STREAMED_BYTES))
    })
    .await
}

/// Reads a conversation whose messages are read at once, or a page of them.
async fn read_whole(
    remote: &RemoteView,
    user: UserId,
    id: ConversationId,
    params: Option<HistoryParams>,
) -> Result<Response> {
    let found = remote.history(user, id).await?.ok_or(Error::ConversationNotFound)?;
    let ConversationHistory { conversation, assistant_name, messages } = found;
    let stored = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let page = params.map(|params| HistoryPage::of(params, stored));
    let (skipped, len) = page.map_or((0, stored), |page| (page.skipped, page.len));
    let shown = messages.iter().skip(skipped as usize).take(len as usize);
    let mut names = AssistantNames::known([(conversation.assistant, assistant_name)]);
    let end = json_body::after_history(&conversation, page.as_ref(), &mut names)?;
    Ok(history::whole(shown, end))
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

/// `DELETE /api/conversations/{uuid}`, with its messages; in several writes of an embedded store if it
/// has very many.
pub(crate) async fn delete(
    State(service): State<Service>,
    auth: AuthWrite<Write>,
    path: PathId<ConversationId>,
) -> Result<Response> {
    let (user, id) = (auth.user(), path.conversation()?);
    let delete_part = move |transaction: &mut Transaction<'_>| {
        transaction.delete_within(user, id, &mut { MAX_DELETED_MESSAGES })
    };
    match service.source() {
        Source::Embedded(_) => while !auth.transact(delete_part).await? {},
        Source::Remote(_) => drop(auth.write(StoreWrite::Delete { id }).await?),
    }
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
    let assistant = match patch.assistant {
        Some(named) => Some(resolve(named, &auth.view().await?, user).await?),
        None => None,
    };
    let change = Arc::new(move |row: &mut Conversation| patch.clone().apply(assistant, row));
    match auth.write(StoreWrite::Change { id, now, change }).await? {
        Written::Changed(updated, Some(name)) => Ok((updated, name)),
        Written::Changed(updated, None) => {
            let assistant = AssistantRef::Id(updated.assistant);
            let found = auth.view().await?.resolve_assistant(user, assistant).await?;
            Ok((updated, found.ok_or(Error::AssistantNotFound)?.name))
        }
        _ => Err(ApiError::fault("a change has another result")),
    }
}

/// Returns the id of the assistant that a body names.
///
/// # Errors
/// 404 if the user has no such assistant.
async fn resolve(assistant: AssistantRef, view: &View, user: UserId) -> Result<AssistantId> {
    let found = view.resolve_assistant(user, assistant).await?;
    Ok(found.ok_or(Error::AssistantNotFound)?.id)
}
