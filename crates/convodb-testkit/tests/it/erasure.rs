//! Erasure, over and over: `CONVODB_ERASURE_TRIALS=1000` for more trials than a build has time for.

use convodb_testkit::erasure::trial;

const TRIALS: u64 = 8;

#[test]
fn no_byte_of_what_is_erased_is_left() {
    let trials = std::env::var("CONVODB_ERASURE_TRIALS").ok();
    let trials = trials.map_or(TRIALS, |trials| trials.parse().expect("a number"));
    let mut erased = 0;
    for seed in 0..trials {
        let done = trial(seed).unwrap();
        assert!(done.searched > 0);
        erased += done.erased;
    }
    assert!(erased as u64 > trials, "trials that erase nothing prove nothing");
}
