//! The bytes of a body, piece by piece as they come.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::{ApiError, Result};

/// The next bytes of a body; none at its end.
///
/// # Errors
/// 400 where it ends before its end.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::malformed("The body ended early."))?;
        // Trailers say nothing here.
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The next bytes of a body; none at its end.
///
/// # Errors
/// 408 where none come for `pause`; 400 where it ends before its end.
pub(super) async fn next_within(body: &mut Body, pause: Duration) -> Result<Option<Bytes>> {
    let read = timeout(pause, next(body)).await;
    read.unwrap_or_else(|_| Err(ApiError::of(StatusCode::REQUEST_TIMEOUT)))
}
