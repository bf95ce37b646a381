//! Authentication: from a Bearer token to a user, and to what the token allows.
//!
//! A handler reaches the store only through these extractors, so no handler can read or write
//! without an authenticated user. The type of an extractor names the scope that its endpoint
//! requires. Snapshots and writes are restricted to the token's assistant, if it has one, so
//! handlers need not know of it.
//!
//! On a store on another database, what a token allowed at an earlier request is a hint, which the
//! first read checks beside: see [`recalled_token`](super::recalled_token).
//!
//! Work that lasts checks the token again: a write when it runs, an import at each chunk of its
//! body, an export and a long history at each chunk they send, a long poll whenever it wakes. So revoking a token, or
//! erasing its user, ends what the token began.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use convodb::{
    Access, AssistantId, Error, Scope, Scopes, Snapshot, Timestamp, TokenId, Transaction, UserId,
};
use convodb_service::{
    Idempotent, RecalledAccess, RemoteView, Source, View, Write as StoreWrite, WriteAuthority,
    Written,
};

use crate::clock::now;
use crate::error::{ApiError, Result};
use crate::middleware::budget::Share;
use crate::middleware::caller::Caller;
use crate::middleware::rate_limit::StatusSlot;
use crate::state::Service;

/// Longer than any token. A longer text is rejected before it is hashed.
const MAX_TOKEN_BYTES: usize = 256;

/// A scope as a type: what the endpoint of an extractor requires.
pub(crate) trait RequiredScope: Send + Sync + 'static {
    const SCOPE: Scope;
}

/// Requires [`Scope::Read`].
pub(crate) struct Read;
/// Requires [`Scope::Write`].
pub(crate) struct Write;
/// Requires [`Scope::Import`].
pub(crate) struct Import;
/// Requires [`Scope::Export`].
pub(crate) struct Export;
/// Requires [`Scope::Stats`].
pub(crate) struct Stats;
/// Requires [`Scope::Tokens`].
pub(crate) struct Tokens;
/// Requires [`Scope::Health`].
pub(crate) struct Health;

impl RequiredScope for Read {
    const SCOPE: Scope = Scope::Read;
}
impl RequiredScope for Write {
    const SCOPE: Scope = Scope::Write;
}
impl RequiredScope for Import {
    const SCOPE: Scope = Scope::Import;
}
impl RequiredScope for Export {
    const SCOPE: Scope = Scope::Export;
}
impl RequiredScope for Stats {
    const SCOPE: Scope = Scope::Stats;
}
impl RequiredScope for Tokens {
    const SCOPE: Scope = Scope::Tokens;
}
impl RequiredScope for Health {
    const SCOPE: Scope = Scope::Health;
}

/// The authority of a request: its token's access, which can be checked again.
#[derive(Clone)]
pub(crate) struct Authority {
    service: Service,
    access: Access,
    scope: Scope,
    /// The end of the session that the request belongs to, if it does to one.
    session_end: Option<Timestamp>,
    /// What is known of the token beside its access, if a read can check it.
    recalled: Option<Arc<RecalledAccess>>,
}

impl Authority {
    /// Checks that the token is still valid, and returns a new view, restricted to the token's
    /// assistant. One B-tree lookup, or one statement.
    ///
    /// # Errors
    /// 401 if the token was revoked or has expired, the user was erased, or the session has ended;
    /// 403 if the token has lost the scope.
    pub(crate) async fn view(&self) -> Result<View> {
        let (view, now) = (self.service.view(), self.valid_now()?);
        let access = check(view.access(self.access.token, now).await?, self.scope)?;
        Ok(restricted(view, &access))
    }

    /// Returns a view of a store on another database that checks beside its first read that the token
    /// still allows what it did when the request began; `None` for an embedded store, and if the token
    /// has expired or was not recalled.
    ///
    /// # Errors
    /// 401 if the session has ended.
    pub(crate) fn checking_view(&self) -> Result<Option<RemoteView>> {
        let now = self.valid_now()?;
        let renewed = self.recalled.as_ref().and_then(|recalled| recalled.renewed(now));
        let Some(renewed) = renewed.filter(|renewed| *renewed.access() == self.access) else {
            return Ok(None);
        };
        Ok(match restricted(self.service.view(), &self.access) {
            View::Remote(view) => Some(view.checking(Arc::new(renewed))),
            View::Embedded(_) => None,
        })
    }

    /// Returns the time, if the session has not ended then.
    fn valid_now(&self) -> Result<Timestamp> {
        let now = now()?;
        if self.session_end.is_some_and(|end| end <= now) {
            return Err(ApiError::unauthenticated());
        }
        Ok(now)
    }

