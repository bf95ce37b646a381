//! Routes without a server, as an embedding application mounts them.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use convodb::{Channel, Conversation, Store, Timestamp};
use convodb_http::{Config, router};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

#[tokio::test]
async fn a_conversation_can_be_created_changed_and_deleted() {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    let token = store.create_token(user, Timestamp::MIN).unwrap();
    let routes = TowerToHyperService::new(router(store, &Config::default()));
    let one = "/api/conversations/0a000000-0000-4000-8000-000000000001";
    let item = r#""id":"0a000000-0000-4000-8000-000000000001","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","assistant_name":"Bot","type":"api","variables":null,"external_identifier":"crm-1","#;
    let line = format!(
        r#"{{{item}"message_count":1,"total_cost":0.001,"ai_enabled":true,"created_at":"2109-01-01T00:00:00.000Z","updated_at":"2109-01-01T00:00:00.000Z","messages":[{{"role":"user","content":"Hi","cost":0.001,"created_at":"2109-01-01T00:00:00.000Z"}}]}}"#
    );
    let shown = format!(
        r#"{item}"message_count":1,"total_cost":0.001,"ai_enabled":false,"created_at":"2109-01-01 00:00:00","updated_at":"2109-01-01 00:00:00"}}"#
    );
    let (json, lines) = ("application/json", "application/x-ndjson");
    for (method, target, content_type, body, expected) in [
        (
            "POST",
            "/api/user/assistants",
            json,
            r#"{"name":"Bot","uuid":"a1b2c3d4-5678-40ab-8def-1234567890ab"}"#,
            r#"{"id":1,"uuid":"a1b2c3d4-5678-40ab-8def-1234567890ab","name":"Bot"}"#.to_owned(),
        ),
        (
            "POST",
            "/api/conversations",
            json,
            r#"{"assistant_id":1,"type":"api","external_identifier":"crm-1","created_at":"2109-01-01","id":"0a000000-0000-4000-8000-000000000001"}"#,
            r#"{"status":true,"conversation_id":"0a000000-0000-4000-8000-000000000001","history":[]}"#.to_owned(),
        ),
        (
            "POST",
            "/api/conversations/0a000000-0000-4000-8000-000000000001/messages",
            json,
            r#"{"role":"user","content":"Hi","cost":0.001,"created_at":"2109-01-01"}"#,
            r#"{"status":true,"message":"","function_calls":[],"message_count":1}"#.to_owned(),
        ),
        ("GET", "/api/user/conversations/export?messages=1", "", "", format!("{line}\n")),
        ("PATCH", one, json, r#"{"ai_enabled":false}"#, format!("{{\"status\":true,{shown}")),
        (
            "GET",
            one,
            "",
            "",
            format!(r#"{{"status":true,"history":[{{"role":"user","content":"Hi","created_at":"2109-01-01 00:00:00"}}],{shown}"#),
        ),
        ("DELETE", one, "", "", r#"{"status":true}"#.to_owned()),
        (
            "POST",
            "/api/user/conversations/import",
            lines,
            &line,
            r#"{"inserted":1,"already_present":0,"messages":1,"assistants_created":0,"rejected":0,"errors":[]}"#.to_owned(),
        ),
        ("GET", "/api/user/conversations/export?messages=1", "", "", format!("{line}\n")),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", content_type)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let Ok(response) = routes.call(request).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = str::from_utf8(&body).unwrap();
        assert_eq!((status, body), (StatusCode::OK, expected.as_str()), "{method} {target}");
    }
}

/// Sends valid bodies with one byte changed, removed or doubled. Each is accepted or refused; none
/// causes an internal error.
#[tokio::test]
async fn mutated_bodies_never_answer_500() {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    let token = store.create_token(user, Timestamp::MIN).unwrap();
    let bot = "a1b2c3d4-5678-40ab-8def-1234567890ab".parse().unwrap();
    store.create_assistant(user, bot, "Bot").unwrap();
    let id = "0a000000-0000-4000-8000-000000000001".parse().unwrap();
    let at = "2025-01-25".parse().unwrap();
    store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new()).unwrap();
    let routes = TowerToHyperService::new(router(store.clone(), &Config::default()));
    let one = format!("/api/conversations/{id}");
    let messages = format!("{one}/messages");
    let (json, lines) = ("application/json", "application/x-ndjson");
    let mut refused = 0;
    for (method, target, content_type, body) in [
        ("POST", "/api/user/assistants", json, r#"{"name":"B\u00e9","uuid":null}"#),
        (
            "POST",
            "/api/conversations",
            json,
            r#"{"assistant_id":1,"type":"whatsapp","customer":{"name":"A","phone":"+1"},"variables":{"a":[1.5e3,null]},"created_at":"2025-01-25T10:00:00.5+01:00"}"#,
        ),
        (
            "POST",
            &messages,
            json,
            r#"{"role":"user","content":"\ud83d\ude00","cost":-1.5e-3,"function_calls":[{}]}"#,
        ),
        ("PATCH", &one, json, r#"{"variables":{},"ai_enabled":true,"assistant_id":1}"#),
        (
            "POST",
            "/api/user/conversations/import",
            lines,
            r#"{"id":"0b000000-0000-4000-8000-000000000001","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","type":"test","created_at":"2025-01-25","message_count":2,"messages":[{"role":"user","content":"","created_at":"2025-01-25"}]}"#,
        ),
    ] {
        for changed in mutations(body.as_bytes()) {
            let request = Request::builder()
                .method(method)
                .uri(target)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", content_type)
                .body(Body::from(changed.clone()))
                .unwrap();
            let Ok(response) = routes.call(request).await;
            let status = response.status().as_u16();
            let sent = String::from_utf8_lossy(&changed).into_owned();
            assert!(matches!(status, 200 | 400 | 404 | 422), "{status}: {method} {target} {sent}");
            refused += u32::from(status != 200);
        }
    }
    assert!(refused > 1000, "{refused} were refused");
    assert!(store.snapshot().verify().unwrap().is_clean());
}

/// For each position of a body: the body truncated there, without that byte, with it doubled, and
/// with it replaced by each of a few bytes.
fn mutations(body: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in 0..body.len() {
        let (before, after) = (&body[..at], &body[at + 1..]);
        all.push(before.to_vec());
        all.push([before, after].concat());
        all.push([before, &[body[at]], &body[at..]].concat());
        for byte in b"\"\\{}[],:0-\xff\0" {
            all.push([before, &[*byte], after].concat());
        }
    }
    all
}
