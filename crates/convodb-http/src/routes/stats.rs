//! Statistics: numbers of conversations and messages, and their costs, from counters.

use axum::extract::Request;
use axum::response::Response;

use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::AuthRead;
use crate::extract::params;
use crate::response::json_body;
use crate::run_blocking::run_blocking;

/// The most groups of one response.
const MAX_GROUPS: usize = 10_000;

/// `GET /api/user/conversations/stats`.
///
/// Statistics by assistant may read many daily counters, so they run on a blocking thread. All
/// others take less time than the hand-over to another thread.
pub(crate) async fn stats(
    AuthRead { user, snapshot }: AuthRead,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    let params = params::stats(query, user, &snapshot)?;
    let stats = if params.reads_many_counters() {
        let (snapshot, request) = (snapshot.clone(), params.request.clone());
        run_blocking(move || snapshot.stats(user, &request).map_err(ApiError::from)).await?
    } else {
        snapshot.stats(user, &params.request)?
    };
    if stats.rows.len() > MAX_GROUPS {
        let rule =
            "must not ask for more than 10000 groups; shorten from..to, or group more coarsely";
        return Err(ApiError::invalid(vec![FieldError::breaks("group_by", rule)]));
    }
    json_body::stats(&params, &stats, user, &snapshot)
}
