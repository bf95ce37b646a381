//! Signing in with a token, and signing out.

use std::time::Instant;

use axum::extract::State;
use axum::http::header::{ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use convodb::{Scope, Scopes, Timestamp};
use convodb_console::{SignInScreen, text};

use crate::body::RequestBody;
use crate::clock::now;
use crate::error::Result;
use crate::extract::query_string::{PlusSign, QueryString};
use crate::extract::session::{SESSION_SECONDS, see_other, set_cookie};
use crate::response::html;
use crate::routes::console::visit::query_of;
use crate::state::Service;

/// `GET /console/sign-in`: the form.
pub(super) async fn form(State(service): State<Service>, uri: Uri) -> Result<Response> {
    let next = field(query_of(&uri), "next");
    let notice = match (field(query_of(&uri), "out").as_str(), next.as_str()) {
        ("1", _) => text::SIGNED_OUT,
        _ => "",
    };
    show(&service, next, notice, false)
}

/// `POST /console/sign-in`: checks the token, and begins a session.
pub(super) async fn sign_in(
    State(service): State<Service>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response> {
    let form = body.form().await?;
    let (token, next) = (field(&form, "token"), field(&form, "next"));
    let now = now()?;
    let snapshot = service.store()?.snapshot();
    let Some(access) = snapshot.authenticate(token.trim(), now)? else {
        let mut response = show(&service, next, text::TOKEN_REFUSED, true)?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(response);
    };
    service.check_rate(&access.token.to_string(), None)?;
    service.record_token_use(&access, now);
    let end = Timestamp::from_millis(now.millis() + SESSION_SECONDS * 1000)?;
    let base = service.base_url().base_path();
    let target = Some(next).filter(|next| is_own_path(next));
    let target = target.unwrap_or_else(|| first_screen(access.scopes).to_owned());
    let mut response = see_other(&format!("{base}{target}"));
    let cookie = service.session_key().seal(access.token, end);
    let cookie = set_cookie(&cookie, base, is_https(&service, &headers));
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// The first screen that a token with these scopes may open.
fn first_screen(scopes: Scopes) -> &'static str {
    let screens = [
        (Scope::Read, "/console/conversations"),
        (Scope::Stats, "/console/volumes"),
        (Scope::Health, "/console/health"),
        (Scope::Tokens, "/console/tokens"),
    ];
    let first = screens.into_iter().find(|(scope, _)| scopes.contains(*scope));
    first.map_or("/console/conversations", |(_, path)| path)
}

/// `POST /console/sign-out`: ends the session in this browser.
pub(super) async fn sign_out(State(service): State<Service>, headers: HeaderMap) -> Response {
    let base = service.base_url().base_path();
    let mut response = see_other(&format!("{base}/console/sign-in?out=1"));
    let cookie = set_cookie("", base, is_https(&service, &headers));
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

fn show(service: &Service, next: String, notice: &'static str, is_error: bool) -> Result<Response> {
    let base = service.base_url().base_path().to_owned();
    let next = if is_own_path(&next) { next } else { String::new() };
    let now = Instant::now();
    html::page(&SignInScreen { base, next, notice, is_error }, now, now)
}

/// Returns a field of a form; blank if it is missing or too long.
fn field(form: &str, name: &'static str) -> String {
    let value = QueryString::new(form).take(name, PlusSign::Space, |text| Ok(text.to_owned()));
    value.unwrap_or_default()
}

/// Whether a path to open after signing in is one of the console, and no other host's.
fn is_own_path(path: &str) -> bool {
    let rest = path.strip_prefix("/console/");
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'))
}

/// Whether the browser reaches the server over HTTPS: as configured, or as the browser itself says.
/// A proxy's own headers are not trusted.
fn is_https(service: &Service, headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    service.base_url().configured().starts_with("https://")
        || origin.is_some_and(|origin| origin.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_console_follow_signing_in() {
        for own in ["/console/", "/console/conversations?type=api&cursor=AQE"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/console/",
            "/console",
            "/consoles/x",
            "/console/\\evil",
            "/console/a b",
            "/console/\r\nSet-Cookie: x",
        ] {
            assert!(!is_own_path(foreign), "{foreign}");
        }
    }
}
