//! Probes and metrics.

use std::sync::mpsc::channel;
use std::thread;

use convodb::{Channel, Store, StoreOptions, Timestamp};
use convodb_http::Config;
use convodb_testkit::wait;

use crate::client::Response;
use crate::harness::{Harness, LIST, conversation};

fn metrics(harness: &Harness) -> Response {
    let response = harness.server.request("GET", "/metrics", "");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    response
}

#[track_caller]
fn has(response: &Response, line: &str) {
    assert!(response.text().lines().any(|one| one == line), "no {line} in\n{}", response.text());
}

#[test]
fn readiness_requires_an_open_store() {
    let harness = Harness::new();
    let ready = harness.server.request("GET", "/readyz", "");
    assert_eq!((ready.status, ready.text()), (200, r#"{"status":"ok"}"#));
    harness.store.clone().close().unwrap();
    let ready = harness.server.request("GET", "/readyz", "");
    assert_eq!((ready.status, ready.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(ready.header("retry-after"), "1");
    assert_eq!(harness.server.request("GET", "/healthz", "").status, 200);
}

#[test]
fn responses_are_counted_by_method_route_and_status() {
    let harness = Harness::new();
    harness.insert(1..=20, &Channel::Widget);
    harness.list("type=widget&per_page=10");
    harness.list("per_page=0");
    harness.list_of("x", "");
    harness.request("HEAD", LIST, &harness.token, "");
    harness.server.request("BREW", LIST, "");
    harness.server.request("GET", "/nowhere/planted", "");
    harness.request("GET", "/api/conversations/planted", &harness.token, "");
    let response = metrics(&harness);
    let route = format!("route=\"{LIST}\"");
    for (method, status, count) in
        [("GET", 200, 1), ("GET", 422, 1), ("GET", 401, 1), ("HEAD", 200, 1), ("other", 405, 1)]
    {
        has(
            &response,
            &format!(
                "convodb_http_requests_total{{method=\"{method}\",{route},status=\"{status}\"}} {count}"
            ),
        );
    }
    has(&response, "convodb_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1");
    let single = "route=\"/api/conversations/{uuid}\"";
    has(
        &response,
        &format!("convodb_http_requests_total{{method=\"GET\",{single},status=\"404\"}} 1"),
    );
    has(&response, &format!("convodb_http_request_seconds_count{{method=\"GET\",{route}}} 3"));
    has(&response, "convodb_connections 1");
    // A page of ten and one beyond it; then fifteen and one beyond, read from the rows themselves.
    has(&response, "convodb_page_entries_read_total 27");
    assert!(response.text().ends_with('\n'));
    assert!(!response.text().contains("planted"), "paths are not labels");
}

/// The value of a metric that has no labels.
#[track_caller]
fn value(harness: &Harness, name: &str) -> f64 {
    let response = metrics(harness);
    let line = response.text().lines().find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{}", response.text()));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Each metric of the store moves with the event that it counts.
#[test]
fn store_metrics_follow_the_work_of_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().queue_depth(1);
    let store = Store::open_with(directory.path().join("s.convodb"), &options).unwrap();
    let harness = Harness::of(store, Config::default());
    let of = |name: &str| value(&harness, name);
    let names =
        ["commits_total", "changes_total", "committed_bytes_total", "log_sync_seconds_count"];
    let names = names.map(|name| format!("convodb_{name}"));
    let before = names.each_ref().map(|name| of(name));
    harness.insert([1], &Channel::Widget);
    for (name, before) in names.iter().zip(before) {
        assert!(of(name) > before, "{name}");
    }
    assert!(of("convodb_log_sync_seconds_sum") > 0.0);
    assert!(of("convodb_file_bytes") > 0.0);

    // A live snapshot ages from the next commit on.
    let live = harness.store.snapshot();
    assert_eq!(of("convodb_writes_waiting"), 0.0);
    let checkpoints = of("convodb_checkpoint_seconds_count");
    harness.store.delete(harness.user, conversation(1).id).unwrap();
    assert!(of("convodb_oldest_view_age_seconds") > 0.0);
    let views = of("convodb_views");
    assert!(views >= 2.0, "{views}");
    drop(live);
    assert!(of("convodb_views") < views);

    // While the writer is busy, one write waits and another one is refused.
    let (enter, entered) = channel();
    let (release, released) = channel::<()>();
    let busy = harness.store.clone();
    let busy = thread::spawn(move || {
        busy.write(move |transaction| {
            enter.send(()).unwrap();
            let _ = released.recv();
            transaction.create_user("New", Timestamp::MIN).map(|_| ())
        })
    });
    entered.recv().unwrap();
    let (report, reported) = channel();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (store, report) = (harness.store.clone(), report.clone());
            thread::spawn(move || report.send(store.write(|_| Ok::<_, convodb::Error>(())).is_ok()))
        })
        .collect();
    assert!(!reported.recv().unwrap());
    assert_eq!(of("convodb_writes_refused_total"), 1.0);
    assert_eq!(of("convodb_writes_waiting"), 2.0);
    release.send(()).unwrap();
    busy.join().unwrap().unwrap();
    waiting.into_iter().for_each(|one| one.join().unwrap().unwrap());
    assert_eq!(of("convodb_writes_waiting"), 0.0);
    // The last write stays in the WAL and the memtable until a checkpoint, one second later.
    harness.insert([2], &Channel::Widget);
    let mut seen = false;
    wait::until("a checkpoint happens", || {
        seen |= of("convodb_log_bytes") > 0.0;
        of("convodb_tail_bytes") == 0.0 && of("convodb_checkpoint_seconds_count") > checkpoints
    });
    assert!(seen);
}

#[test]
fn metrics_are_open_metrics_for_a_client_that_accepts_them_by_name() {
    let harness = Harness::new();
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, expected) in [
        ("*/*", plain),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.1", open),
        ("text/plain", plain),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", plain),
    ] {
        let headers = format!("Accept: {accept}\r\n");
        let response = harness.server.request("GET", "/metrics", &headers);
        assert_eq!(response.header("content-type"), expected, "{accept}");
        let is_open = expected == open;
        assert_eq!(response.text().ends_with("# EOF\n"), is_open, "{accept}");
        let name = if is_open { "convodb_commits" } else { "convodb_commits_total" };
        has(&response, &format!("# TYPE {name} counter"));
    }
}

/// With a listener of their own, the metrics are there and nothing else is, and not on the other.
#[test]
fn metrics_can_have_a_listener_of_their_own() {
    let store = Store::in_memory().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bind = || runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let (listener, metrics_listener) = (bind(), bind());
    let [api, metrics] = [&listener, &metrics_listener].map(|l| l.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let config = Config::default();
    let served =
        convodb_http::serve_with_metrics(store, listener, metrics_listener, config, stopped);
    let server = thread::spawn(move || runtime.block_on(served));
    let status = |address, target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = crate::client::send(address, request.as_bytes());
        (response.status, response.text().contains("convodb_http_requests_total"))
    };
    assert_eq!(status(api, "/healthz"), (200, false));
    assert_eq!(status(api, "/metrics"), (404, false));
    assert_eq!(status(metrics, "/metrics"), (200, true));
    for target in ["/healthz", LIST, "/docs"] {
        assert_eq!(status(metrics, target), (404, false), "{target}");
    }
    drop(stop);
    server.join().unwrap().unwrap();
}
