//! Who asks: from a Bearer token to a user, and from there to that user's rows.
//!
//! A handler gets at the store only through its caller, so no read can happen for nobody.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use convodb::{Snapshot, Store, UserId};

use crate::error::{ApiError, Result};
use crate::middleware::rate_limit::StatusSlot;
use crate::middleware::transfer_limit::TransferPermit;
use crate::run_blocking::run_blocking;
use crate::state::Service;

/// No token is longer; a longer text is refused before it is hashed.
const MAX_TOKEN_BYTES: usize = 256;

/// Whose token a request has, and the state of the store that it is answered from.
///
/// It is read, as all that follows, on the thread of the runtime that has the request: see
/// [`runtime`](crate::runtime).
pub(crate) struct AuthRead {
    pub(crate) user: UserId,
    pub(crate) snapshot: Snapshot,
}

impl FromRequestParts<Service> for AuthRead {
    type Rejection = ApiError;

    /// Fails with 401 where the token is nobody's, with 429 where it is used too often, or with a
    /// fault of the store. One descent.
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let token = bearer_token(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
        let snapshot = service.store().snapshot();
        let user = snapshot.authenticate(token)?.ok_or_else(ApiError::unauthenticated)?;
        service.admit(token, parts.extensions.get::<StatusSlot>())?;
        Ok(Self { user, snapshot })
    }
}

/// A user who was believed, and the way to change what is theirs. It holds no snapshot, because a
/// body may be long in coming, and what a snapshot sees cannot be freed.
pub(crate) struct AuthWrite {
    service: Service,
    user: UserId,
}

impl FromRequestParts<Service> for AuthWrite {
    type Rejection = ApiError;

    /// As of [`AuthRead`].
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let AuthRead { user, .. } = AuthRead::from_request_parts(parts, service).await?;
        Ok(Self { service: service.clone(), user })
    }
}

impl AuthWrite {
    /// Leave for an import, while what this gives is held.
    ///
    /// # Errors
    /// 503 where as many go on as may.
    pub(crate) fn transfer(&self) -> Result<TransferPermit> {
        self.service.transfer(self.user)
    }

    /// Does `work` that changes what is the user's. It is durable when this returns.
    ///
    /// # Errors
    /// 503 where too many writes wait; what `work` returns; or a fault of the store.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(UserId, &Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.service.write_permit()?;
        let (user, store) = (self.user, self.service.store().clone());
        run_blocking(move || {
            // The write goes on where its client does not wait for it, and so does its permit.
            let _permit = permit;
            work(user, &store)
        })
        .await
    }
}

/// The token of the one `Authorization: Bearer` header; the word in either case (RFC 9110).
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
    fn one_bearer_token_is_taken() {
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
