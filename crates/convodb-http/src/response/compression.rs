//! Compression of responses: which bodies, and in which form that a client accepts.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{Extensions, HeaderMap, HeaderValue, Request, StatusCode, Version};
use axum::response::Response;
use tokio::runtime::Handle;
use tower_http::CompressionLevel;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{Compression, CompressionLayer};
use tower_service::Service;

use crate::error::{ApiError, Result};
use crate::run_blocking::LongReads;

/// Bodies of at most this many bytes are not compressed: they fit into one packet.
const MIN_BYTES: u64 = 1024;

/// A response extension: the body is compressed already, or must not be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsCompressed;

/// Returns the layer that compresses the responses of a router.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(predicate())
}

/// Larger bodies are compressed on a blocking thread: that takes longer than the hand-over, and than
/// reading the page.
const MAX_IN_LINE_BYTES: u64 = 16 * 1024;

/// Returns a response with its whole body, in the form that [`layer`] sends to a client whose
/// `Accept-Encoding` has these values. A large one is compressed in the turn of `long_reads`.
///
/// # Errors
/// 500 if the body fails.
pub(crate) async fn compressed(
    response: Response,
    codings: Vec<HeaderValue>,
    long_reads: &LongReads,
) -> Result<Response> {
    if response.body().size_hint().lower() <= MAX_IN_LINE_BYTES {
        return compress(response, codings).await;
    }
    let runtime = Handle::current();
    long_reads.run(move || runtime.block_on(compress(response, codings))).await
}

/// Compresses a response with its whole body.
///
/// # Errors
/// 500 if the body fails.
async fn compress(response: Response, codings: Vec<HeaderValue>) -> Result<Response> {
    let mut request = Request::new(());
    for coding in codings {
        request.headers_mut().append(ACCEPT_ENCODING, coding);
    }
    let compression = Compression::new(Existing(Some(response)));
    let mut compression = compression.quality(CompressionLevel::Fastest).compress_when(predicate());
    let Ok(response) = compression.call(request).await;
    let (head, body) = response.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await;
    let body = body.map_err(|error| ApiError::fault(error.to_string()))?;
    Ok(Response::from_parts(head, body.into()))
}

fn predicate() -> impl Predicate {
    let is_not_compressed = |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
        extensions.get::<IsCompressed>().is_none()
    };
    SizeAbove::new(MIN_BYTES).and(is_not_compressed)
}

/// A service whose only response exists already.
struct Existing(Option<Response>);

impl Service<Request<()>> for Existing {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(self.0.take().unwrap_or_default()))
    }
}
