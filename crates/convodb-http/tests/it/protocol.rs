//! Protocol rules of every route: authentication, methods, headers, compression, limits.

use std::io::Read;

use crate::client::{Response, send};
use crate::harness::{Harness, LIST, logged};
use convodb::{Channel, Store};
use convodb_http::Config;

#[track_caller]
fn check(response: &Response, status: u16, body: &str) {
    assert_eq!((response.status, response.text()), (status, body));
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(response.header("cache-control"), "no-store");
    assert!(!response.header("x-request-id").is_empty());
}

#[test]
fn only_a_valid_token_authenticates() {
    let harness = Harness::new();
    let revoked = harness.store.create_token(harness.user, convodb::Timestamp::MIN).unwrap();
    assert_eq!(harness.list_of(&revoked, "").status, 200);
    harness.store.revoke_token(revoked.clone()).unwrap();
    let token = &harness.token;
    for authorization in [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Bearer nonsense\r\n".to_owned(),
        "Authorization: Bearer \u{1F600}\r\n".to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {token}x\r\n"),
        format!("Authorization: Bearer {revoked}\r\n"),
        format!("Authorization: Bearer {}\r\n", "a".repeat(5000)),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
    ] {
        // Without authentication, no other error is reported.
        let response = harness.server.request("GET", &format!("{LIST}?per_page=0"), &authorization);
        check(&response, 401, r#"{"message":"Unauthenticated."}"#);
        assert!(response.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""));
    }
    let lower = harness.server.request("GET", LIST, &format!("authorization: bEARER {token}\r\n"));
    assert_eq!(lower.status, 200);
}

