//! Live stream of the console: how many conversations of a list are new, and which rows changed.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{ChangeKind, Changes, ListRequest, Page, PageSize};
use convodb_json::{AssistantNames, json};
use convodb_service::View;

use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthRead, Read};
use crate::extract::event_stream::last_event_id;
use crate::extract::params;
use crate::extract::query_string::{PlusSign, QueryString};
use crate::extract::session::SessionRead;
use crate::middleware::caller::Caller;
use crate::routes::console::first_row::{FirstRow, new_rows};
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
    let AuthRead { user, view: snapshot, authority, .. } = auth;
    let request = list_request(query_of(&uri), user, &snapshot).await?;
    let view = View::from(snapshot);
    let request = ListRequest { page_size: Some(PageSize::MAX), cursor: None, ..request };
    let mut query = QueryString::new(query_of(&uri));
    let after = query.take("after", PlusSign::Space, |text| Ok(text.to_owned()));
    let first = query.take("first", PlusSign::Space, |text| {
        FirstRow::parse(text).ok_or_else(|| FieldError::invalid_choice("first"))
    });
    query.finish()?;
    let last = last_event_id(&headers)?.or(after.as_deref());
    let params = params::change_events("cursor=now", last, user, &view)?;
    let place = Some(service.event_stream_permit(user)?);
    let from = (params.since, params.size);
    let follower = Follower::new(&service, (authority, view), user, from, place);
    let write = move |part: &Changes, view: &View, _: &mut AssistantNames| {
        let snapshot = view.snapshot().ok_or_else(ApiError::no_console)?;
        let page = snapshot.list(user, &request)?;
        Ok(event(part, &page, new_rows(&page, first, request.sort.unwrap_or_default())))
    };
    events::stream(&service, follower, caller, write).await
}

/// Returns the data of an event. The number is a text: blank without new rows, and with a plus sign
/// if they fill the page.
fn event(part: &Changes, page: &Page, new: usize) -> Vec<u8> {
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
        let service = Service::new(store.into(), BaseUrl::new(None), limits, None);
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
