//! Idle, slow and deaf clients beside good ones, against the real server: a few of each. Continuous
//! integration sends 1,500 to an optimised one: `just prove crowd`.

use std::path::Path;

use convodb_testkit::crowd::{Crowd, Pace, trial};

#[test]
fn a_crowd_is_given_up_and_good_clients_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_convodb"));
    let finding = trial(binary, Crowd::SMOKE, Pace::SMOKE, directory.path(), &mut |_| ()).unwrap();
    assert!(finding.pages.0 > 10 && finding.pages.1 > 10, "{finding:?}");
    // Times of a machine that builds beside it say nothing; who stays away is gone all the same.
    assert!(finding.given_up_after.as_secs() < 60, "{finding:?}");
    assert!(finding.peak_bytes.is_none_or(|bytes| bytes < 300 << 20), "{finding:?}");
}
