//! List of a user's conversations: one page by filters and cursor, and their number.

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{Count, ListRequest, UserId};
use convodb_service::View;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::extract::cached_get::respond;
use crate::extract::params::{self, ListParams, Total};
use crate::extract::strictness::Strictness;
use crate::response::{json_body, names};
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/conversations";

/// `GET /api/user/conversations`: one page, its list's number of conversations, or both; of an embedded
/// store, read from one snapshot.
pub(crate) async fn list(
    State(service): State<Service>,
    auth: AuthRead<Read>,
    strictness: Strictness,
    request: Request,
) -> Result<Response> {
    let url = service.base_url().of(request.headers(), LIST);
    let (service, url) = (&service, &url);
    respond(service, auth, request, |auth, request| async move {
        let AuthRead { user, view, .. } = auth;
        let query = request.uri().query().unwrap_or_default();
        let params = params::list(query, user, &view, strictness.unknown_fields).await?;
        let ListParams { request: list, total, columns } = params;
        let counted = match total {
            Total::LeftOut => None,
            Total::Included | Total::Only => Some(count(service, &view, user, &list).await?),
        };
        if let (Total::Only, Some(count)) = (total, counted) {
            let per_page = list.page_size.unwrap_or_default();
            return Ok(strictness.confirm(json_body::count(url, per_page, count)));
        }
        let (page, mut names) = names::page(&view, user, &list).await?;
        service.metrics().record_page(&page);
        let response = json_body::list(url, &page, columns, counted, &mut names, &view)?;
        Ok(strictness.confirm(response))
    })
    .await
}

/// Counts the conversations of a list. It reads thousands of entries at worst, many more than a page,
/// so it runs on a blocking thread, or on the database.
pub(super) async fn count(
    service: &Service,
    view: &View,
    user: UserId,
    list: &ListRequest,
) -> Result<Count> {
    let permit = service.statistics_permit(user)?;
    let snapshot = match view {
        View::Embedded(snapshot) => snapshot.clone(),
        View::Remote(view) => return Ok(view.count(user, list).await?),
    };
    let list = list.clone();
    let counted = service.long_reads().run(move || {
        let _permit = permit;
        snapshot.count(user, &list)
    });
    Ok(counted.await?)
}
