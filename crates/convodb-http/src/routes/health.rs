//! Whether the process answers.

use axum::response::Response;

use crate::response;

/// `GET /healthz`: alive. Asks nothing of the store.
pub(crate) async fn alive() -> Response {
    response::ok(r#"{"status":"ok"}"#)
}
