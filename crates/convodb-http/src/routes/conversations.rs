//! The list of a user's conversations.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::auth::Caller;
use crate::base_url::BaseUrl;
use crate::error::Result;
use crate::params;
use crate::response;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/conversations";

/// `GET /api/user/conversations`: one page, of one snapshot.
pub(crate) async fn list(
    State(base_url): State<BaseUrl>,
    Caller { user, snapshot }: Caller,
    request: Request,
) -> Result<Response> {
    let query = request.uri().query().unwrap_or_default();
    let page = snapshot.list(user, &params::list_request(query, user, &snapshot)?)?;
    response::list(&base_url.of(request.headers(), LIST), &page, user, &snapshot)
}
