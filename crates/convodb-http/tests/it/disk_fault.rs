//! A server whose disk fails: what clients are told meanwhile, and that it goes on by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use convodb::{Store, StoreOptions};
use convodb_http::Config;
use convodb_testkit::crash::{CrashDisk, Fault, Schedule};

use crate::harness::Harness;

const CONVERSATIONS: &str = "/api/conversations";
const NEW: &str = r#"{"assistant_id":1,"type":"widget"}"#;

fn harness() -> (CrashDisk, Harness) {
    let disk = CrashDisk::new(1, true);
    let store = Store::open_on(Arc::new(disk.clone()), "/store", &StoreOptions::default()).unwrap();
    (disk, Harness::of(store, Config::default()))
}

/// Asks until the answer has this status.
#[track_caller]
fn until(status: u16, mut ask: impl FnMut() -> u16) {
    let since = Instant::now();
    while ask() != status {
        assert!(since.elapsed() < Duration::from_secs(20), "the store is not well again");
    }
}

#[test]
fn a_broken_disk_is_503_until_it_is_whole() {
    let (disk, harness) = harness();
    let create = || harness.send("POST", CONVERSATIONS, NEW);
    assert_eq!(create().status, 200);
    disk.fail(Schedule::lasting(Fault::Broken, 0));
    assert_eq!(create().status, 500, "whether it is there is not known");
    let refused = create();
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(harness.ask("GET", "/readyz", "", "").status, 503);
    assert_eq!(harness.ask("GET", "/healthz", "", "").status, 200);
    assert!([200, 503].contains(&harness.list("").status));
    disk.lift();
    until(200, || create().status);
    assert_eq!(harness.ask("GET", "/readyz", "", "").status, 200);
    assert_eq!(harness.list("").status, 200);
}

#[test]
fn a_full_disk_is_507_for_writes_alone() {
    let (disk, harness) = harness();
    let create = || harness.send("POST", CONVERSATIONS, NEW);
    assert_eq!(create().status, 200);
    disk.fail(Schedule::lasting(Fault::Full, 0));
    for _ in 0..3 {
        assert_eq!(create().status, 507);
        assert_eq!(harness.list("").status, 200);
    }
    disk.lift();
    assert_eq!(create().status, 200);
}