#[test]
fn unknown_paths_and_methods_answer_with_a_body() {
    let harness = Harness::new();
    for path in ["//", "/api/user", "/healthz/x", "/%00"] {
        check(&harness.server.request("GET", path, ""), 404, r#"{"message":"Not Found"}"#);
    }
    check(
        &harness.server.request("GET", "/api/conversations/x/y", ""),
        404,
        r#"{"status":false,"error":"Not Found","message":"Not Found"}"#,
    );
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        for path in [LIST, "/healthz"] {
            let response = harness.server.request(method, path, "");
            check(&response, 405, r#"{"message":"Method Not Allowed"}"#);
            assert_eq!(response.header("allow"), "GET,HEAD");
        }
    }
    for (method, path, allowed) in [
        ("GET", "/api/conversations", "POST"),
        ("POST", "/api/conversations/x", "GET,HEAD,PATCH,DELETE"),
        ("GET", "/api/conversations/x/messages", "POST"),
        ("HEAD", "/api/user/conversations/import", "POST"),
        ("POST", "/api/user/conversations/export", "GET,HEAD"),
        ("GET", "/api/automate/conversations/x/enable-ai", "POST"),
        ("DELETE", "/api/user/assistants/x", "PATCH"),
        ("POST", "/api/user/me", "GET,HEAD"),
    ] {
        let response = harness.server.request(method, path, "");
        assert_eq!((response.status, response.header("allow")), (405, allowed), "{method} {path}");
    }
}

/// Every route answers with a slash at its end as without it.
#[test]
fn a_trailing_slash_changes_nothing() {
    let harness = Harness::new();
    harness.insert(1..=2, &Channel::Widget);
    let row = "/api/conversations/01000000-0000-0000-0000-000000000000";
    for target in [LIST, "/api/user/me", "/api/user/conversations/stats", row, "/healthz"] {
        let get = |target: &str| harness.request("GET", target, &harness.token, "");
        let (plain, slash) = (get(target), get(&format!("{target}/?")));
        assert_eq!((slash.status, slash.text()), (200, plain.text()), "{target}");
    }
    let create = |target: &str| {
        let key = "Idempotency-Key: one";
        let media_type = format!("application/json\r\n{key}");
        let body = br#"{"assistant_id":1}"#;
        harness.send_typed(&harness.token, "POST", target, &media_type, body).json()
    };
    let first = create("/api/conversations");
    assert_eq!(create("/api/conversations/"), first, "the same request");
    let foreign = harness.request("GET", "/api/conversations/x/", &harness.token, "");
    assert_eq!(foreign.status, 404);
    let metrics = harness.server.request("GET", "/metrics", "");
    assert!(!metrics.text().contains("/\""), "a route has one label");
}

/// Only pages of the configured origins can read responses, errors included.
#[test]
fn pages_of_configured_origins_can_read_responses() {
    let origins = ["https://app.example.com", "http://localhost:5173"];
    let cors_origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let config = Config { cors_origins, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    let allowed = "access-control-allow-origin";
    for origin in origins {
        let preflight = harness.server.request(
            "OPTIONS",
            "/api/conversations",
            &format!(
                "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: authorization,content-type,idempotency-key\r\n"
            ),
        );
        assert_eq!((preflight.status, preflight.header(allowed)), (200, origin));
        let methods = preflight.header("access-control-allow-methods");
        assert!(["GET", "POST", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)));
        let headers = preflight.header("access-control-allow-headers");
        let names = ["authorization", "content-type", "idempotency-key"];
        assert!(names.iter().all(|name| headers.contains(name)), "{headers}");
        assert_eq!(preflight.maybe_header("access-control-allow-credentials"), None);
        let from = format!("Origin: {origin}\r\n");
        for (target, status) in [(LIST, 200), ("/api/conversations/x", 404), ("/none", 404)] {
            let response = harness.request("GET", target, &harness.token, &from);
            assert_eq!((response.status, response.header(allowed)), (status, origin), "{target}");
            let exposed = response.header("access-control-expose-headers");
            assert!(exposed.contains("link") && exposed.contains("x-request-id"), "{exposed}");
        }
    }
    let other = harness.request("GET", LIST, &harness.token, "Origin: https://evil.example\r\n");
    assert_eq!((other.status, other.maybe_header(allowed)), (200, None));
    let off = Harness::new();
    let response = off.request("GET", LIST, &off.token, "Origin: https://app.example.com\r\n");
    assert_eq!(response.maybe_header(allowed), None);
    let all = Config { cors_origins: vec!["*".parse().unwrap()], ..Config::default() };
    let all = Harness::of(Store::in_memory().unwrap(), all);
    let response = all.request("GET", LIST, &all.token, "Origin: https://any.example\r\n");
    assert_eq!(response.header(allowed), "*");
}

/// A write that was executed is never answered with 406.
#[test]
fn a_response_without_compression_is_always_acceptable() {
    let harness = Harness::new();
    for accept in ["identity;q=0", "br, *;q=0", "*;q=0", "br;q=1, identity;q=0, *;q=0"] {
        let media_type = format!("application/json\r\nAccept-Encoding: {accept}");
        let body = br#"{"assistant_id":1}"#;
        let post =
            harness.send_typed(&harness.token, "POST", "/api/conversations", &media_type, body);
        assert_eq!(post.status, 200, "{accept}");
        assert_eq!(post.maybe_header("content-encoding"), None);
        assert_eq!(post.json()["status"], true);
    }
    assert_eq!(harness.list("").rows().len(), 4);
}

#[test]
fn liveness_requires_no_token() {
    check(&Harness::new().server.request("GET", "/healthz", ""), 200, r#"{"status":"ok"}"#);
}

#[test]
fn head_answers_like_get_without_a_body() {
    let harness = Harness::new();
    harness.insert(1..=20, &Channel::Widget);
    let token = harness.token.as_str();
    for (target, token) in [
        (LIST, token),
        (LIST, "x"),
        ("/api/user/me", token),
        ("/api/user/assistants/get", token),
        ("/api/conversations/01000000-0000-0000-0000-000000000000", token),
        ("/api/conversations/x", token),
        ("/healthz", ""),
        ("/readyz", ""),
        ("/", ""),
    ] {
        let get = harness.request("GET", target, token, "");
        let head = harness.request("HEAD", target, token, "");
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{target}");
        for name in ["content-length", "content-type", "link", "www-authenticate"] {
            assert_eq!(head.maybe_header(name), get.maybe_header(name), "{target}: {name}");
        }
        assert_eq!(get.header("content-length"), get.body.len().to_string());
    }
}

#[test]
fn every_response_has_a_request_id() {
    let harness = Harness::new();
    let id = |headers: &str| {
        let response = harness.server.request("GET", "/healthz", headers);
        response.header("x-request-id").to_owned()
    };
    assert_eq!(id("X-Request-Id: abc-DEF_1\r\n"), "abc-DEF_1");
    let generated = id("");
    assert_eq!(generated.len(), 32);
    assert_ne!(id(""), generated);
    for odd in ["a b", "\"", &"a".repeat(65)] {
        assert_eq!(id(&format!("X-Request-Id: {odd}\r\n")).len(), 32, "{odd}");
    }
}

/// Links are absolute for a client of this machine and with a public URL, and relative otherwise: no
/// host that somebody sent is in a response.
#[test]
fn links_are_absolute_only_for_a_known_host() {
    let path = |harness: &Harness, headers: &str| {
        let headers = format!("{headers}Authorization: Bearer {}\r\n", harness.token);
        let response = harness.server.request("GET", &format!("{LIST}?per_page=1"), &headers);
        assert!(!format!("{response:?} {}", response.text()).contains("evil"));
        let path = response.json()["path"].as_str().unwrap().to_owned();
        assert!(response.header("link").starts_with(&format!("<{path}?")), "{response:?}");
        path
    };
    let harness = Harness::new();
    harness.insert(1..=2, &Channel::Widget);
    let here = harness.server.address;
    for own in [here.to_string(), "localhost:81".to_owned(), "[::1]".to_owned()] {
        assert_eq!(path(&harness, &format!("Host: {own}\r\n")), format!("http://{own}{LIST}"));
        let forwarded = format!("Host: {own}\r\nX-Forwarded-Proto: https\r\n");
        assert_eq!(path(&harness, &forwarded), LIST, "a proxy is in front");
    }
    assert_eq!(path(&harness, "Host: evil.example:81\r\n"), LIST);
    assert!(logged().contains("there is no public URL"), "the proxy is reported");
    let public_url = Some("https://api.example.com/v1/".parse().unwrap());
    let config = Config { public_url, ..Config::default() };
    let public = Harness::of(Store::in_memory().unwrap(), config);
    public.insert(1..=2, &Channel::Widget);
    let expected = format!("https://api.example.com/v1{LIST}");
    assert_eq!(path(&public, "Host: evil.example\r\n"), expected);
}

#[test]
fn no_response_may_be_sniffed() {
    let harness = Harness::new();
    for target in ["/healthz", "/metrics", "/docs", "/openapi.json", "/nowhere", LIST] {
        let response = harness.server.request("GET", target, "");
        assert_eq!(response.header("x-content-type-options"), "nosniff", "{target}");
    }
}

#[test]
fn the_description_is_compressed_once() {
    let harness = Harness::new();
    let get = |accepted: &str| {
        let headers = format!("Accept-Encoding: {accepted}\r\n");
        harness.server.request("GET", "/openapi.json", &headers)
    };
    let gzip = get("zstd, gzip");
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert_eq!(gzip.header("content-length"), gzip.body.len().to_string(), "not a stream");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, convodb_http::openapi());
    assert_eq!(get("gzip").body, gzip.body);
    for plain in ["identity", "gzip;q=0", "zstd"] {
        let response = get(plain);
        assert_eq!(response.maybe_header("content-encoding"), None, "{plain}");
        assert_eq!(response.text(), convodb_http::openapi());
        assert!(response.header("vary").eq_ignore_ascii_case("accept-encoding"));
    }
}

#[test]
fn large_bodies_are_compressed_if_accepted() {
    let harness = Harness::new();
    let small = harness.request("GET", LIST, &harness.token, "Accept-Encoding: gzip\r\n");
    assert_eq!(small.maybe_header("content-encoding"), None);
    harness.insert(1..=50, &Channel::Widget);
    let target = format!("{LIST}?per_page=50");
    let request = |accepted: &str| {
        let header = format!("Accept-Encoding: {accepted}\r\n");
        harness.request("GET", &target, &harness.token, &header)
    };
    let plain = request("identity");
    assert_eq!(plain.maybe_header("content-encoding"), None);
    let mut decompressed = Vec::new();
    let gzip = request("gzip");
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert_eq!(gzip.header("vary"), "authorization, accept-encoding");
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut decompressed).unwrap();
    assert_eq!(decompressed, plain.body);
    let zstd = request("zstd, br");
    assert_eq!(zstd.header("content-encoding"), "zstd");
    assert_eq!(zstd::decode_all(&zstd.body[..]).unwrap(), plain.body);
    assert!(zstd.body.len() * 5 < plain.body.len());
}

