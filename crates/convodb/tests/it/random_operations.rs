//! Random histories of all that can happen to a store, against the oracle. `convodb-prove` runs many
//! more of them.

use convodb_testkit::generators::list_query;
use convodb_testkit::operations::{History, operation};
use proptest::prelude::*;

use convodb_testkit::harness::cases;

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_history_is_the_oracles(
        operations in prop::collection::vec(operation(), 1..60),
        lists in prop::collection::vec((list_query(), 1..8_usize), 4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::in_directory(directory.path());
        for operation in operations {
            history.run(operation);
        }
        history.check(&lists);
    }
}