    /// Checks that the token is still valid and reaches as much as when the request began, for work
    /// that continues with what it read then.
    ///
    /// # Errors
    /// As [`Authority::view`]; 401 if the token was limited to an assistant meanwhile; 501 for a store
    /// on another database: see [`Authority::recheck`].
    pub(crate) fn check(&self) -> Result<()> {
        let (snapshot, now) = (self.service.store()?.snapshot(), self.valid_now()?);
        let access = check(snapshot.access(self.access.token, now)?, self.scope)?;
        self.reaches_as_much(&access)
    }

    /// [`Authority::check`] of any store. One B-tree lookup, or one statement.
    ///
    /// # Errors
    /// As [`Authority::check`], without 501.
    pub(crate) async fn recheck(&self) -> Result<()> {
        let (view, now) = (self.service.view(), self.valid_now()?);
        let access = check(view.access(self.access.token, now).await?, self.scope)?;
        self.reaches_as_much(&access)
    }

    /// Checks that a token reaches as much as when the request began.
    fn reaches_as_much(&self, access: &Access) -> Result<()> {
        if access.assistant == self.access.assistant {
            return Ok(());
        }
        Err(ApiError::unauthenticated())
    }

    /// Returns the only assistant that the token reaches, if it is limited to one.
    pub(crate) const fn restriction(&self) -> Option<AssistantId> {
        self.access.assistant
    }

    /// Returns the token's public id.
    pub(crate) const fn token(&self) -> TokenId {
        self.access.token
    }

    /// Returns all scopes of the token.
    pub(crate) const fn scopes(&self) -> Scopes {
        self.access.scopes
    }
}

/// Returns the access if there is any and it has the scope.
///
/// # Errors
/// 401 without access, 403 without the scope.
fn check(access: Option<Access>, scope: Scope) -> Result<Access> {
    let access = access.ok_or_else(ApiError::unauthenticated)?;
    check_scope(&access, scope)?;
    Ok(access)
}

/// Checks that a valid token has the scope.
///
/// # Errors
/// 403 if it does not.
pub(crate) fn check_scope(access: &Access, scope: Scope) -> Result<()> {
    if access.scopes.contains(scope) { Ok(()) } else { Err(ApiError::missing_scope(scope)) }
}

fn restricted(view: View, access: &Access) -> View {
    match access.assistant {
        Some(assistant) => view.restricted_to(assistant),
        None => view,
    }
}

/// An authenticated user with read access, and the view that the request is answered from: `V` is
/// [`View`], or a snapshot where only an embedded store is read.
///
/// A snapshot is read on the runtime thread that runs the request: see
/// [`runtime`](crate::runtime).
pub(crate) struct AuthRead<S, V = View> {
    pub(crate) user: UserId,
    pub(crate) view: V,
    /// For work that lasts longer than the view.
    pub(crate) authority: Authority,
    pub(crate) scope: PhantomData<S>,
}

impl<S, V> AuthRead<S, V> {
    /// Returns what the token allows.
    pub(crate) const fn access(&self) -> &Access {
        &self.authority.access
    }
}

impl<S: RequiredScope> FromRequestParts<Service> for AuthRead<S> {
    type Rejection = ApiError;

    /// Fails with 401 if the token belongs to no user or has expired, with 429 if it exceeds its
    /// rate limit, with 403 if it lacks the scope, with 503 if the user's share of bytes is used up,
    /// or if the store cannot be read. One B-tree
    /// lookup.
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let token = bearer_token(&parts.headers).ok_or_else(ApiError::unauthenticated)?;
        let found = match parts.extensions.remove::<FoundToken>() {
            Some(found) => found.in_use(),
            None => FoundToken::find(service, token).await?,
        };
        let FoundToken { view, access, now } = found;
        let found = Authenticated { view, access, now, rate_key: token, session_end: None };
        let mut auth = Self::of_access(parts, service, found)?;
        if let View::Remote(view) = &auth.view {
            auth.authority.recalled = match view.recalled() {
                Some(recalled) => Some(recalled.clone()),
                None => service.recall(token, now).map(Arc::new),
            };
        }
        Ok(auth)
    }
}

/// A valid token, and the view that it was found in. A request extension, until the extractor
/// takes it, where [`cached_get`](super::cached_get) has found it before.
#[derive(Clone)]
pub(crate) struct FoundToken {
    pub(crate) view: View,
    pub(crate) access: Access,
    pub(crate) now: Timestamp,
}

impl FoundToken {
    /// Returns this token, which an answer is to depend on.
    pub(crate) fn in_use(self) -> Self {
        if let View::Remote(view) = &self.view
            && let Some(recalled) = view.recalled()
        {
            recalled.begin_use();
        }
        self
    }

