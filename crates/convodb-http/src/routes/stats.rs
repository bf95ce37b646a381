//! How much of what: volumes and costs, from counters.

use axum::extract::Request;
use axum::response::Response;

use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::AuthRead;
use crate::extract::params;
use crate::response::json_body;
use crate::run_blocking::run_blocking;

/// The most groups of one answer.
const MAX_GROUPS: usize = 10_000;

/// `GET /api/user/conversations/stats`. Of each assistant's days there may be many counters, so they
/// are added up aside; anything else takes less than the way there.
pub(crate) async fn stats(
    AuthRead { user, snapshot }: AuthRead,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    let asked = params::stats_request(query, user, &snapshot)?;
    let report = if asked.is_long() {
        let (snapshot, request) = (snapshot.clone(), asked.request.clone());
        run_blocking(move || snapshot.report(user, &request).map_err(ApiError::from)).await?
    } else {
        snapshot.report(user, &asked.request)?
    };
    if report.rows.len() > MAX_GROUPS {
        let rule =
            "must not ask for more than 10000 groups; shorten from..to, or group more coarsely";
        return Err(ApiError::invalid(vec![FieldError::breaks("group_by", rule)]));
    }
    json_body::stats(&asked, &report, user, &snapshot)
}
