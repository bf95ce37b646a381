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
/// all that changed or were deleted.
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
    let follower = Follower::new(&service, authority, user, params.since, params.size);
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
