//! Caller: who sends a request, and the bytes that the server holds for it.
//!
//! The bodies of all requests and responses share one [`Budget`] of bytes, so clients that do not
//! finish a request or do not read a response cannot exhaust the memory, and one user cannot take
//! all of it. A response releases its bytes when the last of them was handed to the system.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use convodb::UserId;
use http_body::Body as _;

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
        if let Some(connection) = &self.0.connection {
            connection.set_known();
        }
        if !self.0.bytes.has_room(user, MIN_ROOM_BYTES) {
            return Err(ApiError::busy());
        }
        Ok(())
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
        if chunk.len() < MIN_COUNTED_BYTES {
            return Ok(chunk.into());
        }
        let share = self.take(chunk.len())?;
        Ok(Bytes::from_owner(HeldBytes { bytes: chunk.into(), _share: share }))
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
        match to_bytes(body, size).await {
            Ok(bytes) => {
                let held = HeldBytes { bytes, _share: share };
                Response::from_parts(parts, Body::from(Bytes::from_owner(held)))
            }
            Err(error) => ApiError::fault(error.to_string()).into_response(),
        }
    }
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

/// Middleware of routes with a store: identifies the caller and counts the bytes of bodies.
pub(crate) async fn hold_bytes(
    State(bytes): State<Arc<Budget>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<ConnectionOwner>().cloned();
    let (user, held) = (OnceLock::new(), Mutex::default());
    let caller = Caller(Arc::new(Inner { bytes, connection, user, held }));
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    caller.hold_response(response).await
}