    /// Finds a token. One B-tree lookup, or one statement.
    ///
    /// # Errors
    /// 401 if it belongs to no user or has expired; a fault of the store.
    pub(crate) async fn find(service: &Service, token: &str) -> Result<Self> {
        let (view, now) = (service.view(), now()?);
        let access = view.authenticate(token, now).await?;
        Ok(Self { view, access: access.ok_or_else(ApiError::unauthenticated)?, now })
    }

    /// Finds a token in a snapshot of an embedded store; `None` if the store is another one, the token
    /// is not valid or the store cannot be read.
    pub(crate) fn find_embedded(service: &Service, token: &str) -> Option<Self> {
        let (view, now) = (service.view(), now().ok()?);
        let access = view.snapshot()?.authenticate(token, now).ok()??;
        Some(Self { view, access, now })
    }
}

/// A token that was found, by its text or by a session, in a view.
pub(crate) struct Authenticated<'t> {
    pub(crate) view: View,
    pub(crate) access: Access,
    pub(crate) now: Timestamp,
    /// What the rate limit counts by.
    pub(crate) rate_key: &'t str,
    /// The end of the session, if one found it.
    pub(crate) session_end: Option<Timestamp>,
}

impl<S: RequiredScope> AuthRead<S> {
    /// Checks what the token allows, and counts its use.
    ///
    /// # Errors
    /// 429, 403 and 503 as the extractor.
    pub(crate) fn of_access(
        parts: &Parts,
        service: &Service,
        found: Authenticated<'_>,
    ) -> Result<Self> {
        let Authenticated { view, access, now, rate_key, session_end } = found;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            caller.authenticated(access.user)?;
        }
        service.check_rate(rate_key, parts.extensions.get::<StatusSlot>())?;
        service.record_token_use(&access, now);
        let access = check(Some(access), S::SCOPE)?;
        let view = restricted(view, &access);
        let authority = Authority {
            service: service.clone(),
            access,
            scope: S::SCOPE,
            session_end,
            recalled: None,
        };
        Ok(Self { user: access.user, view, authority, scope: PhantomData })
    }
}

impl<S> AuthRead<S> {
    /// The same access, to a snapshot of an embedded store.
    ///
    /// # Errors
    /// 501 for a store on another database.
    pub(crate) fn of_snapshot(self) -> Result<AuthRead<S, Snapshot>> {
        let Self { user, view, authority, scope } = self;
        match view {
            View::Embedded(view) => Ok(AuthRead { user, view, authority, scope }),
            View::Remote(_) => Err(ApiError::no_console()),
        }
    }
}

impl<S: RequiredScope, V> From<AuthRead<S, V>> for AuthWrite<S> {
    fn from(AuthRead { authority, scope, .. }: AuthRead<S, V>) -> Self {
        Self { authority, scope }
    }
}

/// An authenticated user with write access.
///
/// Holds no snapshot: a body may take long to arrive, and space that a snapshot can see cannot be
/// reused meanwhile.
pub(crate) struct AuthWrite<S> {
    authority: Authority,
    scope: PhantomData<S>,
}

impl<S: RequiredScope> FromRequestParts<Service> for AuthWrite<S> {
    type Rejection = ApiError;

    /// Fails as [`AuthRead`].
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        AuthRead::<S>::from_request_parts(parts, service).await.map(Self::from)
    }
}

impl<S: RequiredScope> AuthWrite<S> {
    /// Returns the user.
    pub(crate) const fn user(&self) -> UserId {
        self.authority.access.user
    }

    /// Returns the only assistant that the token reaches, if it is limited to one.
    pub(crate) const fn restriction(&self) -> Option<AssistantId> {
        self.authority.restriction()
    }

    /// Returns the authority of the request.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns read access with a new view.
    ///
    /// # Errors
    /// As [`Authority::view`].
    pub(crate) async fn read(&self) -> Result<AuthRead<S>> {
        let (user, view) = (self.user(), self.view().await?);
        Ok(AuthRead { user, view, authority: self.authority.clone(), scope: PhantomData })
    }

    /// Returns a new view, for lookups that a write depends on.
    ///
    /// # Errors
    /// As [`Authority::view`].
    pub(crate) async fn view(&self) -> Result<View> {
        self.authority.view().await
    }

    /// Checks that the token is still valid.
    ///
    /// # Errors
    /// As [`Authority::recheck`].
    pub(crate) async fn recheck(&self) -> Result<()> {
        self.authority.recheck().await
    }

