//! Statistics: numbers of conversations and messages, and their costs, from counters.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{Snapshot, Stats, StatsRequest, UserId};
use convodb_service::View;

use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthRead, Stats as StatsScope};
use crate::extract::cached_get::respond;
use crate::extract::params;
use crate::response::{json_body, names};
use crate::state::Service;

/// The most groups of one response.
const MAX_GROUPS: usize = 10_000;

/// `GET /api/user/conversations/stats`.
///
/// Statistics may read many counters, so they run on a blocking thread, and
/// stop if the client disconnects.
pub(crate) async fn stats(
    State(service): State<Service>,
    auth: AuthRead<StatsScope>,
    request: Request,
) -> Result<Response> {
    let service = &service;
    respond(service, auth, request, |auth, request| async move {
        let AuthRead { user, view, .. } = auth;
        let query = request.uri().query().unwrap_or_default();
        let params = params::stats(query, user, &view).await?;
        let stats = read(service, user, &view, &params.request).await?;
        let mut names = names::names_of_stats(&view, user, &stats).await?;
        json_body::stats(&params, &stats, &mut names)
    })
    .await
}

/// Reads statistics on a blocking thread, or on the database. Stops if the future is dropped.
///
/// # Errors
/// 422 for more than [`MAX_GROUPS`] groups; 503 beyond the user's share of statistics.
pub(super) async fn read(
    service: &Service,
    user: UserId,
    view: &View,
    request: &StatsRequest,
) -> Result<Stats> {
    let permit = service.statistics_permit(user)?;
    let snapshot = match view {
        View::Embedded(snapshot) => snapshot,
        View::Remote(view) => return few_groups(view.stats(user, request).await?),
    };
    // Dropped with this future.
    let waiting = Arc::new(());
    let (reader, request, still_waiting) =
        (snapshot.clone(), request.clone(), Arc::downgrade(&waiting));
    let stats = service.long_reads().run(move || {
        let _permit = permit;
        read_awaited(&reader, user, &request, || still_waiting.strong_count() > 0)
    });
    let stats = stats.await?;
    drop(waiting);
    Ok(stats)
}

/// Reads statistics while anybody waits for them.
///
/// # Errors
/// 422 for more than [`MAX_GROUPS`] groups.
fn read_awaited(
    snapshot: &Snapshot,
    user: UserId,
    request: &StatsRequest,
    is_awaited: impl Fn() -> bool,
) -> Result<Stats> {
    let stats = snapshot.stats_with_progress(user, request, |progress| {
        if progress.groups <= MAX_GROUPS && is_awaited() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    stats.map_or_else(|| Err(too_many_groups()), few_groups)
}

/// # Errors
/// 422 for more than [`MAX_GROUPS`] groups.
fn few_groups(stats: Stats) -> Result<Stats> {
    if stats.rows.len() <= MAX_GROUPS { Ok(stats) } else { Err(too_many_groups()) }
}

fn too_many_groups() -> ApiError {
    let rule = "must not ask for more than 10000 groups; shorten from..to, or group more coarsely";
    ApiError::invalid(vec![FieldError::breaks("group_by", rule)])
}
