//! The headers of answers, each described once.

use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::{Header, HeaderBuilder, Object, Ref, ResponseBuilder};

use crate::openapi::builders::{any_text, formed, integer, word};

/// Every header that the document tells of.
pub(super) fn all() -> Vec<(&'static str, Header)> {
    let delay = "Seconds to wait before the next try";
    vec![
        (
            "X-Request-Id",
            header(
                Presence::Always,
                formed(
                    "The request's id in the log: yours, if you sent one of this form",
                    "^[A-Za-z0-9_-]{1,64}$",
                ),
            ),
        ),
        (
            "Cache-Control",
            header(Presence::Always, word("Nothing is to be kept by caches", ["no-store"])),
        ),
        ("Retry-After", header(Presence::Always, integer(delay, 1..=3600))),
        ("WWW-Authenticate", header(Presence::Always, word("How to say who one is", ["Bearer"]))),
        (
            "Link",
            header(
                Presence::Maybe,
                any_text("The URLs of the pages around this one, by `rel` (RFC 8288)"),
            ),
        ),
        (
            "RateLimit-Policy",
            header(
                Presence::Maybe,
                formed(
                    "Where tokens have a limit: requests (`q`) in a window of seconds (`w`)",
                    r#"^"token";q=\d+;w=\d+$"#,
                ),
            ),
        ),
        (
            "RateLimit",
            header(
                Presence::Maybe,
                formed(
                    "Requests left (`r`), and seconds (`t`) until all are there again, or one if none is",
                    r#"^"token";r=\d+;t=\d+$"#,
                ),
            ),
        ),
        (
            "X-RateLimit-Limit",
            header(Presence::Maybe, integer("Requests of a window, as of Laravel", 1..=1_000_000)),
        ),
        (
            "X-RateLimit-Remaining",
            header(Presence::Maybe, integer("Requests left, as of Laravel", 0..=1_000_000)),
        ),
    ]
}

/// Those that every answer has.
pub(super) const COMMON: [&str; 2] = ["X-Request-Id", "Cache-Control"];
/// Those of every answer to a token that has a limit.
pub(super) const RATES: [&str; 4] =
    ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining"];

/// Adds headers to an answer, by their names.
pub(super) fn with<'n>(
    response: ResponseBuilder,
    names: impl IntoIterator<Item = &'n &'n str>,
) -> ResponseBuilder {
    names.into_iter().fold(response, |response, name| {
        response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")))
    })
}

/// Whether an answer that names a header always has it.
#[derive(Clone, Copy)]
enum Presence {
    Always,
    Maybe,
}

fn header(presence: Presence, shape: Object) -> Header {
    let tells = shape.description.clone();
    let required = matches!(presence, Presence::Always);
    let required = Extensions::from_iter([("required", required)]);
    HeaderBuilder::new().description(tells).schema(Some(shape)).extensions(Some(required)).build()
}