#[test]
fn oversized_urls_and_headers_answer_with_a_body() {
    let harness = Harness::new();
    let long = |n: usize| format!("/healthz?{}", "a".repeat(n - "/healthz?".len()));
    assert_eq!(harness.server.request("GET", &long(8 * 1024), "").status, 200);
    let over = harness.server.request("GET", &long(8 * 1024 + 1), "");
    check(&over, 414, r#"{"message":"URI Too Long"}"#);
    let headers = |n: usize| format!("X-Filler: {}\r\n", "a".repeat(n));
    assert_eq!(harness.server.request("GET", "/healthz", &headers(15 * 1024)).status, 200);
    let over = harness.server.request("GET", "/healthz", &headers(17 * 1024));
    check(&over, 431, r#"{"message":"Request Header Fields Too Large"}"#);
    // Beyond its own limits the parser responses without a body.
    let many = |n: usize| "X-Filler: a\r\n".repeat(n);
    assert_eq!(harness.server.request("GET", "/healthz", &many(98)).status, 200);
    let over = harness.server.request("GET", "/healthz", &many(99));
    assert_eq!((over.status, over.text()), (431, ""));
}

#[test]
fn a_connection_serves_several_requests() {
    let harness = Harness::new();
    let one = "GET /healthz HTTP/1.1\r\nHost: a\r\n";
    let both = format!("{one}\r\n{one}Connection: close\r\n\r\n");
    let first = send(harness.server.address, both.as_bytes());
    let rest = first.text().strip_prefix(r#"{"status":"ok"}"#).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{rest}");
    assert!(rest.ends_with(r#"{"status":"ok"}"#), "{rest}");
}

#[test]
fn a_closed_store_answers_503() {
    let harness = Harness::new();
    harness.insert(1..=3, &Channel::Widget);
    harness.store.clone().close().unwrap();
    let response = harness.list("");
    check(&response, 503, r#"{"message":"Service Unavailable"}"#);
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(harness.server.request("GET", "/healthz", "").status, 200);
}
