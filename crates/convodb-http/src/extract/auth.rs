//! Authentication: from a Bearer token to a user, and to that user's read or write access.
//!
//! A handler reaches the store only through these extractors, so no handler can read or write
//! without an authenticated user.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use convodb::{Snapshot, Transaction, UserId};

use crate::error::{ApiError, Result};
use crate::middleware::budget::Share;
use crate::middleware::caller::Caller;
use crate::middleware::rate_limit::StatusSlot;
use crate::state::Service;

/// Longer than any token. A longer text is rejected before it is hashed.
const MAX_TOKEN_BYTES: usize = 256;

/// An authenticated user with read access, and the snapshot that the request is answered from.
///
/// The snapshot is read on the runtime thread that runs the request: see
/// [`runtime`](crate::runtime).
pub(crate) struct AuthRead {
    pub(crate) user: UserId,
    pub(crate) snapshot: Snapshot,
}

impl FromRequestParts<Service> for AuthRead {
    type Rejection = ApiError;

    /// Fails with 401 if the token belongs to no user, with 429 if it exceeds its rate limit, with
    /// 503 if the user's share of bytes is used up, or if the store cannot be read. One B-tree
    /// lookup.
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let token = bearer_token(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
        let snapshot = service.store().snapshot();
        let user = snapshot.authenticate(token)?.ok_or_else(ApiError::unauthenticated)?;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            caller.authenticated(user)?;
        }
        service.check_rate(token, parts.extensions.get::<StatusSlot>())?;
        Ok(Self { user, snapshot })
    }
}

/// An authenticated user with write access.
///
/// Holds no snapshot: a body may take long to arrive, and space that a snapshot can see cannot be
/// reused meanwhile.
pub(crate) struct AuthWrite {
    service: Service,
    user: UserId,
}

impl FromRequestParts<Service> for AuthWrite {
    type Rejection = ApiError;

    /// Fails as [`AuthRead`].
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let AuthRead { user, .. } = AuthRead::from_request_parts(parts, service).await?;
        Ok(Self { service: service.clone(), user })
    }
}

impl AuthWrite {
    /// Returns the user.
    pub(crate) const fn user(&self) -> UserId {
        self.user
    }

    /// Returns a new snapshot, for lookups that a write depends on.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.service.store().snapshot()
    }

    /// Returns a permit for an import, valid until it is dropped.
    ///
    /// # Errors
    /// 503 beyond the user's share of concurrent imports and exports.
    pub(crate) fn transfer_permit(&self) -> Result<Share> {
        self.service.transfer_permit(self.user)
    }

    /// Runs a write and returns its result once it is durable. No thread waits meanwhile.
    ///
    /// If the future is dropped, a write that is already queued still runs.
    ///
    /// # Errors
    /// 503 if too many writes of the user wait; the error of `work`; or the error of the commit.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.try_write(work).await??)
    }

    /// As [`AuthWrite::write`], with the error of the engine apart.
    ///
    /// # Errors
    /// 503 if too many writes of the user wait.
    pub(crate) async fn try_write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<T> + Send + 'static,
    ) -> Result<convodb::Result<T>> {
        // This future holds the permit until the commit is durable. If the client disconnects, the
        // future is dropped, and the queued write holds the permit until it runs.
        let permit = Arc::new(self.service.write_permit(self.user)?);
        let queued = permit.clone();
        let work = move |transaction: &mut Transaction<'_>| {
            let _queued = queued;
            work(transaction)
        };
        Ok(self.service.async_store().write_for(self.user, work).await)
    }
}

/// Returns the token of the only `Authorization: Bearer` header. The scheme is case-insensitive
/// (RFC 9110).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && !token.contains(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && fits).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(bearer_token(&headers), expected, "{values:?}");
    }

    #[test]
    fn exactly_one_well_formed_bearer_token_is_accepted() {
        check(&["Bearer abc"], Some("abc"));
        check(&["bEARER  abc "], Some("abc"));
        check(&["Bearer"], None);
        check(&["Bearer "], None);
        check(&["Bearer a b"], None);
        check(&["Basic abc"], None);
        check(&["abc"], None);
        check(&["Bearer é"], None);
        check(&["Bearer a", "Bearer a"], None);
        check(&[&format!("Bearer {}", "a".repeat(257))], None);
        check(&[], None);
    }
}
