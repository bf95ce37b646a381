//! Random operations, compared with the oracle. `convodb-torture model` runs more of them.

use convodb_testkit::generators::list_query;
use convodb_testkit::harness::cases;
use convodb_testkit::operations::{OperationRunner, operation};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_store_equals_the_oracle_after_random_operations(
        operations in prop::collection::vec(operation(), 1..60),
        lists in prop::collection::vec((list_query(), 1..8_usize), 4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut runner = OperationRunner::in_directory(directory.path());
        for operation in operations {
            runner.run(operation);
        }
        runner.check(&lists);
    }
}
