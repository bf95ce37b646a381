//! Change feed: the conversations that changed since a cursor, with long polling, or as events.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{ChangesSince, PageSize, UserId};
use tokio::time::Instant;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Authority, Read};
use crate::extract::event_stream::{EventStream, last_event_id};
use crate::extract::params;
use crate::middleware::caller::Caller;
use crate::response::{json_body, names};
use crate::routes::events;
use crate::routes::feed::Follower;
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
        let follower = Follower::new(&service, authority, user, params.since, params.size, place);
        let write = move |part: &_, view: &_, names: &mut _| {
            json_body::changes(part, params.size, names, view)
        };
        return events::stream(&service, follower, caller, write).await;
    }
    let params::ChangesParams { since, size, wait } = params::changes(query, user, &view)?;
    drop(view);
    poll(&service, authority, Poll { user, since, size, wait }).await
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
    authority: Authority,
    Poll { user, since, size, wait }: Poll,
) -> Result<Response> {
    let deadline = Instant::now() + wait;
    let place = if wait.is_zero() { None } else { Some(service.poll_permit(user)?) };
    let mut follower = Follower::new(service, authority, user, since, size, place);
    loop {
        let is_shutting_down = follower.is_shutting_down();
        let (part, view) = follower.read().await?;
        let has_changes = !part.changes.is_empty() || part.has_more;
        if has_changes || is_shutting_down || Instant::now() >= deadline {
            let mut names = names::names_of_changes(&view, user, &part).await?;
            return json_body::changes(&part, size, &mut names, &view).map(json_body::ok);
        }
        drop(view);
        follower.changed(deadline).await;
    }
}
