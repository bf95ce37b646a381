//! Probes: health, readiness and metrics, without a token and without data of users.

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use convodb::StoreState;

use crate::error::{ApiError, Result};
use crate::response::json_body;
use crate::state::Service;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older format, which reads the same text: what it does not know is in comments.
const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

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

/// `GET /metrics`, in the OpenMetrics text format, as `text/plain` for a client that asks for that
/// alone.
pub(crate) async fn metrics(
    State(service): State<Service>,
    headers: HeaderMap,
) -> Result<Response> {
    let text = service.metrics().text().map_err(|error| ApiError::fault(error.to_string()))?;
    let mut response = json_body::ok(text);
    let media_type = if wants_plain_text(&headers) { PLAIN_TEXT } else { OPEN_METRICS };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
    Ok(response)
}

fn wants_plain_text(headers: &HeaderMap) -> bool {
    let accepted = |media_type: &str| {
        let mut types = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        types.any(|text| text.to_ascii_lowercase().contains(media_type))
    };
    accepted("text/plain") && !accepted("application/openmetrics-text")
}
