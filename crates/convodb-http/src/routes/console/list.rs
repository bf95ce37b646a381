//! List screen, and the rows that other screens share.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{
    ChangesSince, ConversationRef, Count, IndexFamilies, IndexFamily, IndexState, ListRequest,
    Order, Page, PageCost, PageSize, PreviewRef, Snapshot, Sort, UserId,
};
use convodb_console::{ListScreen, LiveStart, Query, Row, Screen};
use convodb_json::AssistantNames;
use convodb_service::View;

use crate::error::Result;
use crate::extract::auth::Read as ReadScope;
use crate::extract::params::{self, ListParams, Total};
use crate::extract::query_string::{PlusSign, QueryString, UnknownFields};
use crate::extract::session::{SessionAuth, SessionRead, see_other};
use crate::response::html;
use crate::response::json_body::stored_assistant;
use crate::response::page::PageTokens;
use crate::routes::console::first_row::FirstRow;
use crate::routes::console::visit::{Visit, choices, field_messages, has_blanks, query_of};
use crate::routes::conversations;
use crate::state::Service;

/// The filters that may have several values.
const SEVERAL: [&str; 2] = ["type", "assistant_id"];

/// The page size of the screen, unless the URL has one.
pub(super) const PAGE_SIZE: u64 = 25;

