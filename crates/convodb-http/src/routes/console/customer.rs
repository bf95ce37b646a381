//! Customer screen: the conversations of a phone.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{Channel, CostSum, Filter, ListRequest, Order, PageCost, PageSize};
use convodb_console::{CustomerScreen, CustomerTotals, Query, Screen};

use crate::error::{ApiError, Result};
use crate::extract::auth::Read;
use crate::extract::params;
use crate::extract::query_string::QueryString;
use crate::extract::session::{SessionAuth, SessionRead};
use crate::response::html;
use crate::routes::console::list;
use crate::routes::console::visit::{Visit, field_messages, query_of};
use crate::routes::conversations;
use crate::state::Service;

/// The most conversations that are added up: there are no counters of a phone.
const MAX_ADDED: u64 = 1000;

/// `GET /console/customers?phone=...`.
pub(super) async fn customer(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Read>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let mut visit = Visit::new(Screen::Customer);
    let mut query = QueryString::new(query_of(&uri));
    let phone = params::phone(&mut query, "phone");
    let checked = query.finish();
    let mut screen = CustomerScreen {
        frame: visit.frame(&service, &headers, &auth, None)?,
        phone: phone.as_ref().map_or(String::new(), |phone| phone.as_str().to_owned()),
        rows: Vec::new(),
        has_more: false,
        totals: CustomerTotals::default(),
        error: String::new(),
    };
    if let Err(error) = checked {
        let first = field_messages(error)?.into_iter().next();
        screen.error = first.map_or(String::new(), |error| error.message);
    }
    let mut cost = None;
    if let Some(phone) = phone {
        let api = Query::new([("customer_phone", phone.as_str().to_owned())]);
        visit.api = Some(format!("{}{}", conversations::LIST, api.suffix()));
        let filter = Filter { customer_phone: Some(phone), ..Filter::default() };
        let (page, totals) = read(&service, &auth, filter)?;
        screen.rows = list::rows(&page, auth.user, &auth.view)?;
        screen.has_more = totals.conversations > screen.rows.len() as u64;
        screen.totals = totals;
        cost = Some((page.cost(), PageCost::bound(page.page_size())));
    }
    let read_at = Instant::now();
    screen.frame = visit.frame(&service, &headers, &auth, cost)?;
    html::page(&screen, visit.began, read_at)
}

/// Reads the newest conversations and adds them up. Returns the page that is shown, with previews.
fn read(
    service: &Service,
    auth: &SessionAuth<Read>,
    filter: Filter,
) -> Result<(convodb::Page, CustomerTotals), ApiError> {
    let (snapshot, user) = (&auth.view, auth.user);
    let request = ListRequest { filter, ..ListRequest::default() };
    let page_size = Some(PageSize::new(list::PAGE_SIZE)?);
    let shown = ListRequest { page_size, previews: true, ..request.clone() };
    let first = snapshot.list(user, &shown)?;
    service.metrics().record_page(&first);
    let mut totals = CustomerTotals::default();
    let mut cost = CostSum::default();
    let mut add = |page: &convodb::Page| {
        for row in page.conversations() {
            totals.conversations += 1;
            totals.messages += u64::from(row.message_count);
            cost = CostSum::from_nanos(cost.nanos() + i128::from(row.total_cost.nanos()));
            totals.first = Some(row.created_at);
            totals.last = totals.last.or(Some(row.created_at));
            if let (None, Channel::Whatsapp { customer, .. }) = (&totals.name, &row.channel) {
                totals.name = customer.name.as_ref().map(|name| name.as_str().to_owned());
            }
        }
        totals.conversations
    };
    let (mut added, mut cursor) = (add(&first), first.next_cursor().copied());
    while let Some(at) = cursor.filter(|_| added < MAX_ADDED) {
        let page_size = Some(PageSize::new((MAX_ADDED - added).min(PageSize::MAX.get() as u64))?);
        let next = ListRequest { cursor: Some(at), page_size, ..request.clone() };
        let page = snapshot.list(user, &next)?;
        service.metrics().record_page(&page);
        (added, cursor) = (add(&page), page.next_cursor().copied());
    }
    totals.cost_nanos = cost.nanos();
    totals.is_partial = cursor.is_some();
    if totals.is_partial {
        let order = Some(Order::Ascending);
        let page_size = Some(PageSize::MIN);
        let oldest = snapshot.list(user, &ListRequest { order, page_size, ..request })?;
        totals.first = oldest.conversations().next().map(|row| row.created_at);
    }
    Ok((first, totals))
}
