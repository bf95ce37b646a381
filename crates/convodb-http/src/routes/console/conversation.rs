//! Conversation screen, and turning the assistant on and off.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{ConversationId, Error, ListRequest, Message, MessageIter, PageSize};
use convodb_console::{ConversationScreen, MessagePart, Neighbours, Screen};
use convodb_json::AssistantNames;

use crate::body::{ConversationPatch, RequestBody};
use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthWrite, Read, Write};
use crate::extract::params;
use crate::extract::path::PathId;
use crate::extract::query_string::{PlusSign, QueryString};
use crate::extract::session::{SessionAuth, SessionRead, see_other};
use crate::response::history_page::{HistoryCursor, HistoryPage, HistoryParams};
use crate::response::{html, json_body};
use crate::routes::console::list::{list_query, list_request};
use crate::routes::console::visit::{Visit, query_of};
use crate::routes::conversation::apply;
use crate::state::Service;

/// The messages of a part, and the bytes at which it ends earlier.
const PART_MESSAGES: u64 = 50;
const PART_BYTES: usize = 1 << 20;

/// `GET /console/conversations/{uuid}`, with the parameters of the list that it was opened from.
pub(super) async fn read(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Read>,
    path: PathId<ConversationId>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let mut visit = Visit::new(Screen::Conversations);
    let id = path.conversation()?;
    visit.api = Some(format!("/api/conversations/{id}"));
    let (snapshot, user) = (&auth.view, auth.user);
    let found = snapshot.conversation(user, id)?.zip(snapshot.message_iter(user, id)?);
    let (conversation, messages) = found.ok_or(Error::ConversationNotFound)?;
    let part = part(messages, query_of(&uri))?;
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let assistant = names.name(conversation.assistant).map_err(json_body::stored_assistant)?;
    let list = list_query(query_of(&uri));
    // A list that cannot be read any more, as with a deleted assistant, has no neighbours.
    let neighbours = match list_request(query_of(&uri), user, snapshot).await {
        Ok(request) => neighbours(&auth, &request, id)?,
        Err(_) => Neighbours::default(),
    };
    let read_at = Instant::now();
    let screen = ConversationScreen {
        frame: visit.frame(&service, &headers, &auth, None)?,
        list,
        assistant: assistant.to_owned(),
        conversation,
        part,
        neighbours,
    };
    html::page(&screen, visit.began, read_at)
}

/// `POST /console/conversations/{uuid}/ai`: turns the assistant on or off, as the API does.
pub(super) async fn set_ai(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Write>,
    path: PathId<ConversationId>,
    uri: Uri,
    body: RequestBody,
) -> Result<Response> {
    let id = path.conversation()?;
    let form = body.form().await?;
    let mut form = QueryString::new(&form);
    let enabled = form.take("enabled", PlusSign::Space, |text| params::switch("enabled", text));
    form.finish()?;
    let enabled = enabled
        .ok_or_else(|| ApiError::invalid(vec![FieldError::breaks("enabled", "must be 1 or 0")]))?;
    apply(&AuthWrite::from(auth), id, ConversationPatch::ai_enabled(enabled)).await?;
    let base = service.base_url().base_path();
    let list = list_query(query_of(&uri));
    Ok(see_other(&format!("{base}/console/conversations/{id}{}", list.suffix())))
}

/// Reads the part of a history that the URL names; the first one by default.
fn part(messages: MessageIter, query: &str) -> Result<MessagePart> {
    let mut query = QueryString::new(query);
    let cursor = query.take("messages", PlusSign::Space, |text| {
        HistoryCursor::parse(text).ok_or_else(|| FieldError::invalid_choice("messages"))
    });
    query.finish()?;
    let params = HistoryParams {
        cursor: cursor.unwrap_or(HistoryCursor::After(0)),
        size: PageSize::new(PART_MESSAGES)?,
    };
    let stored = messages.stored();
    let mut page = HistoryPage::of(params, stored);
    let mut read: Vec<Message> = Vec::with_capacity(page.len as usize);
    let mut bytes = 0;
    for message in messages.from(page.skipped).take(page.len as usize) {
        let message = message?;
        bytes += message.content().len() + message.function_calls().map_or(0, str::len);
        if bytes > PART_BYTES && !read.is_empty() {
            break;
        }
        read.push(message);
    }
    page.len = u32::try_from(read.len()).unwrap_or(page.len);
    let (prev, next) = (page.prev_cursor(), page.next_cursor());
    Ok(MessagePart { messages: read, skipped: page.skipped, stored, prev, next })
}

/// Finds the conversations beside one in a list: on its page, or at the ends of the pages beside
/// it. Reads at most two pages.
fn neighbours(
    auth: &SessionAuth<Read>,
    request: &ListRequest,
    id: ConversationId,
) -> Result<Neighbours> {
    let (snapshot, user) = (&auth.view, auth.user);
    let page = snapshot.list(user, request)?;
    let ids: Vec<ConversationId> = page.conversations().map(|row| row.id).collect();
    let Some(at) = ids.iter().position(|other| *other == id) else {
        return Ok(Neighbours::default());
    };
    let on_page = |at: Option<usize>| Some((ids.get(at?)?.to_string(), None));
    let beyond = |cursor: Option<&convodb::PageCursor>, is_next: bool| {
        let Some(cursor) = cursor else { return Ok::<_, ApiError>(None) };
        let request = ListRequest { cursor: Some(*cursor), ..request.clone() };
        let page = snapshot.list(user, &request)?;
        let mut rows = page.conversations();
        let row = if is_next { rows.next() } else { rows.next_back() };
        Ok(row.map(|row| (row.id.to_string(), Some(snapshot.seal_cursor(cursor)))))
    };
    let previous = match on_page(at.checked_sub(1)) {
        Some(found) => Some(found),
        None => beyond(page.prev_cursor(), false)?,
    };
    let next = match on_page(Some(at + 1)) {
        Some(found) => Some(found),
        None => beyond(page.next_cursor(), true)?,
    };
    Ok(Neighbours { previous, next })
}
