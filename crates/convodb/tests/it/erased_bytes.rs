//! Erasure: no byte of erased data remains in any file. `convodb-torture erasure` runs more trials.

use convodb_testkit::erasure::trial;

const TRIALS: u64 = 8;

#[test]
fn no_byte_of_erased_data_remains() {
    let mut erased = 0;
    for seed in 0..TRIALS {
        let outcome = trial(seed).unwrap();
        assert!(outcome.searched_bytes > 0);
        erased += outcome.erased;
    }
    assert!(erased as u64 > TRIALS, "the trials erase too little");
}
