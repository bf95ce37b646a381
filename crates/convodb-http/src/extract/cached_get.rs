//! Cached `GET`: a response that depends on the user's data alone, and is recognized when it is
//! requested again.
//!
//! The request as a whole (target, host, what the client accepts, the limits of its token) and the
//! version of the user's data determine the response. Both make its entity tag. A client that has
//! the response gets 304, and one whose request came before the kept response; neither reads a row.
//!
//! [`KnownResponses`] answers a request that came before, ahead of everything that only another
//! response needs. It looks the token up first, and admits the request as a route does: rate limit,
//! scope, share of memory. [`respond`] answers all others.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::sync::LazyLock;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, ETAG, HOST, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use convodb::{Access, Scope, StoreVersion, UserId};
use convodb_service::View;
use futures_util::future::{Either, MapOk};
use futures_util::{TryFutureExt as _, stream};
use http_body_util::Either as EitherBody;
use tower_layer::Layer;
use tower_service::Service as TowerService;

use crate::error::{ApiError, Result};
use crate::extract::auth::{AuthRead, FoundToken, RequiredScope, bearer_token, check_scope};
use crate::extract::strictness::PREFER;
use crate::middleware::caller::{self, ConnectionOwner, whole};
use crate::middleware::rate_limit::StatusSlot;
use crate::response::base_url::is_forwarded;
use crate::response::cache::{ENVELOPE_HEADERS, KeptResponse, Known};
use crate::response::compression::compressed;
use crate::response::etag::{ETag, matches_any};
use crate::state::Service;

/// The layer of [`KnownResponses`].
#[derive(Clone)]
pub(crate) struct KnownResponsesLayer(pub(crate) Service);

impl<S> Layer<S> for KnownResponsesLayer {
    type Service = KnownResponses<S>;

    fn layer(&self, inner: S) -> KnownResponses<S> {
        KnownResponses { inner, service: self.0.clone() }
    }
}

/// Answers requests whose response is known. Passes on all others, with what was found out of them.
#[derive(Clone)]
pub(crate) struct KnownResponses<S> {
    inner: S,
    service: Service,
}

/// A response that is known, or the one of the inner service.
type EitherResponse<B> = Response<EitherBody<Body, B>>;

impl<S, B> TowerService<Request> for KnownResponses<S>
where
    S: TowerService<Request, Response = Response<B>, Error = Infallible>,
{
    type Response = EitherResponse<B>;
    type Error = Infallible;
    type Future = Either<
        Ready<std::result::Result<EitherResponse<B>, Infallible>>,
        MapOk<S::Future, fn(Response<B>) -> EitherResponse<B>>,
    >;

    fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<std::result::Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(known) = look_up(&self.service, &mut request) {
            return Either::Left(ready(Ok(known.map(EitherBody::Left))));
        }
        let inner: fn(Response<B>) -> _ = |response| response.map(EitherBody::Right);
        Either::Right(self.inner.call(request).map_ok(inner))
    }
}

/// Returns the response to a request if it is known. Otherwise leaves the request's token and its
/// description for the route, which reports whatever is wrong with the request.
fn look_up(service: &Service, request: &mut Request) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let headers = request.headers();
    let token = bearer_token(headers)?;
    let found = FoundToken::find_embedded(service, token)?;
    let version = found.view.snapshot()?.version_of(found.access.user);
    let described = Description::of(service, &found.access, version, request);
    let known = service
        .responses()
        .get(described.user, &described.request, described.version)
        .and_then(|known| match known.etag.find_in(headers) {
            Some(tag) => Some((known, Some(tag))),
            None if known.response.is_some() => Some((known, None)),
            None => None,
        });
    let Some((known, tag)) = known else {
        request.extensions_mut().insert(found);
        request.extensions_mut().insert(described);
        return None;
    };
    let slot = service.has_rate_limit().then(StatusSlot::default);
    let connection = request.extensions().get::<ConnectionOwner>();
    let answered = caller::admit(service.bytes(), connection, described.user)
        .and_then(|()| service.check_rate(token, slot.as_ref()))
        .and_then(|()| {
            service.record_token_use(&found.access, found.now);
            check_scope(&found.access, known.scope)
        })
        .and_then(|()| match tag {
            Some(tag) => Ok(not_modified(tag)),
            None => kept_response(service, described.user, &known, headers),
        });
    let mut response = answered.unwrap_or_else(ApiError::into_response);
    if let Some(slot) = slot {
        slot.add_to(response.headers_mut());
    }
    Some(response)
}

/// Returns a response that is kept, or 304 if the client wants none if there is any.
///
/// # Errors
/// 503 if its body is beyond the user's share of bytes.
fn kept_response(
    service: &Service,
    user: UserId,
    known: &Known,
    headers: &HeaderMap,
) -> Result<Response> {
    service.metrics().record_kept_response();
    match &known.response {
        Some(kept) if !matches_any(headers) => {
            Ok(kept.response(caller::hold(service.bytes(), user, kept.body())?))
        }
        _ => Ok(not_modified(known.etag.strong().clone())),
    }
}

