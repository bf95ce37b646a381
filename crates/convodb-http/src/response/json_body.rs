//! Successful responses: a JSON body and its headers.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use convodb::{
    Assistant, AssistantId, Changes, Conversation, ConversationId, Count, Error, Name, Page,
    PageSize, Stats, Volume,
};
use convodb_json::{AssistantNames, TimeFormat, json, write_fields, write_item};
use convodb_service::View;

use crate::error::{ApiError, Result};
use crate::response::columns::Columns;
use crate::response::history_page::HistoryPage;
use crate::response::page::{PageTokens, TYPICAL_ITEM_BYTES, write_items};
use crate::response::statistics::{StatsParams, group_names};

/// The bytes of a link in addition to its URL, to reserve a buffer; the token of a list without
/// several types or assistants has at most 98 characters.
const TYPICAL_LINK_BYTES: usize = 144;

/// Returns a response of status 200 with a JSON body.
pub(crate) fn ok(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Returns a page of the list at `url`, with these columns of each item, and the number of the
/// list's conversations if it was counted. `view` is the one that the page was read from, and `names`
/// are those of its assistants.
pub(crate) fn list(
    url: &str,
    page: &Page,
    columns: Columns,
    count: Option<Count>,
    names: &mut AssistantNames,
    view: &View,
) -> Result<Response> {
    let tokens = PageTokens::of_view(page, view);
    let mut body = Vec::new();
    let mut previews = page.previews();
    let written = write_items(&mut body, url, page, &tokens, |out, row| {
        columns.write_item(out, row, names, previews.next())
    });
    written.map_err(stored_assistant)?;
    if let Some(count) = count {
        // The object continues.
        body.pop();
        body.push(b',');
        total(&mut body, count);
        body.push(b'}');
    }
    let mut response = ok(body);
    if let Some(link) = link(url, page.page_size().get(), columns, &tokens) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Returns the number of conversations of the list at `url`, with the fields of an empty page.
pub(crate) fn count(url: &str, per_page: PageSize, count: Count) -> Response {
    let mut body = Vec::with_capacity(256);
    json::raw(&mut body, "{\"data\":[],\"path\":");
    json::string(&mut body, url);
    json::raw(&mut body, ",\"per_page\":");
    json::integer(&mut body, per_page.get() as u64);
    json::raw(&mut body, ",\"next_cursor\":null,\"prev_cursor\":null,");
    total(&mut body, count);
    body.push(b'}');
    ok(body)
}

/// Writes the number of a list's conversations as the field `total`.
fn total(out: &mut Vec<u8>, count: Count) {
    json::raw(out, "\"total\":{\"conversations\":");
    json::integer(out, count.conversations);
    json::raw(out, if count.is_exact { ",\"exact\":true}" } else { ",\"exact\":false}" });
}

/// Returns what follows the history of a conversation: its fields, and the cursors of a page of the
/// history. `names` has the name of its assistant.
pub(crate) fn after_history(
    conversation: &Conversation,
    page: Option<&HistoryPage>,
    names: &mut AssistantNames,
) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(TYPICAL_ITEM_BYTES);
    out.push(b',');
    let name = name(names, conversation.assistant)?;
    write_fields(&mut out, &conversation.borrowed(), name, TimeFormat::Seconds);
    if let Some(page) = page {
        json::raw(&mut out, ",\"per_page\":");
        json::integer(&mut out, page.size.get() as u64);
        json::raw(&mut out, ",\"next_cursor\":");
        json::string_or_null(&mut out, page.next_cursor().as_deref());
        json::raw(&mut out, ",\"prev_cursor\":");
        json::string_or_null(&mut out, page.prev_cursor().as_deref());
    }
    out.push(b'}');
    Ok(out)
}

/// Returns an updated conversation with the name of its assistant.
pub(crate) fn updated_conversation(conversation: &Conversation, assistant: &Name) -> Response {
    let mut out = Vec::with_capacity(TYPICAL_ITEM_BYTES);
    json::raw(&mut out, "{\"status\":true,");
    write_fields(&mut out, &conversation.borrowed(), assistant.as_str(), TimeFormat::Seconds);
    out.push(b'}');
    ok(out)
}

/// Returns a created conversation, in the shape of the reference API.
pub(crate) fn created_conversation(id: ConversationId) -> Response {
    let mut out = Vec::with_capacity(128);
    json::raw(&mut out, "{\"status\":true,\"conversation_id\":");
    json::uuid(&mut out, id.uuid());
    json::raw(&mut out, ",\"history\":[]}");
    ok(out)
}

/// Returns the body of a page of the change feed. `view` is the one that the page was read from, and
/// `names` are those of its assistants.
pub(crate) fn changes(
    page: &Changes,
    size: PageSize,
    names: &mut AssistantNames,
    view: &View,
) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(TYPICAL_ITEM_BYTES * (page.changes.len() + 1));
    json::raw(&mut out, "{\"data\":[");
    for (at, change) in page.changes.iter().enumerate() {
        json::raw(&mut out, if at == 0 { "{\"change\":" } else { ",{\"change\":" });
        json::string(&mut out, change.kind.as_str());
        json::raw(&mut out, ",\"id\":");
        json::uuid(&mut out, change.id.uuid());
        json::raw(&mut out, ",\"conversation\":");
        match &change.conversation {
            Some(row) => write_item(&mut out, &row.borrowed(), name(names, row.assistant)?),
            None => json::raw(&mut out, "null"),
        }
        out.push(b'}');
    }
    json::raw(&mut out, "],\"per_page\":");
    json::integer(&mut out, size.get() as u64);
    json::raw(&mut out, ",\"next_cursor\":");
    json::string(&mut out, &view.seal_change_cursor(&page.next_cursor));
    json::raw(&mut out, ",\"has_more\":");
    json::boolean(&mut out, page.has_more);
    out.push(b'}');
    Ok(out)
}

