//! Disk faults: responses during a fault, and recovery without a restart.

use std::path::Path;
use std::sync::Arc;

use convodb::{Store, StoreOptions};
use convodb_http::Config;
use convodb_testkit::simulation::{InjectedFault, Schedule, SimulatedDisk};
use convodb_testkit::wait;

use crate::harness::{Harness, Server};

const CONVERSATIONS: &str = "/api/conversations";
const NEW: &str = r#"{"assistant_id":1,"type":"widget"}"#;

fn harness() -> (SimulatedDisk, Harness) {
    let disk = SimulatedDisk::new(1).with_background_checkpoints(true);
    let store = Store::open_with(
        "/store",
        &StoreOptions::new().background_checkpoints(false).vfs(Arc::new(disk.clone())),
    )
    .unwrap();
    (disk, Harness::of(store, Config::default()))
}

/// Repeats a request until its response has this status.
#[track_caller]
fn until<T: Copy + PartialEq>(expected: T, mut request: impl FnMut() -> T) {
    wait::until("the store recovers", || request() == expected);
}

#[test]
fn a_broken_disk_answers_503_until_it_recovers() {
    let (disk, harness) = harness();
    let create = || harness.send("POST", CONVERSATIONS, NEW);
    assert_eq!(create().status, 200);
    disk.inject(Schedule::lasting(InjectedFault::AnyCall, 0));
    assert_eq!(create().status, 500, "the outcome of the write is unknown");
    let refused = create();
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(harness.request("GET", "/readyz", "", "").status, 503);
    assert_eq!(harness.request("GET", "/healthz", "", "").status, 200);
    assert!([200, 503].contains(&harness.list("").status));
    disk.clear_faults();
    until(200, || create().status);
    assert_eq!(harness.request("GET", "/readyz", "", "").status, 200);
    assert_eq!(harness.list("").status, 200);
}

#[test]
fn an_unreadable_page_is_500_for_its_own_requests() {
    let disk = SimulatedDisk::new(1);
    // Without a cache each read reaches the disk, and after each write a checkpoint.
    let options = StoreOptions::new().cache_bytes(0).memtable_bytes(1);
    let options = options.background_checkpoints(false).vfs(Arc::new(disk.clone()));
    let harness = Harness::of(Store::open_with("/store", &options).unwrap(), Config::default());
    let create = || {
        let created = harness.send("POST", CONVERSATIONS, NEW).json();
        format!("{CONVERSATIONS}/{}", created["conversation_id"].as_str().unwrap())
    };
    let create_with = |text: &str| {
        let path = create();
        let message = format!(r#"{{"role":"user","content":"{text}"}}"#);
        assert_eq!(harness.send("POST", &format!("{path}/messages"), &message).status, 200);
        path
    };
    // A page contains a few of these messages: the first and the last one share none.
    let other = create_with(&"other".repeat(1_000));
    (0..8).for_each(|_| drop(create_with(&"between".repeat(1_000))));
    let text = "planted".repeat(1_000);
    let broken = create_with(&text);
    create();
    assert!(disk.break_pages_with(Path::new("/store"), text.as_bytes()).unwrap() > 0);
    for reads in 1..=20 {
        let get = |target: &str| harness.request("GET", target, &harness.token, "").status;
        assert_eq!((get(&broken), get(&other), get("/readyz")), (500, 200, 200));
        assert_eq!(harness.send("POST", CONVERSATIONS, NEW).status, 200);
        assert!(harness.store.metrics().read_faults >= reads);
    }
    disk.clear_faults();
    assert_eq!(harness.request("GET", &broken, &harness.token, "").status, 200);
}

#[test]
fn a_full_disk_answers_507_to_writes_only() {
    let (disk, harness) = harness();
    let create = || harness.send("POST", CONVERSATIONS, NEW);
    assert_eq!(create().status, 200);
    disk.limit_free_pages(0, true);
    // The WAL has reserved some space.
    until(507, || create().status);
    for _ in 0..3 {
        assert_eq!(create().status, 507);
        assert_eq!(harness.list("").status, 200);
        let ready = harness.request("GET", "/readyz", "", "");
        assert_eq!((ready.status, ready.text()), (503, r#"{"message":"read-only"}"#));
    }
    disk.clear_faults();
    assert_eq!(create().status, 200);
    assert_eq!(harness.request("GET", "/readyz", "", "").status, 200);
}

/// A server that is out of rotation gets no write that could show that the disk works again.
#[test]
fn a_server_that_refused_writes_becomes_ready_without_a_write() {
    for fault in [InjectedFault::DiskFull, InjectedFault::ReadOnly, InjectedFault::Write] {
        let (disk, harness) = harness();
        let ready = || harness.request("GET", "/readyz", "", "");
        disk.inject(Schedule::lasting(fault, 0));
        // The WAL has reserved some space.
        until(true, || {
            harness.send("POST", CONVERSATIONS, NEW);
            ready().text() == r#"{"message":"read-only"}"#
        });
        assert_eq!(harness.list("").status, 200);
        disk.clear_faults();
        until(200, || ready().status);
        assert_eq!(harness.send("POST", CONVERSATIONS, NEW).status, 200);
    }
}

#[test]
fn a_store_that_cannot_be_written_is_served() {
    let disk = SimulatedDisk::new(1);
    let open = || {
        let options = StoreOptions::new().vfs(Arc::new(disk.clone()));
        Store::open_with("/store", &options).unwrap()
    };
    let first = Harness::of(open(), Config::default());
    assert_eq!(first.send("POST", CONVERSATIONS, NEW).status, 200);
    let token = first.token.clone();
    let store = first.store.clone();
    drop(first);
    store.close().unwrap();
    disk.inject(Schedule::lasting(InjectedFault::ReadOnly, 0));
    let store = open();
    let server = Server::start(&store, Config::default());
    let get = |target: &str| {
        server.request("GET", target, &format!("Host: test\r\nAuthorization: Bearer {token}\r\n"))
    };
    assert_eq!(get("/api/user/conversations").json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(get("/readyz").text(), r#"{"message":"read-only"}"#);
    drop(server);
    store.close().unwrap();
}
