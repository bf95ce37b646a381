//! List of a user's conversations: one page by filters and cursor.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::extract::cached_get::{CachedGet, Lookup};
use crate::extract::params;
use crate::extract::strictness::Strictness;
use crate::response::json_body;
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/conversations";

/// `GET /api/user/conversations`: one page, read from one snapshot.
pub(crate) async fn list(
    State(service): State<Service>,
    auth: AuthRead<Read>,
    strictness: Strictness,
    request: Request,
) -> Result<Response> {
    let url = service.base_url().of(request.headers(), LIST);
    let details = [url.as_str(), strictness.preference()];
    let get = match CachedGet::look_up(&service, &auth, &request, &details) {
        Lookup::Known(response) => return Ok(response),
        Lookup::New(get) => get,
    };
    let AuthRead { user, snapshot, .. } = auth;
    let query = request.uri().query().unwrap_or_default();
    let params = params::list(query, user, &snapshot, strictness.unknown_fields)?;
    let page = snapshot.list(user, &params)?;
    service.metrics().record_page(page.cost());
    let response = json_body::list(&url, &page, user, &snapshot)?;
    get.complete(strictness.confirm(response)).await
}
