//! Recalled tokens: on a store on another database, a request that reads does not wait for its token.
//!
//! What the token allowed at an earlier request is a hint. The route works with it, and its first read
//! checks the token beside, in the same round trip. No response leaves before that: if no read has
//! checked the token, as for an invalid parameter, it is checked then. If the hint was wrong, because
//! the token was revoked or changed, its response is dropped, and the request is done again with the
//! token that is stored.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use convodb_service::{Error, RecallState, RecalledAccess, Source, View};

use crate::clock::now;
use crate::error::ApiError;
use crate::extract::auth::{FoundToken, bearer_token};
use crate::state::Service;

/// Does a request that reads with what is recalled of its token, if anything is.
pub(crate) async fn with_recalled_token(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Response {
    let Source::Remote(remote) = service.source() else { return next.run(request).await };
    let Some((found, recalled)) = recall(&service, &request) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    // Such a request has no body that a route reads.
    let again = parts.clone();
    parts.extensions.insert(found);
    let response = next.clone().run(Request::from_parts(parts, body)).await;
    let checked = match recalled.state() {
        RecallState::Unused | RecallState::Confirmed => return response,
        RecallState::Pending => remote.check(&recalled).await,
        RecallState::Refuted => Err(Error::AccessChanged),
    };
    match checked {
        Ok(()) => response,
        Err(Error::AccessChanged) => {
            drop(response);
            next.run(Request::from_parts(again, Body::empty())).await
        }
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Returns what is recalled of the token of a request that reads. Reads nothing.
fn recall(service: &Service, request: &Request) -> Option<(FoundToken, Arc<RecalledAccess>)> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let (token, now) = (bearer_token(request.headers())?, now().ok()?);
    let recalled = Arc::new(service.recall(token, now)?);
    let access = *recalled.access();
    let View::Remote(view) = service.view() else { return None };
    let view = View::Remote(view.checking(recalled.clone()));
    Some((FoundToken { view, access, now }, recalled))
}
