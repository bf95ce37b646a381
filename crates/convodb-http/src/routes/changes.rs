//! Change feed: the conversations that changed since a cursor, with long polling, or as events.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{ChangesSince, PageSize, UserId};
use convodb_service::View;
use tokio::time::Instant;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Authority, Read};
use crate::extract::event_stream::{EventStream, last_event_id};
use crate::extract::params;
use crate::middleware::caller::Caller;
use crate::response::json_body;
use crate::routes::events;
use crate::routes::feed::{Follower, Part};
use crate::state::Service;

/// `GET /api/user/conversations/changes`: a part of the feed, or a stream of them as events.
pub(crate) async fn changes(
    State(service): State<Service>,
    AuthRead { user, view, authority, .. }: AuthRead<Read>,
    Extension(caller): Extension<Caller>,
    accept: EventStream,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    if accept == EventStream::Wanted {
        let params = params::change_events(query, last_event_id(request.headers())?, user, &view)?;
        let place = Some(service.event_stream_permit(user)?);
        let from = (params.since, params.size);
        let follower = Follower::new(&service, (authority, view), user, from, place);
        let write = move |part: &_, view: &_, names: &mut _| {
            json_body::changes(part, params.size, names, view)
        };
        return events::stream(&service, follower, caller, write).await;
    }
    let params::ChangesParams { since, size, wait } = params::changes(query, user, &view)?;
    poll(&service, (authority, view), Poll { user, since, size, wait }).await
}

struct Poll {
    user: UserId,
    since: ChangesSince,
    size: PageSize,
    wait: Duration,
}

/// Answers a part of the feed. If it is empty, waits up to the requested time for a change.
async fn poll(
    service: &Service,
    access: (Authority, View),
    Poll { user, since, size, wait }: Poll,
) -> Result<Response> {
    let deadline = Instant::now() + wait;
    let place = if wait.is_zero() { None } else { Some(service.poll_permit(user)?) };
    let mut follower = Follower::new(service, access, user, (since, size), place);
    loop {
        let is_shutting_down = follower.is_shutting_down();
        let Part { changes, mut names, view } = follower.read().await?;
        let has_changes = !changes.changes.is_empty() || changes.has_more;
        if has_changes || is_shutting_down || Instant::now() >= deadline {
            return json_body::changes(&changes, size, &mut names, &view).map(json_body::ok);
        }
        drop((names, view));
        follower.changed(deadline).await;
    }
}
