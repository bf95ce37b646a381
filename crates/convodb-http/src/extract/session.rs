//! Session of the console: who is signed in, checked at each request, and forms of other sites.

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, LOCATION, ORIGIN, REFRESH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use convodb::Snapshot;
use convodb_console::Query;

use crate::clock::now;
use crate::error::{ApiError, Result};
use crate::extract::auth::{AuthRead, Authenticated, RequiredScope};
use crate::response::base_url;
use crate::state::Service;

/// How long a session lasts.
pub(crate) const SESSION_SECONDS: u64 = 12 * 3600;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The name of the cookie, and the one that browsers accept over HTTPS alone.
const COOKIE_NAMES: [&str; 2] = ["__Secure-convodb_console", "convodb_console"];

/// A person who is signed in, with a token that has the scope.
pub(crate) struct SessionRead<S>(pub(crate) SessionAuth<S>);

/// Read access to a snapshot of an embedded store, which alone has a console.
pub(crate) type SessionAuth<S> = AuthRead<S, Snapshot>;

impl<S: RequiredScope> FromRequestParts<Service> for SessionRead<S> {
    type Rejection = Response;

    /// Leads to the form for signing in without a valid session. Otherwise fails as [`AuthRead`].
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Response> {
        let now = now().map_err(ApiError::into_response)?;
        let snapshot = service.store().map_err(ApiError::into_response)?.snapshot();
        let session = cookie(&parts.headers)
            .and_then(|cookie| service.session_key().open(cookie, now))
            .map(|(token, end)| snapshot.access(token, now).map(|access| access.zip(Some(end))));
        let session = match session.transpose() {
            Ok(session) => session.flatten(),
            Err(error) => return Err(ApiError::from(error).into_response()),
        };
        let Some((access, end)) = session else {
            return Err(sign_in_first(parts, service.base_url().base_path()));
        };
        let rate_key = access.token.to_string();
        let (view, session_end) = (snapshot.into(), Some(end));
        let found = Authenticated { view, access, now, rate_key: &rate_key, session_end };
        AuthRead::of_access(parts, service, found)
            .and_then(AuthRead::of_snapshot)
            .map(Self)
            .map_err(ApiError::into_response)
    }
}

/// Returns the session cookie of a request. Of both names, the one that only HTTPS can set wins.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = || headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = || values().flat_map(|value| value.split(';'));
    COOKIE_NAMES
        .into_iter()
        .find_map(|name| pairs().find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('=')))
}

/// Returns the `Set-Cookie` header of a session, or of its end if the value is blank.
pub(crate) fn set_cookie(value: &str, base: &str, is_secure: bool) -> HeaderValue {
    let [secure_name, plain_name] = COOKIE_NAMES;
    let (name, secure) = if is_secure { (secure_name, "; Secure") } else { (plain_name, "") };
    let age = if value.is_empty() { 0 } else { SESSION_SECONDS };
    let text = format!(
        "{name}={value}; Path={base}/console; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Leads to the form for signing in, which leads back to the requested page.
///
/// A browser sends no strict cookie with a link from another site. Such a request is repeated once,
/// by this site, before the person is asked to sign in again.
fn sign_in_first(parts: &Parts, base: &str) -> Response {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let is_page = parts.method == Method::GET;
    let site = parts.headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    if is_page && site == Some(b"cross-site") {
        let refresh = HeaderValue::try_from(format!("0; url={base}{path}"));
        return refresh.map_or_else(
            |_| StatusCode::NOT_FOUND.into_response(),
            |refresh| (StatusCode::OK, [(REFRESH, refresh)]).into_response(),
        );
    }
    let next = if is_page { Query::new([("next", path.to_owned())]) } else { Query::default() };
    let target = format!("{base}/console/sign-in{}", next.suffix());
    see_other(&target)
}

/// Leads to another page with GET.
pub(crate) fn see_other(target: &str) -> Response {
    match HeaderValue::try_from(target) {
        Ok(target) => (StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Checks that a form was sent by a page of this server, not by one of another site.
///
/// # Errors
/// 403 with what is expected.
pub(crate) fn check_same_origin(headers: &HeaderMap, public_origin: Option<&str>) -> Result<()> {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_own = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| host);
        Some(origin) == public_origin || (host.is_some() && host == base_url::host(headers))
    };
    let allowed = match (site, origin) {
        (Some(site), None) => site == b"same-origin",
        (None, Some(origin)) => is_own(origin),
        (Some(site), Some(origin)) => site == b"same-origin" && is_own(origin),
        (None, None) => false,
    };
    if allowed { Ok(()) } else { Err(ApiError::foreign_origin()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_of_https_wins() {
        let mut headers = HeaderMap::new();
        assert_eq!(cookie(&headers), None);
        headers.insert(COOKIE, "a=b; convodb_console=1; x_convodb_console=3".parse().unwrap());
        assert_eq!(cookie(&headers), Some("1"));
        headers.append(COOKIE, "__Secure-convodb_console=2".parse().unwrap());
        assert_eq!(cookie(&headers), Some("2"));
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let check = |site: Option<&str>, origin: Option<&str>, allowed: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "h:8080".parse().unwrap());
            site.map(|site| headers.insert(SEC_FETCH_SITE, site.parse().unwrap()));
            origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            let checked = check_same_origin(&headers, Some("https://public.example"));
            assert_eq!(checked.is_ok(), allowed, "{site:?} {origin:?}");
        };
        check(Some("same-origin"), Some("http://h:8080"), true);
        check(Some("same-origin"), Some("https://public.example"), true);
        check(Some("same-origin"), None, true);
        check(None, Some("http://h:8080"), true);
        check(None, None, false);
        check(Some("none"), None, false);
        check(Some("cross-site"), Some("http://h:8080"), false);
        check(Some("same-site"), Some("http://h:8081"), false);
        check(Some("same-origin"), Some("https://evil.example"), false);
        check(None, Some("null"), false);
        check(None, Some("http://h"), false);
    }
}
