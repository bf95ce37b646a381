//! CORS: which web pages may read responses; none unless they are configured.
//!
//! Credentials are never allowed: a request is authenticated by its `Authorization` header alone,
//! which a page has to set itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::response::base_url::is_host;

/// How long a browser may remember the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// An origin whose web pages may read responses: `https://app.example.com`, or `*` for all.
///
/// ```
/// let origin: convodb_http::CorsOrigin = "https://app.example.com".parse()?;
/// assert!("app.example.com".parse::<convodb_http::CorsOrigin>().is_err());
/// # Ok::<(), convodb_http::CorsOriginError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsOrigin(HeaderValue);

/// The error of parsing a [`CorsOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be * or http:// or https:// and a host, without a path")]
pub struct CorsOriginError;

impl FromStr for CorsOrigin {
    type Err = CorsOriginError;

    fn from_str(text: &str) -> Result<Self, CorsOriginError> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if text != "*" && !host.is_some_and(is_host) {
            return Err(CorsOriginError);
        }
        // Browsers send origins in lower case.
        text.to_ascii_lowercase().try_into().map(Self).map_err(|_| CorsOriginError)
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// Returns the layer that answers preflight requests and marks responses; `None` without origins.
pub(crate) fn layer(origins: &[CorsOrigin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = match origins.iter().any(|origin| origin.0 == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().map(|origin| origin.0.clone())),
    };
    let named = HeaderName::from_static;
    let request_headers = [
        AUTHORIZATION,
        CONTENT_ENCODING,
        CONTENT_TYPE,
        IF_NONE_MATCH,
        named("idempotency-key"),
        named("last-event-id"),
        named("prefer"),
        named("x-request-id"),
    ];
    let response_headers = [
        CONTENT_DISPOSITION,
        ETAG,
        LINK,
        RETRY_AFTER,
        WWW_AUTHENTICATE,
        named("preference-applied"),
        named("ratelimit"),
        named("ratelimit-policy"),
        named("x-ratelimit-limit"),
        named("x-ratelimit-remaining"),
        named("x-request-id"),
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(request_headers)
        .expose_headers(response_headers)
        .max_age(MAX_AGE);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_a_host() {
        for right in ["*", "https://a.example", "http://localhost:5173", "http://[::1]:80"] {
            assert_eq!(right.parse::<CorsOrigin>().unwrap().to_string(), right);
        }
        for wrong in ["", "null", "a.example", "https://", "https://a.example/", "https://a b"] {
            assert_eq!(wrong.parse::<CorsOrigin>(), Err(CorsOriginError), "{wrong}");
        }
    }
}
