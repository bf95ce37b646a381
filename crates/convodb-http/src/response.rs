//! Answers that went well: a JSON body and its headers.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use convodb::{Assistant, Conversation, ConversationId, Message, Name, Page, Snapshot, UserId};

use crate::error::Result;
use crate::item::{AssistantNames, Times, write_fields, write_history};
use crate::json;
use crate::page::{PageTokens, TYPICAL_ITEM_BYTES, write_page};

/// What a link takes beside its URL: a token has at most 98 characters.
const MAX_LINK_BYTES: usize = 144;

/// An answer of status 200 with a JSON body.
pub(crate) fn ok(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A page of the user's list as the answer for `url`, read from the snapshot that the page is of.
pub(crate) fn list(url: &str, page: &Page, user: UserId, snapshot: &Snapshot) -> Result<Response> {
    let tokens = PageTokens::of(page, snapshot);
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let mut body = Vec::new();
    write_page(&mut body, url, page, &tokens, &mut names)?;
    let mut response = ok(body);
    if let Some(link) = link(url, page.page_size().get(), &tokens) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// A conversation with its history, read from the snapshot that both are of.
pub(crate) fn conversation(
    conversation: &Conversation,
    history: &[Message],
    user: UserId,
    snapshot: &Snapshot,
) -> Result<Response> {
    let texts: usize = history.iter().map(|message| message.content().len()).sum();
    let mut out = Vec::with_capacity(TYPICAL_ITEM_BYTES + texts + 128 * history.len());
    let mut names = AssistantNames::new(snapshot.clone(), user);
    json::raw(&mut out, "{\"status\":true,\"history\":");
    write_history(&mut out, history);
    out.push(b',');
    let name = names.name(conversation.assistant)?;
    write_fields(&mut out, &conversation.borrowed(), name, Times::Seconds);
    out.push(b'}');
    Ok(ok(out))
}

/// A conversation as a change left it, with the name of its assistant.
pub(crate) fn changed_conversation(conversation: &Conversation, assistant: &Name) -> Response {
    let mut out = Vec::with_capacity(TYPICAL_ITEM_BYTES);
    json::raw(&mut out, "{\"status\":true,");
    write_fields(&mut out, &conversation.borrowed(), assistant.as_str(), Times::Seconds);
    out.push(b'}');
    ok(out)
}

/// A conversation that was created, in the reference's words.
pub(crate) fn created_conversation(id: ConversationId) -> Response {
    let mut out = Vec::with_capacity(128);
    json::raw(&mut out, "{\"status\":true,\"conversation_id\":");
    json::uuid(&mut out, id.uuid());
    json::raw(&mut out, ",\"history\":[]}");
    ok(out)
}

/// One assistant.
pub(crate) fn assistant(assistant: &Assistant) -> Response {
    let mut out = Vec::with_capacity(128);
    write_assistant(&mut out, assistant);
    ok(out)
}

/// Appends an assistant as the assistants list shows it.
pub(crate) fn write_assistant(out: &mut Vec<u8>, assistant: &Assistant) {
    json::raw(out, "{\"id\":");
    json::integer(out, assistant.number.into());
    json::raw(out, ",\"uuid\":");
    json::uuid(out, assistant.id.uuid());
    json::raw(out, ",\"name\":");
    json::string(out, assistant.name.as_str());
    out.push(b'}');
}

/// The `Link` header (RFC 8288). A cursor carries the filters, so no URL of it tells a phone.
fn link(url: &str, per_page: usize, tokens: &PageTokens) -> Option<HeaderValue> {
    let mut links = String::with_capacity(2 * (url.len() + MAX_LINK_BYTES));
    for (cursor, rel) in [(&tokens.next, "next"), (&tokens.prev, "prev")] {
        if let Some(cursor) = cursor {
            let comma = if links.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ =
                write!(links, "{comma}<{url}?per_page={per_page}&cursor={cursor}>; rel=\"{rel}\"");
        }
    }
    if links.is_empty() { None } else { links.try_into().ok() }
}
