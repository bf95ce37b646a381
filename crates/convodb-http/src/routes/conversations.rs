//! List of a user's conversations: one page by filters and cursor.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::extract::params;
use crate::response::json_body;
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/conversations";

/// `GET /api/user/conversations`: one page, read from one snapshot.
pub(crate) async fn list(
    State(service): State<Service>,
    AuthRead { user, snapshot, .. }: AuthRead<Read>,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    let page = snapshot.list(user, &params::list(query, user, &snapshot)?)?;
    service.metrics().record_page(page.cost());
    json_body::list(&service.base_url().of(request.headers(), LIST), &page, user, &snapshot)
}
