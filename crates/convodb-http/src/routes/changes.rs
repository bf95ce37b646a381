//! Change feed: the conversations that changed since a cursor, with long polling.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::ChangesSince;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::extract::params;
use crate::response::json_body;
use crate::state::Service;

/// The shortest time between two reads of a waiting request, however frequent commits are.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// `GET /api/user/conversations/changes`: a page of the feed.
///
/// If it is empty, waits up to the requested time for a change. A waiting request holds neither a
/// thread nor a snapshot.
pub(crate) async fn changes(
    State(service): State<Service>,
    AuthRead { user, snapshot, authority, .. }: AuthRead<Read>,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    let params = params::changes(query, user, &snapshot)?;
    let deadline = Instant::now() + params.wait;
    drop(snapshot);
    let _permit = if params.wait.is_zero() { None } else { Some(service.poll_permit(user)?) };
    // Subscribe before the first snapshot, so that no commit after it is missed.
    let mut commits = service.async_store().commits_of(user);
    let mut shutdown = service.shutdown_receiver();
    let mut since = params.since;
    loop {
        let shutting_down = *shutdown.borrow_and_update();
        // Checks the token again, each time the request wakes up.
        let snapshot = authority.snapshot()?;
        let page = snapshot.changes_since(user, since, params.size)?;
        let has_changes = !page.changes.is_empty() || page.has_more;
        if has_changes || shutting_down || Instant::now() >= deadline {
            return json_body::changes(&page, params.size, user, &snapshot);
        }
        since = ChangesSince::Cursor(page.next_cursor);
        drop(snapshot);
        tokio::select! {
            _ = commits.changed() => {}
            _ = shutdown.changed() => {}
            () = sleep_until(deadline) => {}
        }
        sleep(MIN_POLL_INTERVAL).await;
    }
}
