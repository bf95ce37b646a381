//! Response headers, each described once.

use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::{Header, HeaderBuilder, Object, Ref, ResponseBuilder};

use crate::openapi::builders::{enumeration, integer, pattern, string};

/// Every header of the description, by name.
pub(super) fn all() -> Vec<(&'static str, Header)> {
    let mut headers = vec![
        (
            "X-Request-Id",
            header(
                Presence::Always,
                pattern(
                    "The id of the request in the server's log; the client's own, if it sent one \
                     of this form",
                    "^[A-Za-z0-9_-]{1,64}$",
                ),
            ),
        ),
        ("Cache-Control", header(Presence::Always, caching())),
        (
            "ETag",
            header(
                Presence::Always,
                pattern(
                    "The entity tag of the response, for `If-None-Match`. It is weak if the \
                     response is streamed",
                    r#"^(W/)?"[0-9a-f]{32}"$"#,
                ),
            ),
        ),
        (
            "Vary",
            header(
                Presence::Always,
                string("The request headers that the response depends on, for caches"),
            ),
        ),
        (
            "X-Content-Type-Options",
            header(Presence::Always, enumeration("Forbids guessing the type", ["nosniff"])),
        ),
        (
            "Retry-After",
            header(Presence::Always, integer("Seconds to wait before a retry", 1..=3600)),
        ),
        (
            "Content-Disposition",
            header(Presence::Always, string("A name under which a browser saves the body")),
        ),
        ("WWW-Authenticate", header(Presence::Always, challenge())),
        (
            "Link",
            header(
                Presence::Optional,
                string("URLs of the neighbouring pages, by `rel` (RFC 8288)"),
            ),
        ),
    ];
    headers.extend(rate_limits());
    headers
}

fn caching() -> Object {
    enumeration(
        "`private, no-cache` for a response with an `ETag`: the client may keep it, and must ask \
         with `If-None-Match` before it uses it again",
        ["no-store", "private, no-cache"],
    )
}

/// The headers of responses to a token with a rate limit.
fn rate_limits() -> [(&'static str, Header); 4] {
    [
        (
            "RateLimit-Policy",
            header(
                Presence::Optional,
                pattern(
                    "Present if the server has a rate limit: `q` requests per window of `w` \
                     seconds",
                    r#"^"token";q=\d+;w=\d+$"#,
                ),
            ),
        ),
        (
            "RateLimit",
            header(
                Presence::Optional,
                pattern(
                    "Requests left (`r`), and seconds (`t`) until the quota is full again; if none \
                     is left, seconds until the next request is allowed",
                    r#"^"token";r=\d+;t=\d+$"#,
                ),
            ),
        ),
        (
            "X-RateLimit-Limit",
            header(
                Presence::Optional,
                integer("Requests per window, under Laravel's name", 1..=1_000_000),
            ),
        ),
        (
            "X-RateLimit-Remaining",
            header(
                Presence::Optional,
                integer("Requests left, under Laravel's name", 0..=1_000_000),
            ),
        ),
    ]
}

fn challenge() -> Object {
    let description = "The required authentication scheme, and the scope that the token lacks";
    pattern(
        description,
        r#"^Bearer error="(invalid_token|insufficient_scope)"(, (scope|error_description)="[A-Za-z: ]+")?$"#,
    )
}

/// Headers of every response.
pub(super) const COMMON: [&str; 3] = ["X-Request-Id", "Cache-Control", "X-Content-Type-Options"];
/// Headers of a response that a client may keep.
pub(super) const CACHED: [&str; 2] = ["ETag", "Vary"];
/// Headers of every response to a token with a rate limit.
pub(super) const RATE_LIMIT: [&str; 4] =
    ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining"];

/// Adds headers to a response, by name.
pub(super) fn with<'n>(
    response: ResponseBuilder,
    names: impl IntoIterator<Item = &'n &'n str>,
) -> ResponseBuilder {
    names.into_iter().fold(response, |response, name| {
        response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")))
    })
}

/// Whether a response that lists a header always has it.
#[derive(Clone, Copy)]
enum Presence {
    Always,
    Optional,
}

fn header(presence: Presence, schema: Object) -> Header {
    let description = schema.description.clone();
    let required = matches!(presence, Presence::Always);
    let required = Extensions::from_iter([("required", required)]);
    let header = HeaderBuilder::new().description(description).schema(Some(schema));
    header.extensions(Some(required)).build()
}
