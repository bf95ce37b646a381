//! Idempotency: the `Idempotency-Key` header, by which a retried request is applied only once.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use convodb::{AssistantId, IdempotencyKey, Timestamp};
use convodb_service::{Idempotent, Write as StoreWrite, Written};

use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthWrite, RequiredScope};
use crate::middleware::envelope::without_slash;
use crate::state::Service;

const HEADER: &str = "Idempotency-Key";
const RULE: &str = "must be given once, with 1 to 255 visible ASCII characters";

/// The idempotency key of a request, if it has one, and the request's method and path.
pub(crate) struct Idempotency {
    key: Option<IdempotencyKey>,
    /// `POST /api/conversations`.
    target: String,
}

impl FromRequestParts<Service> for Idempotency {
    type Rejection = ApiError;

    /// Fails with 422 if the key is malformed or given twice.
    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self> {
        let mut keys = parts.headers.get_all(HEADER).iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(key), None) => {
                let key = key.to_str().ok().filter(|key| key.bytes().all(|b| b.is_ascii_graphic()));
                Some(key.and_then(|key| key.parse().ok()).ok_or_else(invalid_key)?)
            }
            _ => return Err(invalid_key()),
        };
        Ok(Self { key, target: format!("{} {}", parts.method, without_slash(parts.uri.path())) })
    }
}

fn invalid_key() -> ApiError {
    ApiError::invalid(vec![FieldError::breaks(HEADER, RULE)])
}

impl Idempotency {
    /// Binds the key to the request with this body. A token that is limited to an assistant makes
    /// other requests than one that is not, so that none is answered with another one's response.
    pub(crate) fn with_body(
        self,
        body: &str,
        now: Timestamp,
        restriction: Option<AssistantId>,
    ) -> IdempotentRequest {
        let mut hasher = blake3::Hasher::new();
        // A target contains no line break, so the separator is unambiguous.
        hasher.update(self.target.as_bytes()).update(b"\n").update(body.as_bytes());
        if let Some(assistant) = restriction {
            // No JSON body ends with a zero byte and 16 bytes.
            hasher.update(b"\0").update(assistant.uuid().as_bytes());
        }
        IdempotentRequest { key: self.key, digest: *hasher.finalize().as_bytes(), now }
    }
}

/// A request that is identified by the digest of its method, path and body.
pub(crate) struct IdempotentRequest {
    key: Option<IdempotencyKey>,
    digest: [u8; 32],
    now: Timestamp,
}

impl IdempotentRequest {
    /// Does a write, and stores the bytes that `response` returns for it under the key. If the key was
    /// used by this request before, returns the stored bytes instead.
    ///
    /// # Errors
    /// As [`AuthWrite::write_once`].
    pub(crate) async fn write<S: RequiredScope>(
        self,
        auth: &AuthWrite<S>,
        write: StoreWrite,
        response: impl Fn(&Written) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Vec<u8>> {
        let Self { key, digest: request, now } = self;
        match key {
            Some(key) => {
                let response = Arc::new(response);
                auth.write_once(Idempotent { key, request, now, response }, write).await
            }
            None => Ok(response(&auth.write(write).await?)),
        }
    }
}

/// Converts the bytes of [`IdempotentRequest::write`] into the `N` bytes that its `response` returned.
///
/// # Errors
/// 500 if the stored bytes have another length.
pub(crate) fn stored_bytes<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N]> {
    bytes.try_into().map_err(|bytes: Vec<u8>| {
        ApiError::fault(format!("stored idempotent result has {} bytes, not {N}", bytes.len()))
    })
}
