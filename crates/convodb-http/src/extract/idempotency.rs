//! Requests that are done once, however often they are sent: the header `Idempotency-Key`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use convodb::{IdempotencyKey, Timestamp, Transaction, UserId};

use crate::error::{ApiError, FieldError, Result};
use crate::state::Service;

const HEADER: &str = "Idempotency-Key";
const RULE: &str = "must be given once, with 1 to 255 visible ASCII characters";

/// The key of a request, if it has one, and of which request.
pub(crate) struct Idempotency {
    key: Option<IdempotencyKey>,
    /// The method and the path.
    target: String,
}

impl FromRequestParts<Service> for Idempotency {
    type Rejection = ApiError;

    /// Fails with 422 for a key that is none.
    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self> {
        let mut keys = parts.headers.get_all(HEADER).iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(key), None) => {
                let key = key.to_str().ok().filter(|key| key.bytes().all(|b| b.is_ascii_graphic()));
                Some(key.and_then(|key| key.parse().ok()).ok_or_else(refused)?)
            }
            _ => return Err(refused()),
        };
        Ok(Self { key, target: format!("{} {}", parts.method, parts.uri.path()) })
    }
}

fn refused() -> ApiError {
    ApiError::invalid(vec![FieldError::breaks(HEADER, RULE)])
}

/// A request that is known by its body.
pub(crate) struct IdempotentRequest {
    key: Option<IdempotencyKey>,
    digest: [u8; 32],
    now: Timestamp,
}

impl Idempotency {
    /// Of the request with this body.
    pub(crate) fn with(self, body: &str, now: Timestamp) -> IdempotentRequest {
        let mut hasher = blake3::Hasher::new();
        // No target has a line break.
        hasher.update(self.target.as_bytes()).update(b"\n").update(body.as_bytes());
        IdempotentRequest { key: self.key, digest: *hasher.finalize().as_bytes(), now }
    }
}

impl IdempotentRequest {
    /// Does `work` in a write, unless a request with the key has done it before, and gives what it
    /// gave.
    ///
    /// # Errors
    /// [`convodb::Error::IdempotencyConflict`] when that was another request; what `work` fails with.
    pub(crate) fn run<const N: usize>(
        self,
        transaction: &mut Transaction<'_>,
        user: UserId,
        work: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<[u8; N]>,
    ) -> convodb::Result<[u8; N]> {
        let Some(key) = self.key else { return work(transaction) };
        let work = |transaction: &mut Transaction<'_>| Ok(work(transaction)?.to_vec());
        let answer = transaction.once(user, &key, self.digest, self.now, work)?;
        let what = "an answer is not of its request";
        answer.try_into().map_err(|_| convodb::Error::Corrupted { table: "answers.v1", what })
    }
}
