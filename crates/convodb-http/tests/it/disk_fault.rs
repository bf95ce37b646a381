//! Disk faults: responses during a fault, and recovery without a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use convodb::{Store, StoreOptions};
use convodb_http::Config;
use convodb_testkit::simulation::{InjectedFault, Schedule, SimulatedDisk};

use crate::harness::Harness;

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
fn until(status: u16, mut request: impl FnMut() -> u16) {
    let since = Instant::now();
    while request() != status {
        assert!(since.elapsed() < Duration::from_secs(20), "the store has not recovered");
    }
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
    }
    disk.clear_faults();
    assert_eq!(create().status, 200);
}
