//! List screen, and the rows that other screens share.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{ChangesSince, ListRequest, Order, Page, PageCost, PageSize, Snapshot, UserId};
use convodb_console::{ListScreen, Query, Row, Screen};
use convodb_json::AssistantNames;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::extract::params::{self, ListParams};
use crate::extract::query_string::{PlusSign, QueryString, UnknownFields};
use crate::extract::session::{SessionRead, see_other};
use crate::response::html;
use crate::response::page::PageTokens;
use crate::routes::console::visit::{Visit, choices, field_messages, has_blanks, query_of};
use crate::routes::conversations;
use crate::state::Service;

/// The page size of the screen, unless the URL has one.
pub(super) const PAGE_SIZE: u64 = 25;

/// `GET /console/conversations`.
pub(super) async fn list(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Read>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let mut visit = Visit::new(Screen::Conversations);
    let query = list_query(query_of(&uri));
    if has_blanks(query_of(&uri)) {
        let base = service.base_url().base_path();
        return Ok(see_other(&format!("{base}/console/conversations{}", query.suffix())));
    }
    visit.api = Some(format!("{}{}", conversations::LIST, query.suffix()));
    let read = read(&auth, query_of(&uri));
    let (request, page, errors) = match read {
        Ok((request, page)) => (request, Some(page), Vec::new()),
        Err(error) => (ListRequest::default(), None, field_messages(error)?),
    };
    let tokens = page.as_ref().map_or_else(PageTokens::default, |page| {
        service.metrics().record_page(page.cost());
        PageTokens::of(page, &auth.snapshot)
    });
    let rows =
        page.as_ref().map_or(Ok(Vec::new()), |page| rows(page, auth.user, &auth.snapshot))?;
    let read_at = Instant::now();
    let cost = page.as_ref().map(|page| (page.cost(), PageCost::bound(page.page_size())));
    // On a later page, and at the beginning of an ascending list, nothing new appears.
    let is_ascending = request.order == Some(Order::Ascending);
    let is_live = !is_ascending && request.cursor.is_none() && errors.is_empty();
    let screen = ListScreen {
        frame: visit.frame(&service, &headers, &auth, cost)?,
        rows,
        per_page: match &page {
            Some(page) => page.page_size().get(),
            None => page_size(&query)?.get(),
        },
        live_after: match is_live {
            true => Some(live_after(&auth)?),
            false => None,
        },
        next: tokens.next,
        prev: tokens.prev,
        assistants: choices(&auth)?,
        errors,
        query,
    };
    html::page(&screen, visit.began, read_at)
}

/// The page size that a query asks for, or the console's own if it is missing or wrong.
fn page_size(query: &Query) -> Result<PageSize> {
    let asked = query.get("per_page").parse().ok().and_then(|size| PageSize::new(size).ok());
    asked.map_or_else(|| Ok(PageSize::new(PAGE_SIZE)?), Ok)
}

/// The cursor of the change feed behind the snapshot of a page.
fn live_after(auth: &AuthRead<Read>) -> Result<String> {
    let now = auth.snapshot.changes_since(auth.user, ChangesSince::Now, PageSize::MIN)?;
    Ok(auth.snapshot.seal_change_cursor(&now.next_cursor))
}

/// Reads the page of a query, as the API does.
///
/// # Errors
/// As the API.
fn read(auth: &AuthRead<Read>, query: &str) -> Result<(ListRequest, Page)> {
    let request = list_request(query, auth.user, &auth.snapshot)?;
    let page = auth.snapshot.list(auth.user, &request)?;
    Ok((request, page))
}

/// Parses the list of a screen's URL, whose other parameters are ignored.
///
/// # Errors
/// As [`params::list`].
pub(super) fn list_request(query: &str, user: UserId, snapshot: &Snapshot) -> Result<ListRequest> {
    let ListParams { request, .. } =
        params::list(query, user, snapshot, UnknownFields::OnlyFilters)?;
    let needs_size = request.page_size.is_none() && request.cursor.is_none();
    let page_size = if needs_size { Some(PageSize::new(PAGE_SIZE)?) } else { request.page_size };
    Ok(ListRequest { page_size, ..request })
}

/// The parameters of a list, decoded as the API decodes them, for links and forms.
pub(super) fn list_query(query: &str) -> Query {
    let mut parsed = QueryString::new(query);
    Query::new(params::LIST.map(|name| {
        let plus = match name {
            "customer_phone" | "whatsapp_sender_phone" => PlusSign::Leading,
            _ => PlusSign::Space,
        };
        let value = parsed.take(name, plus, |text| Ok(text.to_owned()));
        (name, value.unwrap_or_default())
    }))
}

/// The rows of a page.
pub(super) fn rows(page: &Page, user: UserId, snapshot: &Snapshot) -> Result<Vec<Row>> {
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let row = |row: convodb::ConversationRef<'_>| {
        Ok(Row::new(
            &row,
            names.name(row.assistant).map_err(crate::response::json_body::stored_assistant)?,
        ))
    };
    page.conversations().map(row).collect()
}
