//! Caller: who sends a request, and the bytes that the server holds for it.
//!
//! The bodies of all requests and responses share one [`Budget`] of bytes, so clients that do not
//! finish a request or do not read a response cannot exhaust the memory, and one user cannot take
//! all of it. A response releases its bytes when the last of them was handed to the system.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use convodb::UserId;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::{ApiError, Result};
use crate::middleware::budget::{Budget, Share};

/// Bodies of at most this many bytes are not counted: the buffers of a connection are as large.
const MIN_COUNTED_BYTES: usize = 4 * 1024;

/// A user who may not hold this many bytes in addition gets no further response.
const MIN_ROOM_BYTES: usize = 64 * 1024;

/// A request extension of the server: whether a connection has sent a request with a valid token.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionOwner(Arc<AtomicBool>);

impl ConnectionOwner {
    /// Whether a request of the connection was authenticated.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set_known(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A request extension: the user, once authenticated, and the bytes held for the request.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Arc<Budget>,
    connection: Option<ConnectionOwner>,
    user: OnceLock<UserId>,
    held: Mutex<Option<Share>>,
}

impl Caller {
    /// Records that the request has a valid token of the user.
    ///
    /// # Errors
    /// 503 if the user's share of bytes is used up: before a page is read and written in vain.
    pub(crate) fn authenticated(&self, user: UserId) -> Result<()> {
        // A request has only one token, so a second user would be the same.
        let _ = self.0.user.set(user);
        admit(&self.0.bytes, self.0.connection.as_ref(), user)
    }

    /// Takes bytes of the user's share until the response begins.
    ///
    /// # Errors
    /// 503 if they are beyond the user's share, or if nobody is authenticated.
    pub(crate) fn hold(&self, bytes: usize) -> Result<()> {
        let user = *self.0.user.get().ok_or_else(ApiError::busy)?;
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(share) => share.try_grow(bytes).then_some(()).ok_or_else(ApiError::busy),
            None => {
                *held = Some(self.0.bytes.try_take(user, bytes).ok_or_else(ApiError::busy)?);
                Ok(())
            }
        }
    }

    /// Takes bytes of the user's share for a streamed response, until they are dropped.
    ///
    /// # Errors
    /// As [`Caller::hold`].
    pub(crate) fn take(&self, bytes: usize) -> Result<Share> {
        let user = *self.0.user.get().ok_or_else(ApiError::busy)?;
        self.0.bytes.try_take(user, bytes).ok_or_else(ApiError::busy)
    }

    /// Returns a chunk of a streamed response, which takes its bytes of the user's share until it was
    /// handed to the system.
    ///
    /// # Errors
    /// As [`Caller::hold`].
    pub(crate) fn holding(&self, chunk: Vec<u8>) -> Result<Bytes> {
        let user = *self.0.user.get().ok_or_else(ApiError::busy)?;
        hold(&self.0.bytes, user, chunk.into())
    }

    /// Counts the bytes of a response, or replaces it with 503. A streamed one counts for itself.
    async fn hold_response(&self, response: Response) -> Response {
        drop(self.0.held.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(user) = self.0.user.get() else { return response };
        let size = response.body().size_hint().exact().unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size < MIN_COUNTED_BYTES {
            return response;
        }
        let Some(share) = self.0.bytes.try_take(*user, size) else {
            return ApiError::busy().into_response();
        };
        let (parts, body) = response.into_parts();
        match whole(body, size).await {
            Ok(bytes) => {
                let held = HeldBytes { bytes, _share: share };
                Response::from_parts(parts, Body::from(Bytes::from_owner(held)))
            }
            Err(error) => ApiError::fault(error.to_string()).into_response(),
        }
    }
}

/// Returns all bytes of a body of at most `size` bytes. Most bodies are a single chunk.
///
/// # Errors
/// Fails if the body does.
pub(crate) async fn whole(mut body: Body, size: usize) -> std::result::Result<Bytes, axum::Error> {
    let first = match body.frame().await.transpose()?.map(Frame::into_data) {
        Some(Ok(data)) if body.is_end_stream() => return Ok(data),
        Some(Ok(data)) => data,
        // Trailers, which nothing follows.
        Some(Err(_)) | None => return Ok(Bytes::new()),
    };
    let mut bytes = Vec::with_capacity(size.max(first.len()));
    bytes.extend_from_slice(&first);
    bytes.extend_from_slice(&to_bytes(body, size.saturating_sub(first.len())).await?);
    Ok(bytes.into())
}

/// Records that a connection sent a valid token of the user.
///
/// # Errors
/// 503 if the user's share of bytes is used up: before a page is read and written in vain.
pub(crate) fn admit(
    bytes: &Budget,
    connection: Option<&ConnectionOwner>,
    user: UserId,
) -> Result<()> {
    if let Some(connection) = connection {
        connection.set_known();
    }
    if bytes.has_room(user, MIN_ROOM_BYTES) { Ok(()) } else { Err(ApiError::busy()) }
}

/// Returns a whole body, or a chunk of one, that takes its bytes of the user's share until the last
/// of them was handed to the system.
///
/// # Errors
/// 503 if they are beyond the user's share.
pub(crate) fn hold(budget: &Arc<Budget>, user: UserId, bytes: Bytes) -> Result<Bytes> {
    if bytes.len() < MIN_COUNTED_BYTES {
        return Ok(bytes);
    }
    let share = budget.try_take(user, bytes.len()).ok_or_else(ApiError::busy)?;
    Ok(Bytes::from_owner(HeldBytes { bytes, _share: share }))
}

/// Bytes that hold their share as long as any slice of them exists.
struct HeldBytes {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The layer of routes with a store: identifies the caller and counts the bytes of bodies.
#[derive(Clone)]
pub(crate) struct CallerLayer(pub(crate) Arc<Budget>);

impl<S> Layer<S> for CallerLayer {
    type Service = WithCaller<S>;

    fn layer(&self, inner: S) -> WithCaller<S> {
        WithCaller { inner, bytes: self.0.clone() }
    }
}

/// A service whose requests have a [`Caller`].
#[derive(Clone)]
pub(crate) struct WithCaller<S> {
    inner: S,
    bytes: Arc<Budget>,
}

impl<S> Service<Request> for WithCaller<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let connection = request.extensions().get::<ConnectionOwner>().cloned();
        let (bytes, user, held) = (self.bytes.clone(), OnceLock::new(), Mutex::default());
        let caller = Caller(Arc::new(Inner { bytes, connection, user, held }));
        request.extensions_mut().insert(caller.clone());
        let running = self.inner.call(request);
        Box::pin(async move {
            let Ok(response) = running.await;
            Ok(caller.hold_response(response).await)
        })
    }
}
