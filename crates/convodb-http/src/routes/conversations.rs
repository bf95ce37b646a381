//! The list of a user's conversations.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::auth::Caller;
use crate::error::Result;
use crate::params;
use crate::response;
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/conversations";

/// `GET /api/user/conversations`: one page, of one snapshot.
pub(crate) async fn list(
    State(service): State<Service>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let url = service.base_url().of(&headers, LIST);
    let answer = move |user, snapshot: &convodb::Snapshot| {
        let request = params::list_request(uri.query().unwrap_or_default(), user, snapshot)?;
        let page = snapshot.list(user, &request)?;
        service.metrics().page_read(page.work());
        response::list(&url, &page, user, snapshot)
    };
    caller.read(answer).await
}