/// Responds to an authenticated `GET` whose response is not known: with the one that `make` returns,
/// or with 304 if the client has it.
///
/// # Errors
/// Those of `make`; 500 if the body of its response fails.
pub(crate) async fn respond<S, F>(
    service: &Service,
    auth: AuthRead<S>,
    mut request: Request,
    make: impl FnOnce(AuthRead<S>, Request) -> F,
) -> Result<Response>
where
    S: RequiredScope,
    F: Future<Output = Result<Response>>,
{
    let View::Embedded(snapshot) = &auth.view else {
        return respond_tagged(service, auth, request, make).await;
    };
    let described = request.extensions_mut().remove::<Description>();
    let described = described.unwrap_or_else(|| {
        let version = snapshot.version_of(auth.user);
        Description::of(service, auth.access(), version, &request)
    });
    let etag = ETag::new(&described.request, described.version);
    let headers = request.headers();
    if let Some(tag) = etag.find_in(headers) {
        return Ok(not_modified(tag));
    }
    let matches_any = matches_any(headers);
    let codings = headers.get_all(ACCEPT_ENCODING).iter().cloned().collect();
    let get = CachedGet { service, described, etag, codings };
    let response = get.complete(make(auth, request).await?, S::SCOPE).await?;
    match response.headers().get(ETAG).filter(|_| matches_any) {
        Some(tag) => Ok(not_modified(tag.clone())),
        None => Ok(response),
    }
}

/// [`respond`] for a store on another database, whose versions are not known: the entity tag is one of
/// the bytes of the body, so the response is always made.
///
/// # Errors
/// As [`respond`].
async fn respond_tagged<S, F>(
    service: &Service,
    auth: AuthRead<S>,
    request: Request,
    make: impl FnOnce(AuthRead<S>, Request) -> F,
) -> Result<Response>
where
    S: RequiredScope,
    F: Future<Output = Result<Response>>,
{
    let headers = request.headers().clone();
    let codings: Vec<HeaderValue> = headers.get_all(ACCEPT_ENCODING).iter().cloned().collect();
    let mut response = make(auth, request).await?;
    if !codings.is_empty() {
        response = compressed(response, codings, service.long_reads()).await?;
    }
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await;
    let body = body.map_err(|error| ApiError::fault(error.to_string()))?;
    let etag = ETag::of_body(&body);
    if let Some(tag) = etag.find_in(&headers) {
        return Ok(not_modified(tag));
    }
    if matches_any(&headers) {
        return Ok(not_modified(etag.strong().clone()));
    }
    add_headers(&mut head.headers, etag.strong().clone());
    Ok(Response::from_parts(head, Body::from(body)))
}

/// A `GET` whose response is not known yet.
struct CachedGet<'s> {
    service: &'s Service,
    described: Description,
    etag: ETag,
    /// The values of `Accept-Encoding`.
    codings: Vec<HeaderValue>,
}

impl CachedGet<'_> {
    /// Completes a response with status 200: compresses it if the client accepts that, adds its
    /// entity tag, and keeps it if the request came before. `scope` is the one that it requires.
    ///
    /// # Errors
    /// 500 if the body fails.
    async fn complete(self, mut response: Response, scope: Scope) -> Result<Response> {
        let is_streamed = response.body().size_hint().exact().is_none();
        if is_streamed {
            // The pauses between its chunks, too, decide the bytes of a compressed stream.
            add_headers(response.headers_mut(), self.etag.weak());
            return Ok(response);
        }
        if !self.codings.is_empty() {
            response = compressed(response, self.codings, self.service.long_reads()).await?;
        }
        add_headers(response.headers_mut(), self.etag.strong().clone());
        let (head, body) = response.into_parts();
        let size = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let body = whole(body, size.unwrap_or(usize::MAX)).await;
        let body = body.map_err(|error| ApiError::fault(error.to_string()))?;
        let keep = || KeptResponse::new(&head.headers, &body);
        let Description { user, request, version } = self.described;
        self.service.responses().put(user, &request, version, (self.etag, scope), keep);
        Ok(Response::from_parts(head, Body::from(body)))
    }
}

/// Everything that the response to a `GET` depends on. A request extension.
#[derive(Clone)]
struct Description {
    user: UserId,
    version: StoreVersion,
    /// Everything of the request that the response depends on.
    request: Vec<u8>,
}

impl Description {
    /// Describes a request with a valid token. Neither a target nor a header contains a line feed,
    /// so different requests have different descriptions.
    fn of(service: &Service, access: &Access, version: StoreVersion, request: &Request) -> Self {
        let headers = request.headers();
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let mut out = Vec::with_capacity(TYPICAL_DESCRIPTION_BYTES);
        out.extend(access.user.get().to_be_bytes());
        if let Some(only) = access.assistant {
            out.extend(only.uuid().into_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(target.as_bytes());
        let mut add = |mark: u8, name: &HeaderName| {
            for value in headers.get_all(name) {
                out.extend([b'\n', mark]);
                out.extend_from_slice(value.as_bytes());
            }
        };
        add(b'c', &ACCEPT_ENCODING);
        add(b'p', &PREFER);
        // The URL in the response.
        if service.base_url().configured().is_empty() {
            add(b'h', &HOST);
            if is_forwarded(headers) {
                out.extend(b"\nf");
            }
        }
        Self { user: access.user, version, request: out }
    }
}

/// Typical bytes of a description.
const TYPICAL_DESCRIPTION_BYTES: usize = 256;

/// Returns 304 with the headers that 200 would have, as RFC 9110 (section 15.4.5) requires.
fn not_modified(tag: HeaderValue) -> Response {
    // Of unknown length: axum would declare the length 0, which is not that of the response.
    let none = stream::empty::<std::result::Result<Bytes, Infallible>>();
    let mut response = Response::new(Body::from_stream(none));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    // Cloned with its capacity, which takes half as long as to fill one.
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::with_capacity(3 + ENVELOPE_HEADERS);
        add_headers(&mut headers, HeaderValue::from_static("\"\""));
        headers
    });
    let headers = response.headers_mut();
    headers.clone_from(&HEADERS);
    headers.insert(ETAG, tag);
    response
}

fn add_headers(headers: &mut HeaderMap, tag: HeaderValue) {
    headers.insert(ETAG, tag);
    // A browser may keep the response and must ask whether it is still right.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("authorization, accept-encoding"));
}
