//! API documentation: the OpenAPI document, and a page that shows it.
//!
//! The page and its assets are compiled into the program. Its content security policy allows no
//! other origin, no inline code and no frame around it.

use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use crate::response::json_body;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The OpenAPI document.
pub(crate) const DOCUMENT: &str = include_str!("../docs/openapi.json");

/// `GET /openapi.json`.
pub(crate) async fn document() -> Response {
    json_body::ok(DOCUMENT)
}

/// `GET /docs`.
pub(crate) async fn page() -> Response {
    asset(include_str!("../docs/page.html"), "text/html; charset=utf-8")
}

/// `GET /docs/style.css`.
pub(crate) async fn style() -> Response {
    asset(include_str!("../docs/style.css"), "text/css; charset=utf-8")
}

/// `GET /docs/page.js`.
pub(crate) async fn script() -> Response {
    asset(include_str!("../docs/page.js"), "text/javascript; charset=utf-8")
}

fn asset(text: &'static str, media_type: &'static str) -> Response {
    let mut response = json_body::ok(text);
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
