//! Slow clients: idle, slow and unresponsive clients beside good ones, against the real server.
//!
//! A few of each here; a release build gets 1,500 of them in continuous integration.

use std::path::Path;

use convodb_testkit::slow_clients::{ClientCounts, Timing, measure};

#[test]
fn slow_clients_are_disconnected_and_good_ones_served() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_convodb"));
    let finding =
        measure(binary, ClientCounts::SMOKE, Timing::SMOKE, directory.path(), &mut |_| ()).unwrap();
    assert!(finding.pages.0 > 10 && finding.pages.1 > 10, "{finding:?}");
    // A generous bound: the machine may be busy with a build.
    assert!(finding.disconnected_after.as_secs() < 60, "{finding:?}");
    assert!(finding.peak_bytes.is_none_or(|bytes| bytes < 300 << 20), "{finding:?}");
}
