//! Live stream of the console: how many conversations of a list are new, and which rows changed.

use std::collections::HashSet;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use convodb::{ChangeKind, Changes, ConversationId, ListRequest, PageSize, Snapshot, UserId};
use convodb_json::json;

use crate::error::Result;
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
/// The URL has the cursor behind the page (`after`), and `Last-Event-ID` wins over it. An event has
/// the number of conversations that the list has got at its beginning, and the ids of
/// all that changed or were deleted. The stream ends with the session, at the next event or
/// heartbeat.
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
    let last = last_event_id(&headers)?.or(after.as_deref());
    let params = params::change_events("cursor=now", last, user, &snapshot)?;
    let place = Some(service.event_stream_permit(user)?);
    let follower = Follower::new(&service, authority, user, params.since, params.size, place);
    events::stream(&service, follower, caller, move |part, snapshot| {
        write(part, snapshot, user, &request)
    })
}

/// Returns the data of an event. The list itself decides which conversations belong to it.
fn write(
    part: &Changes,
    snapshot: &Snapshot,
    user: UserId,
    request: &ListRequest,
) -> Result<Vec<u8>> {
    let ids = |kind: ChangeKind| {
        part.changes.iter().filter(move |change| change.kind == kind).map(|change| change.id)
    };
    let created: HashSet<ConversationId> = ids(ChangeKind::Created).collect();
    let new = match created.is_empty() {
        true => 0,
        false => {
            let page = snapshot.list(user, request)?;
            page.conversations().filter(|row| created.contains(&row.id)).count()
        }
    };
    let mut out = Vec::with_capacity(64);
    json::raw(&mut out, "{\"new\":");
    json::integer(&mut out, new as u64);
    for (name, kind) in
        [(",\"updated\":[", ChangeKind::Updated), ("],\"deleted\":[", ChangeKind::Deleted)]
    {
        json::raw(&mut out, name);
        for (at, id) in ids(kind).enumerate() {
            json::raw(&mut out, if at == 0 { "" } else { "," });
            json::uuid(&mut out, id.uuid());
        }
    }
    json::raw(&mut out, "]}");
    Ok(out)
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