    /// Returns a permit for an import, valid until it is dropped.
    ///
    /// # Errors
    /// 503 beyond the user's share of concurrent imports and exports.
    pub(crate) fn transfer_permit(&self) -> Result<Share> {
        self.authority.service.transfer_permit(self.user())
    }

    /// Does a write and returns its result once it is durable. No thread waits meanwhile.
    ///
    /// If the future is dropped, a write that is already queued is still done.
    ///
    /// # Errors
    /// 401 if the token is not valid any more when the write is done, and 403 if it has lost the scope;
    /// 503 if too many writes of the user wait; the error of the write or of the commit.
    pub(crate) async fn write(&self, write: StoreWrite) -> Result<Written> {
        Ok(self.try_write(write).await??)
    }

    /// As [`AuthWrite::write`], with the error of the store apart.
    ///
    /// # Errors
    /// 503 if too many writes of the user wait; 403 if the token of an embedded store has lost the
    /// scope when the write is done.
    pub(crate) async fn try_write(
        &self,
        write: StoreWrite,
    ) -> Result<convodb_service::Result<Written>> {
        let user = self.user();
        match self.authority.service.source() {
            Source::Embedded(_) => {
                let written = self.try_transact(move |transaction| write.run(transaction, user));
                Ok(written.await?.map_err(Into::into))
            }
            Source::Remote(remote) => {
                let _permit = self.authority.service.write_permit(user)?;
                Ok(remote.write(user, self.write_authority()?, write).await)
            }
        }
    }

    /// Whether the store is in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.authority.service.source().embedded().is_some()
    }

    /// Does a write once for an idempotency key: a retry returns the response of the first run.
    ///
    /// # Errors
    /// As [`AuthWrite::write`]; 422 if the key was used by another request.
    pub(crate) async fn write_once(&self, once: Idempotent, write: StoreWrite) -> Result<Vec<u8>> {
        let user = self.user();
        match self.authority.service.source() {
            Source::Embedded(_) => {
                let Idempotent { key, request, now, response } = once;
                self.transact(move |transaction| {
                    transaction.idempotent(user, &key, request, now, |transaction| {
                        Ok(response(&write.run(transaction, user)?))
                    })
                })
                .await
            }
            Source::Remote(remote) => {
                let _permit = self.authority.service.write_permit(user)?;
                Ok(remote.write_once(user, self.write_authority()?, once, write).await?)
            }
        }
    }

    fn write_authority(&self) -> Result<WriteAuthority> {
        let Authority { access, scope, .. } = &self.authority;
        Ok(WriteAuthority { token: access.token, scope: *scope, now: now()? })
    }

    /// Runs a write of an embedded store and returns its result once it is durable, as
    /// [`AuthWrite::write`].
    ///
    /// # Errors
    /// As [`AuthWrite::write`], with the error of `work`; 501 for a store on another database.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.try_transact(work).await??)
    }

    /// As [`AuthWrite::transact`], with the error of the engine apart.
    ///
    /// # Errors
    /// 503 if too many writes of the user wait; 403 if the token has lost the scope when the write
    /// runs; 501 for a store on another database.
    pub(crate) async fn try_transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<T> + Send + 'static,
    ) -> Result<convodb::Result<T>> {
        let (user, Authority { service, access, scope, .. }) =
            (self.user(), self.authority.clone());
        let store = service.async_store()?;
        // This future holds the permit until the commit is durable. If the client disconnects, the
        // future is dropped, and the queued write holds the permit until it runs.
        let permit = Arc::new(service.write_permit(access.user)?);
        let (queued, now) = (permit.clone(), now()?);
        let work = move |transaction: &mut Transaction<'_>| {
            let _queued = queued;
            // In the transaction, so that no write follows the revocation of its token.
            let access = transaction.access(access.token, now)?.ok_or(Error::TokenNotFound)?;
            if !access.scopes.contains(scope) {
                return Ok(None);
            }
            if let Some(assistant) = access.assistant {
                transaction.restrict_to(assistant);
            }
            work(transaction).map(Some)
        };
        match store.write_for(user, work).await {
            Ok(None) => Err(ApiError::missing_scope(scope)),
            Ok(Some(done)) => Ok(Ok(done)),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// Returns the token of the only `Authorization: Bearer` header. The scheme is case-insensitive
/// (RFC 9110).
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    // As almost all clients write it: no search for the parts.
    if let Some(token) = value.as_bytes().strip_prefix(b"Bearer ")
        && (1..=MAX_TOKEN_BYTES).contains(&token.len())
        && token.iter().fold(true, |all, byte| all & byte.is_ascii_graphic())
    {
        return str::from_utf8(token).ok();
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
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