/// `GET /console/conversations`.
pub(super) async fn list(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<ReadScope>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let mut visit = Visit::new(Screen::Conversations);
    let asked = list_query(query_of(&uri));
    let query = with_bounds_of_its_sort(&asked);
    if has_blanks(query_of(&uri)) || has_repeats(query_of(&uri)) || query != asked {
        let base = service.base_url().base_path();
        return Ok(see_other(&format!("{base}/console/conversations{}", query.suffix())));
    }
    visit.api = Some(format!("{}{}", conversations::LIST, api_query(&query).suffix()));
    let read = read(&service, &auth, query_of(&uri)).await;
    let (request, page, total, errors) = match read {
        Ok(Read { request, page, total }) => (request, Some(page), total, Vec::new()),
        Err(error) => (ListRequest::default(), None, None, field_messages(error)?),
    };
    let tokens = page.as_ref().map_or_else(PageTokens::default, |page| {
        service.metrics().record_page(page);
        PageTokens::of(page, &auth.view)
    });
    let rows = page.as_ref().map_or(Ok(Vec::new()), |page| rows(page, auth.user, &auth.view))?;
    let read_at = Instant::now();
    let cost = page.as_ref().map(|page| {
        let cost = page.cost();
        (cost, PageCost::bound_of_ranges(page.page_size(), cost.ranges))
    });
    // On a later page, and at the beginning of an ascending list, nothing new appears.
    let is_ascending = request.order == Some(Order::Ascending);
    let is_live = !is_ascending && request.cursor.is_none();
    let screen = ListScreen {
        frame: visit.frame(&service, &headers, &auth, cost)?,
        rows,
        per_page: match &page {
            Some(page) => page.page_size().get(),
            None => page_size(&query)?.get(),
        },
        live: match &page {
            Some(page) if is_live => {
                Some(live_start(&auth, page, request.sort.unwrap_or_default())?)
            }
            _ => None,
        },
        indexes: ready_indexes(&auth.view),
        total,
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

/// Where the live updates of a page begin: behind its snapshot, and above its first row.
fn live_start(auth: &SessionAuth<ReadScope>, page: &Page, sort: Sort) -> Result<LiveStart> {
    let now = auth.view.changes_since(auth.user, ChangesSince::Now, PageSize::MIN)?;
    Ok(LiveStart {
        after: auth.view.seal_change_cursor(&now.next_cursor),
        first: FirstRow::of(page, sort).map_or(String::new(), |first| first.to_string()),
    })
}

/// The optional indexes that answer.
fn ready_indexes(snapshot: &Snapshot) -> IndexFamilies {
    let is_ready = |family: &IndexFamily| snapshot.index_state(*family) == IndexState::Ready;
    IndexFamilies::ALL.iter().filter(is_ready).collect()
}

/// The query without the bounds of the time that does not sort its list: a form sends them along
/// when it changes the sort.
fn with_bounds_of_its_sort(query: &Query) -> Query {
    query.without(match query.get("sort") == Sort::LastActivity.as_str() {
        true => &["created_from", "created_to"],
        false => &["active_from", "active_to"],
    })
}

/// The parameters by which the API returns what the screen shows.
fn api_query(query: &Query) -> Query {
    let query = query.with("fields", "preview");
    match query.has_any(&["per_page", "cursor"]) {
        true => query,
        false => query.with("per_page", &PAGE_SIZE.to_string()),
    }
}

/// What a query asks for.
struct Read {
    request: ListRequest,
    page: Page,
    total: Option<Count>,
}

/// Reads the page of a query, and the number of conversations of its list if the query asks for it,
/// as the API does.
///
/// # Errors
/// As the API.
async fn read(service: &Service, auth: &SessionAuth<ReadScope>, query: &str) -> Result<Read> {
    let (user, snapshot) = (auth.user, &auth.view);
    let view = View::from(snapshot.clone());
    let params = params::list(query, user, &view, UnknownFields::OnlyFilters).await?;
    let request = ListRequest { previews: true, ..with_page_size(params.request)? };
    let total = match params.total {
        Total::LeftOut => None,
        Total::Included | Total::Only => {
            Some(conversations::count(service, &view, user, &request).await?)
        }
    };
    let page = snapshot.list(user, &request)?;
    Ok(Read { request, page, total })
}

/// Parses the list of a screen's URL, whose other parameters are ignored.
///
/// # Errors
/// As [`params::list`].
pub(super) async fn list_request(
    query: &str,
    user: UserId,
    snapshot: &Snapshot,
) -> Result<ListRequest> {
    let view = snapshot.clone().into();
    let ListParams { request, .. } =
        params::list(query, user, &view, UnknownFields::OnlyFilters).await?;
    with_page_size(request)
}

/// The same request with the page size of the screen, unless it or its cursor has one.
fn with_page_size(request: ListRequest) -> Result<ListRequest> {
    let needs_size = request.page_size.is_none() && request.cursor.is_none();
    let page_size = if needs_size { Some(PageSize::new(PAGE_SIZE)?) } else { request.page_size };
    Ok(ListRequest { page_size, ..request })
}

/// The parameters of a list, decoded as the API decodes them, for links and forms.
pub(super) fn list_query(query: &str) -> Query {
    let mut parsed = QueryString::new(query);
    let names = params::LIST.into_iter().chain(["include"]);
    Query::new(names.map(|name| {
        let plus = match name {
            "customer_phone" | "whatsapp_sender_phone" => PlusSign::Leading,
            _ => PlusSign::Space,
        };
        let value = if SEVERAL.contains(&name) {
            parsed.take_several(name, usize::MAX, |text| Ok(text.to_owned())).join(",")
        } else {
            parsed.take(name, plus, |text| Ok(text.to_owned())).unwrap_or_default()
        };
        (name, value)
    }))
}

/// Whether a form has sent the values of a filter one by one, which links separate by commas.
fn has_repeats(query: &str) -> bool {
    let times = |name| query.split('&').filter(|pair| pair.split('=').next() == Some(name)).count();
    SEVERAL.into_iter().any(|name| times(name) > 1)
}

/// The rows of a page that was read with previews.
pub(super) fn rows(page: &Page, user: UserId, snapshot: &Snapshot) -> Result<Vec<Row>> {
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let row = |(row, preview): (ConversationRef<'_>, Option<PreviewRef<'_>>)| {
        let name = names.name(row.assistant).map_err(stored_assistant)?;
        Ok(Row::new(&row, name, preview))
    };
    let rows = page.conversations().zip(page.previews()).map(row).collect::<Result<_>>()?;
    Ok(Row::with_aligned_costs(rows))
}
