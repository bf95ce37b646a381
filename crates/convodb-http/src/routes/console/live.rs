//! Live stream of the console: how many conversations of a list are new, and which rows changed.

use std::fmt;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{
    ChangeKind, Changes, ConversationId, ConversationRef, ListRequest, Page, PageSize, Sort,
    Timestamp,
};
use convodb_json::json;

use crate::error::{FieldError, Result};
use crate::extract::auth::{AuthRead, Read};
use crate::extract::event_stream::last_event_id;
use crate::extract::params;
use crate::extract::query_string::{PlusSign, QueryString};
use crate::extract::session::SessionRead;
use crate::middleware::caller::Caller;
use crate::routes::console::list::list_request;
use crate::routes::console::visit::query_of;
use crate::routes::events;
use crate::routes::feed::Follower;
use crate::state::Service;

/// `GET /console/live`: events for a screen that shows the first page of a list.
///
/// The URL has the cursor behind the page (`after`), and `Last-Event-ID` wins over it; and the row
/// that was the first one of the page (`first`), without which the page had none. An event has the
/// number of conversations that the list has above that row, and the ids of all that
/// changed or were deleted. The stream ends with the session, at the next event or heartbeat.
pub(super) async fn live(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Read>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let AuthRead { user, snapshot, authority, .. } = auth;
    let request = list_request(query_of(&uri), user, &snapshot)?;
    let request = ListRequest { page_size: Some(PageSize::MAX), cursor: None, ..request };
    let mut query = QueryString::new(query_of(&uri));
    let after = query.take("after", PlusSign::Space, |text| Ok(text.to_owned()));
    let first = query.take("first", PlusSign::Space, |text| {
        FirstRow::parse(text).ok_or_else(|| FieldError::invalid_choice("first"))
    });
    query.finish()?;
    let last = last_event_id(&headers)?.or(after.as_deref());
    let params = params::change_events("cursor=now", last, user, &snapshot)?;
    let place = Some(service.event_stream_permit(user)?);
    let follower = Follower::new(&service, authority, user, params.since, params.size, place);
    events::stream(&service, follower, caller, move |part, snapshot| {
        let page = snapshot.list(user, &request)?;
        Ok(write(part, &page, new_rows(&page, first, request.sort.unwrap_or_default())))
    })
}

/// The row that was the first one of a page: `1737800001000-` and its id. The number is the time
/// that sorts the list, in milliseconds, which an activity of the row may have changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstRow {
    at: Timestamp,
    id: ConversationId,
}

impl FirstRow {
    /// The first row of a page; `None` if the page has none.
    pub(super) fn of(page: &Page, sort: Sort) -> Option<Self> {
        page.conversations().next().map(|row| Self { at: time(&row, sort), id: row.id })
    }

    fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('-')?;
        let at = Timestamp::from_millis(millis.parse().ok()?).ok()?;
        Some(Self { at, id: id.parse().ok()? })
    }
}

impl fmt::Display for FirstRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.millis(), self.id)
    }
}

/// The time that sorts a list.
const fn time(row: &ConversationRef<'_>, sort: Sort) -> Timestamp {
    match sort {
        Sort::CreatedAt => row.created_at,
        Sort::LastActivity => row.updated_at,
    }
}

/// The number of rows of a list's first page above the row that was its first one. If that row is
/// gone, those that are later than it was.
fn new_rows(page: &Page, first: Option<FirstRow>, sort: Sort) -> usize {
    let Some(first) = first else { return page.len() };
    let is_first = |row: ConversationRef<'_>| row.id == first.id && time(&row, sort) == first.at;
    page.conversations().position(is_first).unwrap_or_else(|| {
        page.conversations().take_while(|row| time(row, sort) > first.at).count()
    })
}

/// Returns the data of an event. The number is a text: blank without new rows, and with a plus sign
/// if they fill the page.
fn write(part: &Changes, page: &Page, new: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    json::raw(&mut out, "{\"new\":\"");
    if new > 0 {
        json::integer(&mut out, new as u64);
    }
    if new == page.page_size().get() {
        out.push(b'+');
    }
    out.push(b'"');
    for (name, kind) in
        [(",\"updated\":[", ChangeKind::Updated), ("],\"deleted\":[", ChangeKind::Deleted)]
    {
        json::raw(&mut out, name);
        let ids = part.changes.iter().filter(|change| change.kind == kind).map(|change| change.id);
        for (at, id) in ids.enumerate() {
            json::raw(&mut out, if at == 0 { "" } else { "," });
            json::uuid(&mut out, id.uuid());
        }
    }
    json::raw(&mut out, "]}");
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use convodb::{Store, Timestamp};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use crate::clock::now;
    use crate::limits::Limits;
    use crate::response::base_url::BaseUrl;
    use crate::routes::router;
    use crate::state::Service;

    #[tokio::test]
    async fn a_stream_ends_with_its_session() {
        let store = Store::in_memory().unwrap();
        let user = store.create_user("u", Timestamp::MIN).unwrap().id;
        let token = store.create_token(user, Timestamp::MIN).unwrap();
        let access = store.snapshot().authenticate(&token, Timestamp::MIN).unwrap().unwrap();
        let limits = Limits { event_heartbeat: Duration::from_millis(20), ..Limits::default() };
        let service = Service::new(store, BaseUrl::new(None), limits, None);
        let end = Timestamp::from_millis(now().unwrap().millis() + 1000).unwrap();
        let cookie = service.session_key().seal(access.token, end);
        let routes = TowerToHyperService::new(router(service));
        let request = Request::get("/console/live")
            .header("cookie", format!("convodb_console={cookie}"))
            .body(Body::empty())
            .unwrap();
        let Ok(response) = routes.call(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = to_bytes(response.into_body(), usize::MAX);
        let body = tokio::time::timeout(Duration::from_secs(20), body).await;
        let body = body.expect("the token is still valid, but the session has ended").unwrap();
        assert!(now().unwrap() >= end, "it ended early");
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.starts_with("retry: 1000\nid: "), "{text}");
        let (_, last) = text.rsplit_once("event: end\n").unwrap();
        assert!(last.starts_with("data: {\"status\":401,"), "{last}");
    }
}
