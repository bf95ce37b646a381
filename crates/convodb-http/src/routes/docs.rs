//! API documentation: the OpenAPI document, and a page that shows it.
//!
//! The page and its assets are compiled into the program. Its content security policy allows no
//! other origin, no inline code and no frame around it.

use std::io::Write as _;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use convodb_json::json;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::extract::accept;
use crate::extract::session::see_other;
use crate::response::compression::IsCompressed;
use crate::response::json_body;
use crate::routes::console::CONSOLE;
use crate::routes::conversations;
use crate::state::Service;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The OpenAPI document.
pub(crate) const DOCUMENT: &str = include_str!("../docs/openapi.json");

/// The server's URL in the document.
const SERVER: &str = r#""servers":[{"url":"/"}]"#;

/// Returns the document with the URL of the server; as it is if the URL is empty.
fn document_at(url: &str) -> String {
    if url.is_empty() {
        return DOCUMENT.to_owned();
    }
    let mut server = br#""servers":[{"url":"#.to_vec();
    json::string(&mut server, url);
    server.extend_from_slice(b"}]");
    DOCUMENT.replacen(SERVER, &String::from_utf8_lossy(&server), 1)
}

fn compressed(text: &str) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.unwrap_or_else(|error| unreachable!("memory accepts all bytes: {error}")).into()
}

/// `GET /`: what is here. Leads a browser to the console.
pub(crate) async fn index(State(service): State<Service>, headers: HeaderMap) -> Response {
    let html = accept::weight(&headers, |range| range == "text/html");
    let json = accept::weight(&headers, |range| range.contains("json"));
    if service.has_console() && html > 0.0 && html > json {
        let mut response = see_other(&format!("{}{CONSOLE}", service.base_url().base_path()));
        response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
        return response;
    }
    let mut out = b"{\"name\":\"convodb\",\"version\":".to_vec();
    json::string(&mut out, env!("CARGO_PKG_VERSION"));
    for (name, path) in [
        ("documentation", "/docs"),
        ("openapi", "/openapi.json"),
        ("conversations", conversations::LIST),
        ("health", "/healthz"),
        ("readiness", "/readyz"),
    ] {
        out.push(b',');
        json::string(&mut out, name);
        out.push(b':');
        json::string(&mut out, &service.base_url().of(&headers, path));
    }
    out.push(b'}');
    let mut response = json_body::ok(out);
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
    response
}

/// `GET /openapi.json`, with the URL of the server made as those of lists.
///
/// It is compressed once, because anybody may request it; for a client of this machine, whose host
/// is in it, it is not.
pub(crate) async fn document(State(service): State<Service>, headers: HeaderMap) -> Response {
    let url = service.base_url().of(&headers, "");
    let gzip = accepts_gzip(&headers) && url == service.base_url().configured();
    let mut response = if gzip {
        json_body::ok(service.compressed_document(|| compressed(&document_at(&url))))
    } else {
        json_body::ok(document_at(&url))
    };
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
