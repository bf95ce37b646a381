//! Envelope: the outermost middleware, which every request and response passes.
//!
//! It checks the size of the URL and the headers, sets the request id, `Cache-Control` and
//! `X-Content-Type-Options`, answers a panic with 500, writes the body of an error, records metrics
//! and writes the access log. The log contains the pattern of
//! the route, never the path, the query, a header or another text that a client chooses.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tower_layer::Layer;
use tower_service::Service;
use uuid::Uuid;
use uuid::fmt::Simple;

use crate::error::{ApiError, Dialect};
use crate::middleware::metrics::{Metrics, method_name};
use crate::process_key::process_key;

const MAX_URL_BYTES: usize = 8 * 1024;
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_REQUEST_ID_BYTES: usize = 64;

/// The target of the access log, at level `debug`.
const ACCESS: &str = "convodb_http::access";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request extension: the id of the request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

/// A response extension of an error whose body is written already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsWritten;

/// The layer of the envelope.
#[derive(Clone)]
pub(crate) struct EnvelopeLayer(pub(crate) Metrics);

impl<S> Layer<S> for EnvelopeLayer {
    type Service = Envelope<S>;

    fn layer(&self, inner: S) -> Envelope<S> {
        Envelope { inner, metrics: self.0.clone() }
    }
}

/// Runs a request through its route, and completes the response.
///
/// A service, not a function for `axum::middleware::from_fn`, which clones and boxes all that is
/// below it for each request.
#[derive(Clone)]
pub(crate) struct Envelope<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B> Service<Request> for Envelope<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let answer = Answer::begin(&mut request, &self.metrics);
        let inner = &mut self.inner;
        let running = match size_error(&request) {
            Some(status) => Err(ApiError::of(status)),
            None => catch_unwind(AssertUnwindSafe(|| inner.call(request))).map_err(panicked),
        };
        Box::pin(async move {
            let response = match running {
                Ok(running) => AssertUnwindSafe(running).catch_unwind().await.map_err(panicked),
                Err(error) => Err(error),
            };
            Ok(answer.complete(match response {
                Ok(Ok(response)) => response.map(Body::new),
                Err(error) => error.into_response(),
            }))
        })
    }
}

/// What is needed of a request to complete its response.
struct Answer {
    began: Instant,
    id: HeaderValue,
    dialect: Dialect,
    method: &'static str,
    route: Option<MatchedPath>,
    metrics: Metrics,
}

impl Answer {
    fn begin(request: &mut Request, metrics: &Metrics) -> Self {
        let began = Instant::now();
        let id = request_id(request.headers());
        let dialect = Dialect::of(request.uri().path());
        let method = method_name(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        request.extensions_mut().insert(RequestId(id.clone()));
        accept_identity(request.headers_mut());
        Self { began, id, dialect, method, route, metrics: metrics.clone() }
    }

    /// Writes the body of an error, adds the headers of every response, and records it.
    fn complete(self, mut response: Response) -> Response {
        let Self { began, id, dialect, method, route, metrics } = self;
        let error = response.extensions_mut().remove::<ApiError>();
        let is_written = response.extensions_mut().remove::<IsWritten>().is_some();
        if let Some(error) = error.as_ref().filter(|_| !is_written) {
            response = error.response(dialect, std::mem::take(response.headers_mut()));
        }
        response.headers_mut().insert(REQUEST_ID, id.clone());
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().entry(CACHE_CONTROL).or_insert(no_store);
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);

        let route = route.as_ref().map(|route| without_slash(route.as_str()));
        let id = id.to_str().unwrap_or_default();
        let took = began.elapsed();
        metrics.record_response(method, route, response.status(), took);
        let (status, micros) = (response.status().as_u16(), micros(took));
        if let Some(cause) = error.as_ref().and_then(ApiError::cause) {
            tracing::error!(id, status, route, cause, "request failed");
        }
        tracing::debug!(target: ACCESS, id, method, route, status, micros, "request answered");
        response
    }
}

/// Returns a path without a slash at its end, which every route may have.
pub(crate) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

