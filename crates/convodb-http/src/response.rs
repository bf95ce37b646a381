//! Answers that went well: a JSON body and its headers.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use convodb::{Page, Snapshot, UserId};

use crate::body::{PageTokens, write_page};
use crate::error::Result;
use crate::item::AssistantNames;

/// What a link takes beside its URL: a token has at most 98 characters.
const MAX_LINK_BYTES: usize = 144;

/// An answer of status 200 with a JSON body.
pub(crate) fn ok(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A page of the user's list as the answer for `url`, read from the snapshot that the page is of.
pub(crate) fn list(url: &str, page: &Page, user: UserId, snapshot: &Snapshot) -> Result<Response> {
    let tokens = PageTokens::of(page, snapshot);
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let mut body = Vec::new();
    write_page(&mut body, url, page, &tokens, &mut names)?;
    let mut response = ok(body);
    if let Some(link) = link(url, page.page_size().get(), &tokens) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// The `Link` header (RFC 8288). A cursor carries the filters, so no URL of it tells a phone.
fn link(url: &str, per_page: usize, tokens: &PageTokens) -> Option<HeaderValue> {
    let mut links = String::with_capacity(2 * (url.len() + MAX_LINK_BYTES));
    for (cursor, rel) in [(&tokens.next, "next"), (&tokens.prev, "prev")] {
        if let Some(cursor) = cursor {
            let comma = if links.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ =
                write!(links, "{comma}<{url}?per_page={per_page}&cursor={cursor}>; rel=\"{rel}\"");
        }
    }
    if links.is_empty() { None } else { links.try_into().ok() }
}
