//! The list of a user's conversations.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
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
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let url = base_url.of(&headers, LIST);
    let answer = move |user, snapshot: &convodb::Snapshot| {
        let request = params::list_request(uri.query().unwrap_or_default(), user, snapshot)?;
        let page = snapshot.list(user, &request)?;
        response::list(&url, &page, user, snapshot)
    };
    caller.read(answer).await
}