/// Returns microseconds as `u64`, which every log format supports.
fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Converts a panic of a handler into a 500. The panic hook has already logged its message.
fn panicked(_: Box<dyn Any + Send>) -> ApiError {
    ApiError::fault("handler panicked")
}

/// Returns the client's request id if it is short and safe to log; otherwise a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_safe = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID_BYTES).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    headers.get(REQUEST_ID).filter(is_safe).cloned().unwrap_or_else(new_request_id)
}

/// Returns a unique request id: the number of the request, hashed with a key of the process. So an
/// id does not tell how many requests others have sent, and no request needs a system call for
/// random numbers.
fn new_request_id() -> HeaderValue {
    static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| process_key("request id"));
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let hash = blake3::keyed_hash(&KEY, &number.to_le_bytes());
    let id = hash.as_bytes().first_chunk().map_or(Uuid::nil(), |id| Uuid::from_bytes(*id));
    let mut text = [0; Simple::LENGTH];
    let text = id.simple().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
}

/// Removes `identity` and `*` from `Accept-Encoding` where they are refused (`identity;q=0`).
///
/// A response without compression is always acceptable (RFC 9110, section 12.5.3, allows it): an
/// error after a write was executed would make its client repeat the write.
fn accept_identity(headers: &mut HeaderMap) {
    let values = || headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings = || values().flat_map(|value| value.split(',')).map(str::trim);
    if !codings().any(refuses_identity) {
        return;
    }
    let others: Vec<&str> = codings().filter(|coding| !refuses_identity(coding)).collect();
    match HeaderValue::from_str(&others.join(", ")) {
        Ok(others) if !others.is_empty() => {
            headers.insert(ACCEPT_ENCODING, others);
        }
        _ => {
            headers.remove(ACCEPT_ENCODING);
        }
    }
}

/// Whether a coding with its weight refuses a response without compression.
fn refuses_identity(coding: &str) -> bool {
    let Some((name, weight)) = coding.split_once(';') else { return false };
    let name = name.trim();
    let weight = weight.split_once('=').filter(|(q, _)| q.trim().eq_ignore_ascii_case("q"));
    (name == "*" || name.eq_ignore_ascii_case("identity"))
        && weight.and_then(|(_, weight)| weight.trim().parse().ok()) == Some(0.0_f32)
}

/// Returns the error status of a URL or headers that are too large.
fn size_error(request: &Request) -> Option<StatusCode> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if url > MAX_URL_BYTES {
        Some(StatusCode::URI_TOO_LONG)
    } else if request.headers().iter().map(header).sum::<usize>() > MAX_HEADER_BYTES {
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_always_acceptable() {
        for (given, expected) in [
            ("identity;q=0", None),
            ("*;q=0", None),
            ("br, *;q=0", Some("br")),
            ("gzip, identity; Q=0.000", Some("gzip")),
            ("gzip;q=0, identity;q=0.1, *;q=0", Some("gzip;q=0, identity;q=0.1")),
            ("gzip;q=0,zstd", Some("gzip;q=0,zstd")),
            ("identity;q=x", Some("identity;q=x")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, given.parse().unwrap());
            accept_identity(&mut headers);
            let left = headers.get(ACCEPT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(left, expected, "{given}");
        }
    }

    #[test]
    fn a_safe_request_id_is_reused() {
        let id_for = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, value.parse().unwrap());
            request_id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(id_for("abc_DEF-1"), "abc_DEF-1");
        assert_eq!(id_for(&"a".repeat(64)), "a".repeat(64));
        for odd in ["", "a b", "a\"", "é", &"a".repeat(65)] {
            assert_eq!(id_for(odd).len(), 32, "{odd}");
        }
    }

    #[test]
    fn new_request_ids_have_nothing_in_common() {
        let ids: Vec<u128> = (0..1000)
            .map(|_| u128::from_str_radix(new_request_id().to_str().unwrap(), 16).unwrap())
            .collect();
        // Neighbours of a counter differ in few bits; random ones in 64 on average.
        for pair in ids.windows(2) {
            let bits = (pair[0] ^ pair[1]).count_ones();
            assert!((20..108).contains(&bits), "{:032x} and {:032x}", pair[0], pair[1]);
        }
    }
}
