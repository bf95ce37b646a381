//! Probes: health, readiness and metrics, without a token and without data of users.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use convodb::StoreState;

use crate::error::{ApiError, Result};
use crate::response::json_body;
use crate::state::Service;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /healthz`: the process responds. Does not use the store.
pub(crate) async fn alive() -> Response {
    json_body::ok(r#"{"status":"ok"}"#)
}

/// `GET /readyz`: the store is open and accepts writes. Reads no disk.
///
/// # Errors
/// 503, with the message `read-only` if reads are served.
pub(crate) async fn ready(State(service): State<Service>) -> Result<Response> {
    match service.store().state() {
        StoreState::Open => Ok(json_body::ok(r#"{"status":"ok"}"#)),
        StoreState::ReadOnly => Err(ApiError::read_only()),
        _ => Err(ApiError::busy()),
    }
}

/// `GET /metrics`, in the OpenMetrics text format.
pub(crate) async fn metrics(State(service): State<Service>) -> Result<Response> {
    let text = service.metrics().text().map_err(|error| ApiError::fault(error.to_string()))?;
    let mut response = json_body::ok(text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    Ok(response)
}
