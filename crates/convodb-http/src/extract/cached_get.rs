//! Cached `GET`: a response that depends on the user's data alone, and is recognized when it is
//! requested again.
//!
//! The request as a whole (target, host, what the client accepts, the limits of its token) and the
//! version of the user's data determine the response. Both make its entity tag. A client that has
//! the response gets 304, and one whose request came before the kept response; neither reads a row.
//!
//! The token was authenticated before, in the same snapshot, and the rate limit was checked.

use std::convert::Infallible;
use std::future::Future;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use convodb::{StoreVersion, UserId};
use futures_util::stream;

use crate::error::{ApiError, Result};
use crate::extract::auth::AuthRead;
use crate::response::cache::KeptResponse;
use crate::response::compression::compressed;
use crate::response::etag::{ETag, matches_any};
use crate::state::Service;

/// Responds to an authenticated `GET`: with the response that is known, or with the one that `make`
/// returns. `details` are what it depends on besides its target and `Accept-Encoding`: the URL of its
/// links, how it is validated.
///
/// # Errors
/// Those of `make`; 500 if the body of its response fails.
pub(crate) async fn respond<S, F>(
    service: &Service,
    auth: AuthRead<S>,
    request: Request,
    details: &[&str],
    make: impl FnOnce(AuthRead<S>, Request) -> F,
) -> Result<Response>
where
    F: Future<Output = Result<Response>>,
{
    match CachedGet::look_up(service, &auth, &request, details) {
        Lookup::Known(response) => Ok(response),
        Lookup::New(get) => get.complete(make(auth, request).await?).await,
    }
}

/// A `GET` whose response is not known yet.
struct CachedGet {
    service: Service,
    user: UserId,
    /// Everything of the request that the response depends on.
    request: Vec<u8>,
    version: StoreVersion,
    etag: ETag,
    /// The values of `Accept-Encoding`.
    codings: Vec<HeaderValue>,
    /// Whether the client wants no response if there is any.
    matches_any: bool,
}

/// Whether the response to a `GET` is known.
enum Lookup {
    /// The response: 304, or one that was sent before.
    Known(Response),
    /// The handler must make the response, which [`CachedGet::complete`] gets.
    New(CachedGet),
}

impl CachedGet {
    /// Looks up an authenticated request.
    fn look_up<S>(
        service: &Service,
        auth: &AuthRead<S>,
        request: &Request,
        details: &[&str],
    ) -> Lookup {
        let (user, version) = (auth.user, auth.snapshot.version_of(auth.user));
        let headers = request.headers();
        let described = describe(auth, request, details);
        let known = service.responses().get(user, &described, version);
        let (etag, kept) = match known {
            Some(known) => (known.etag, known.response),
            None => (ETag::new(&described, version), None),
        };
        if let Some(tag) = etag.find_in(headers) {
            return Lookup::Known(not_modified(tag));
        }
        let matches_any = matches_any(headers);
        if let Some(kept) = kept {
            service.metrics().record_kept_response();
            return Lookup::Known(match matches_any {
                true => not_modified(etag.strong().clone()),
                false => kept.response(),
            });
        }
        Lookup::New(Self {
            service: service.clone(),
            user,
            request: described,
            version,
            etag,
            codings: headers.get_all(ACCEPT_ENCODING).iter().cloned().collect(),
            matches_any,
        })
    }

    /// Completes a response with status 200: compresses it if the client accepts that, adds its
    /// entity tag, and keeps it if the request came before.
    ///
    /// # Errors
    /// 500 if the body fails.
    async fn complete(self, mut response: Response) -> Result<Response> {
        let is_streamed = response.body().size_hint().exact().is_none();
        if is_streamed {
            // The pauses between its chunks, too, decide the bytes of a compressed stream.
            add_headers(response.headers_mut(), self.etag.weak());
            return Ok(self.unless_any_matches(response));
        }
        if !self.codings.is_empty() {
            response = compressed(response, &self.codings).await?;
        }
        add_headers(response.headers_mut(), self.etag.strong().clone());
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await;
        let body = body.map_err(|error| ApiError::fault(error.to_string()))?;
        let keep = || KeptResponse::new(&head.headers, &body);
        let responses = self.service.responses();
        responses.put(self.user, &self.request, self.version, self.etag.clone(), keep);
        Ok(self.unless_any_matches(Response::from_parts(head, Body::from(body))))
    }

    /// Returns the response, or 304 if the client wants none.
    fn unless_any_matches(&self, response: Response) -> Response {
        match response.headers().get(ETAG).filter(|_| self.matches_any) {
            Some(tag) => not_modified(tag.clone()),
            None => response,
        }
    }
}

/// Returns everything of a request that its response depends on. Neither a target nor a header
/// contains a line feed, so different requests have different descriptions.
fn describe<S>(auth: &AuthRead<S>, request: &Request, details: &[&str]) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let mut out = Vec::with_capacity(256);
    out.extend(auth.user.get().to_be_bytes());
    if let Some(only) = auth.restriction() {
        out.extend(only.uuid().into_bytes());
    }
    out.push(b'\n');
    let codings = request.headers().get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes);
    let details = details.iter().map(|detail| detail.as_bytes());
    for part in [target.as_bytes()].into_iter().chain(details).chain(codings) {
        out.extend_from_slice(part);
        out.push(b'\n');
    }
    out
}

/// Returns 304 with the headers that 200 would have, as RFC 9110 (section 15.4.5) requires.
fn not_modified(tag: HeaderValue) -> Response {
    // Of unknown length: axum would declare the length 0, which is not that of the response.
    let none = stream::empty::<std::result::Result<Bytes, Infallible>>();
    let mut response = Response::new(Body::from_stream(none));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    add_headers(response.headers_mut(), tag);
    response
}

fn add_headers(headers: &mut HeaderMap, tag: HeaderValue) {
    headers.insert(ETAG, tag);
    // A browser may keep the response and must ask whether it is still right.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("authorization, accept-encoding"));
}
