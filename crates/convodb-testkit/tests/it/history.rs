//! Random histories of all that can happen to a store, against the oracle. `convodb-prove` runs many
//! more of them.

use convodb_testkit::history::{History, operation};
use convodb_testkit::strategies::asked;
use proptest::prelude::*;

use crate::world::cases;

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_history_is_the_oracles(
        operations in prop::collection::vec(operation(), 1..60),
        lists in prop::collection::vec((asked(), 1..8_usize), 4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::in_directory(directory.path());
        for operation in operations {
            history.run(operation);
        }
        history.check(&lists);
    }
}
