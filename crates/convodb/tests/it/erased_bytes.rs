//! Erasure, over and over; `just prove erasure` for more trials than a build has time for.

use convodb_testkit::erasure::trial;

const TRIALS: u64 = 8;

#[test]
fn no_byte_of_what_is_erased_is_left() {
    let mut erased = 0;
    for seed in 0..TRIALS {
        let done = trial(seed).unwrap();
        assert!(done.searched > 0);
        erased += done.erased;
    }
    assert!(erased as u64 > TRIALS, "trials that erase nothing prove nothing");
}
