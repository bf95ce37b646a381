//! Page of the console as a response, with its security headers.

use std::time::Instant;

use askama::Template;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use crate::error::{ApiError, Result};
use crate::response::json_body;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Renders a page. `began` is when its request arrived, and `read` when the store was read.
///
/// # Errors
/// 500 if the template fails, which no value of the store can make it.
pub(crate) fn page(screen: &impl Template, began: Instant, read: Instant) -> Result<Response> {
    let text = screen.render().map_err(|error| ApiError::fault(error.to_string()))?;
    let mut response = json_body::ok(text);
    add_headers(response.headers_mut());
    let millis = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1000.0;
    let timing = format!(
        "read;dur={:.3}, render;dur={:.3}",
        millis(began, read),
        millis(read, Instant::now())
    );
    if let Ok(timing) = HeaderValue::try_from(timing) {
        response.headers_mut().insert(SERVER_TIMING, timing);
    }
    Ok(response)
}

/// Adds the headers of a page.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, convodb_console::CONTENT_SECURITY_POLICY),
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
