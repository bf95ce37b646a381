//! Who asks: from a Bearer token to a user, and from there to that user's rows.
//!
//! A handler gets at the store only through its caller, so no read can happen for nobody.

use std::panic::resume_unwind;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use convodb::{Snapshot, Store, UserId};
use tokio::task::spawn_blocking;

use crate::error::{ApiError, Result};

/// No token is longer; a longer text is refused before it is hashed.
const MAX_TOKEN_BYTES: usize = 256;

/// The sender of a request that has a token, which nothing has believed yet.
pub(crate) struct Caller {
    store: Store,
    token: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Store: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let token = bearer_token(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
        Ok(Self { store: Store::from_ref(state), token: token.to_owned() })
    }
}

impl Caller {
    /// Does `work` with one snapshot for the user whose token it is.
    ///
    /// # Errors
    /// 401 when it is nobody's; what `work` returns; or a fault of the store.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        work: impl FnOnce(UserId, &Snapshot) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Self { store, token } = self;
        aside(move || {
            let snapshot = store.snapshot();
            let user = snapshot.authenticate(&token)?.ok_or_else(ApiError::unauthenticated)?;
            work(user, &snapshot)
        })
        .await
    }
}

/// Does work of the engine where it may wait for a disk: on a thread that no other request needs.
/// The one place that decides it. It costs 10 to 20 us, and a cold page stalls nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(lost) => match lost.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(convodb::Error::Closed.into()),
        },
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
