//! API documentation: the OpenAPI document, and a page that shows it.
//!
//! The page and its assets are compiled into the program. Its content security policy allows no
//! other origin, no inline code and no frame around it.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::response::json_body;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The OpenAPI document.
pub(crate) const DOCUMENT: &str = include_str!("../docs/openapi.json");

/// The OpenAPI document compressed with gzip: once, because anybody may request it.
static COMPRESSED: LazyLock<Bytes> = LazyLock::new(|| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(DOCUMENT.as_bytes()).and_then(|()| encoder.finish());
    written.unwrap_or_else(|error| unreachable!("memory accepts all bytes: {error}")).into()
});

/// Marks a response that is compressed already, or not on purpose.
#[derive(Clone, Copy)]
pub(crate) struct IsCompressed;

/// `GET /openapi.json`, compressed if the client accepts gzip.
pub(crate) async fn document(headers: HeaderMap) -> Response {
    let gzip = accepts_gzip(&headers);
    let mut response =
        if gzip { json_body::ok(COMPRESSED.clone()) } else { json_body::ok(DOCUMENT) };
    response.extensions_mut().insert(IsCompressed);
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    response
}

/// Returns whether the client accepts gzip: by name or by `*`, and not with the weight 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let mut any = false;
    for coding in codings {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        let accepted = weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return accepted,
            "*" => any = accepted,
            _ => {}
        }
    }
    any
}

/// `GET /docs`.
pub(crate) async fn page() -> Response {
    asset(include_str!("../docs/page.html"), "text/html; charset=utf-8")
}

/// `GET /docs/style.css`.
pub(crate) async fn style() -> Response {
    asset(include_str!("../docs/style.css"), "text/css; charset=utf-8")
}

/// `GET /docs/page.js`.
pub(crate) async fn script() -> Response {
    asset(include_str!("../docs/page.js"), "text/javascript; charset=utf-8")
}

fn asset(text: &'static str, media_type: &'static str) -> Response {
    let mut response = json_body::ok(text);
    let headers: [(HeaderName, &'static str); 3] = [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_only_if_it_is_accepted() {
        for (accept, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["zstd, GZIP;q=0.5"], true),
            (&["deflate", "gzip"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["br, identity"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(accepts_gzip(&headers), expected, "{accept:?}");
        }
    }
}
