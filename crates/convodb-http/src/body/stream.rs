//! Body stream: the next chunk of a request body, with or without a least rate.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use crate::error::{ApiError, Result};
use crate::least_rate::LeastRate;

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
/// 408 if chunks arrive too slowly; 400 if the connection ends before the body.
pub(super) async fn next_chunk_within(
    body: &mut Body,
    rate: &mut LeastRate,
) -> Result<Option<Bytes>> {
    let began = Instant::now();
    let chunk = timeout(rate.credit(), next_chunk(body))
        .await
        .unwrap_or_else(|_| Err(ApiError::of(StatusCode::REQUEST_TIMEOUT)))?;
    rate.transferred(chunk.as_ref().map_or(0, Bytes::len), began.elapsed());
    Ok(chunk)
}
