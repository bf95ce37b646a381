//! What changed since a cursor, for programs that keep a copy.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::ChangesSince;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Result;
use crate::extract::auth::AuthRead;
use crate::extract::params;
use crate::response::json_body;
use crate::state::Service;

/// Who waits looks again at most so often, however many commits there are.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `GET /api/user/conversations/changes`: a part of the feed. Where there is nothing yet, it waits
/// for as long as is asked, and holds neither a thread nor a snapshot meanwhile.
pub(crate) async fn changes(
    State(service): State<Service>,
    AuthRead { user, mut snapshot }: AuthRead,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    let asked = params::changes_request(query, user, &snapshot)?;
    let deadline = Instant::now() + asked.wait;
    let mut bell = service.bell().listen();
    let mut since = asked.since;
    loop {
        let stopped = *bell.borrow_and_update();
        let part = snapshot.changes_since(user, since, asked.size)?;
        let told = !part.changes.is_empty() || part.more;
        if told || stopped || Instant::now() >= deadline {
            return json_body::changes(&part, asked.size, user, &snapshot);
        }
        since = ChangesSince::Cursor(part.next);
        drop(snapshot);
        // A commit, the stop, or the deadline: each is seen by looking again.
        let _ = timeout_at(deadline, bell.changed()).await;
        sleep(LOOK_EVERY).await;
        snapshot = service.store().snapshot();
    }
}