/// Returns statistics. `names` are those of their assistants.
pub(crate) fn stats(
    params: &StatsParams,
    stats: &Stats,
    names: &mut AssistantNames,
) -> Result<Response> {
    let mut out = Vec::with_capacity(128 * (stats.rows.len() + 2));
    for (key, day) in [("{\"from\":", params.from), (",\"to\":", params.to)] {
        json::raw(&mut out, key);
        json::string_or_null(&mut out, day.map(|day| day.to_string()).as_deref());
    }
    json::raw(&mut out, ",\"group_by\":[");
    for (at, name) in group_names(&params.request).enumerate() {
        json::raw(&mut out, if at == 0 { "" } else { "," });
        json::string(&mut out, name);
    }
    json::raw(&mut out, "],\"data\":[");
    for (at, row) in stats.rows.iter().enumerate() {
        json::raw(&mut out, if at == 0 { "{" } else { ",{" });
        if let Some(period) = row.period {
            json::raw(&mut out, "\"period\":");
            json::string(&mut out, &period.to_string());
            out.push(b',');
        }
        if let Some(kind) = row.kind {
            json::raw(&mut out, "\"type\":");
            json::string(&mut out, kind.as_str());
            out.push(b',');
        }
        if let Some(assistant) = row.assistant {
            json::raw(&mut out, "\"assistant_id\":");
            json::uuid(&mut out, assistant.uuid());
            json::raw(&mut out, ",\"assistant_name\":");
            json::string(&mut out, name(names, assistant)?);
            out.push(b',');
        }
        write_volume(&mut out, &row.volume);
        out.push(b'}');
    }
    json::raw(&mut out, "],\"total\":{");
    write_volume(&mut out, &stats.total);
    json::raw(&mut out, "}}");
    Ok(ok(out))
}

fn write_volume(out: &mut Vec<u8>, volume: &Volume) {
    json::raw(out, "\"conversations\":");
    json::integer(out, volume.conversations);
    json::raw(out, ",\"messages\":");
    json::integer(out, volume.messages);
    json::raw(out, ",\"total_cost\":");
    json::cost_sum(out, volume.cost);
}

/// Returns one assistant.
pub(crate) fn assistant(assistant: &Assistant) -> Response {
    let mut out = Vec::with_capacity(128);
    write_assistant(&mut out, assistant);
    ok(out)
}

/// Appends assistants, separated by commas.
pub(crate) fn write_assistants(out: &mut Vec<u8>, assistants: &[Assistant]) {
    for (at, assistant) in assistants.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_assistant(out, assistant);
    }
}

/// Appends an assistant as the assistants list shows it.
fn write_assistant(out: &mut Vec<u8>, assistant: &Assistant) {
    json::raw(out, "{\"id\":");
    json::integer(out, assistant.number.into());
    json::raw(out, ",\"uuid\":");
    json::uuid(out, assistant.id.uuid());
    json::raw(out, ",\"name\":");
    json::string(out, assistant.name.as_str());
    out.push(b'}');
}

/// Returns the name of a stored conversation's assistant.
fn name(names: &mut AssistantNames, assistant: AssistantId) -> Result<&str> {
    names.name(assistant).map_err(stored_assistant)
}

/// Maps the error of an assistant's name: the assistant of a stored conversation always exists, so
/// a missing one is a fault of the store, not an unknown resource.
pub(crate) fn stored_assistant(error: Error) -> ApiError {
    match error {
        Error::AssistantNotFound => {
            ApiError::fault("the assistant of a stored conversation does not exist")
        }
        error => error.into(),
    }
}

/// Returns the `Link` header (RFC 8288). The cursor contains the filters, sealed, so no URL exposes
/// a phone number.
fn link(url: &str, per_page: usize, columns: Columns, tokens: &PageTokens) -> Option<HeaderValue> {
    let mut links = Vec::with_capacity(2 * (url.len() + TYPICAL_LINK_BYTES));
    for (cursor, rel) in [(&tokens.next, ">; rel=\"next\""), (&tokens.prev, ">; rel=\"prev\"")] {
        if let Some(cursor) = cursor {
            let before = if links.is_empty() { "<" } else { ", <" };
            json::raw(&mut links, before);
            json::raw(&mut links, url);
            json::raw(&mut links, "?per_page=");
            json::integer(&mut links, per_page as u64);
            if columns != Columns::default() {
                json::raw(&mut links, "&fields=");
                json::raw(&mut links, &columns.names().join(","));
            }
            json::raw(&mut links, "&cursor=");
            json::raw(&mut links, cursor);
            json::raw(&mut links, rel);
        }
    }
    if links.is_empty() { None } else { HeaderValue::from_maybe_shared(links).ok() }
}
