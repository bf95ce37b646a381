//! What watches the server: alive, ready, counters.

use convodb::Channel;

use crate::client::Answer;
use crate::world::{LIST, World};

fn metrics(world: &World) -> Answer {
    let answer = world.server.ask("GET", "/metrics", "");
    assert_eq!(answer.status, 200);
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), expected);
    answer
}

#[track_caller]
fn has(answer: &Answer, line: &str) {
    assert!(answer.text().lines().any(|one| one == line), "no {line} in\n{}", answer.text());
}

#[test]
fn ready_is_who_takes_writes() {
    let world = World::new();
    let ready = world.server.ask("GET", "/readyz", "");
    assert_eq!((ready.status, ready.text()), (200, r#"{"status":"ok"}"#));
    world.store.clone().close().unwrap();
    let ready = world.server.ask("GET", "/readyz", "");
    assert_eq!((ready.status, ready.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(ready.header("retry-after"), "1");
    assert_eq!(world.server.ask("GET", "/healthz", "").status, 200);
}

#[test]
fn what_is_answered_is_counted() {
    let world = World::new();
    world.insert(1..=20, &Channel::Widget);
    world.list("type=widget&per_page=10");
    world.list("per_page=0");
    world.list_of("x", "");
    world.ask("HEAD", LIST, &world.token, "");
    world.server.ask("BREW", LIST, "");
    world.server.ask("GET", "/nowhere/planted", "");
    world.ask("GET", "/api/conversations/planted", &world.token, "");
    let answer = metrics(&world);
    let route = format!("route=\"{LIST}\"");
    for (method, status, count) in
        [("GET", 200, 1), ("GET", 422, 1), ("GET", 401, 1), ("HEAD", 200, 1), ("other", 405, 1)]
    {
        has(
            &answer,
            &format!(
                "convodb_http_requests_total{{method=\"{method}\",{route},status=\"{status}\"}} {count}"
            ),
        );
    }
    has(&answer, "convodb_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1");
    let single = "route=\"/api/conversations/{uuid}\"";
    has(
        &answer,
        &format!("convodb_http_requests_total{{method=\"GET\",{single},status=\"404\"}} 1"),
    );
    has(&answer, &format!("convodb_http_request_seconds_count{{method=\"GET\",{route}}} 3"));
    has(&answer, "convodb_connections 1");
    // A page of ten and one beyond; then fifteen and one beyond, where the rows are the list.
    has(&answer, "convodb_page_entries_read_total 27");
    assert!(answer.text().ends_with("# EOF\n"));
    assert!(!answer.text().contains("planted"), "no path is a label");
}
