//! Body stream: the next chunk of a request body, with or without a timeout.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::{ApiError, Result};

/// Returns the next chunk of a body, or `None` at its end.
///
/// # Errors
/// 400 if the connection ends before the body.
pub(super) async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::malformed("The body ended early."))?;
        // Trailers are ignored.
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Returns the next chunk of a body, or `None` at its end.
///
/// # Errors
/// 408 if no chunk arrives within `limit`; 400 if the connection ends before the body.
pub(super) async fn next_chunk_within(body: &mut Body, limit: Duration) -> Result<Option<Bytes>> {
    let chunk = timeout(limit, next_chunk(body)).await;
    chunk.unwrap_or_else(|_| Err(ApiError::of(StatusCode::REQUEST_TIMEOUT)))
}
