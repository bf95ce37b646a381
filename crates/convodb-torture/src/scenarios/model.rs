//! Model check: random operations on a store, compared with the oracle.
//!
//! Three trials in four have files, in shared memory where the system has it, and can restart. A
//! failing list of operations is shrunk to a short one.

use convodb::{Snapshot, Sort};
use convodb_http::{PageTokens, write_page};
use convodb_json::{AssistantNames, write_item};
use convodb_testkit::generators::list_query;
use convodb_testkit::operations::{Operation, OperationRunner, operation};
use convodb_testkit::oracle::ListQuery;
use convodb_testkit::page_walk::first_page_request;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use rand::RngExt;

use crate::runner;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation};
use crate::temporary_directory::temporary_directory;

pub(super) const MODEL: Scenario = Scenario {
    name: "model",
    row: 1,
    promise: "After any writes, reads, aborted transactions, restarts and crashes, every result \
              equals that of the oracle, and every response body has the expected bytes.",
    trial: "up to 60 operations, then all queries",
    trials: Trials { smoke: 30, ci: 2_000, release: 1_000_000 },
    parallelism: Parallelism::PerCore,
    run,
};

type Case = (Vec<Operation>, Vec<(ListQuery, usize)>);

fn case() -> BoxedStrategy<Case> {
    (vec(operation(), 1..60), vec((list_query(), 1..8_usize), 2)).boxed()
}

thread_local! {
    static CASE: BoxedStrategy<Case> = case();
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let seed: [u8; 32] = trial.random.random();
    let on_disk = trial.random.random_bool(0.75);
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 5_000,
        ..ProptestConfig::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let tree = CASE
        .with(|case| case.new_tree(&mut runner))
        .map_err(|why| Violation::new(format!("cannot generate operations: {why}")))?;
    let operations = tree.current().0.len() as u64;
    let result = runner.run_one(tree, |(operations, lists)| {
        run_operations(operations, &lists, on_disk)
            .map_err(|error| TestCaseError::fail(error.to_string()))
    });
    trial.add("operations", operations);
    trial.count(if on_disk { "stores with files" } else { "stores in memory" });
    match result {
        Ok(_) => Ok(()),
        Err(TestError::Fail(why, (operations, lists))) => {
            let why = runner::last_panic().unwrap_or_else(|| why.to_string());
            let steps: Vec<String> = operations.iter().map(|one| format!("  {one:?}")).collect();
            let steps = steps.join("\n");
            Err(Violation::new(format!("{why}\n{steps}\nfinal queries: {lists:?}")))
        }
        Err(TestError::Abort(why)) => Err(Violation::new(why)),
    }
}

/// Runs the operations and all queries. A difference panics.
fn run_operations(
    operations: Vec<Operation>,
    lists: &[(ListQuery, usize)],
    on_disk: bool,
) -> Result<(), std::io::Error> {
    let directory = if on_disk { Some(temporary_directory()?) } else { None };
    let mut runner = match &directory {
        Some(directory) => OperationRunner::in_directory(directory.path()),
        None => OperationRunner::in_memory(),
    };
    for operation in operations {
        runner.run(operation);
    }
    runner.check(lists);
    let snapshot = runner.harness.store.snapshot();
    for (query, size) in lists {
        check_bodies(&runner, &snapshot, query, *size);
    }
    Ok(())
}

/// Compares the response body of a list's first page with the bytes of the oracle's conversations.
fn check_bodies(runner: &OperationRunner, snapshot: &Snapshot, query: &ListQuery, size: usize) {
    for user in runner.harness.users {
        let page =
            snapshot.list(user, &first_page_request(query, size)).unwrap_or_else(|e| panic!("{e}"));
        let tokens = PageTokens::of(&page, snapshot);
        let (mut body, mut expected) = (Vec::new(), b"{\"data\":[".to_vec());
        let mut names = AssistantNames::new(snapshot.clone(), user);
        write_page(&mut body, "http://test/list", &page, &tokens, &mut names)
            .unwrap_or_else(|error| panic!("{error}"));
        for (at, row) in runner.harness.oracle.list(user, query).iter().take(size).enumerate() {
            if at > 0 {
                expected.push(b',');
            }
            write_item(&mut expected, &row.borrowed(), runner.assistant_name(user, row.assistant));
        }
        let quoted = |token: &Option<String>| match token {
            Some(token) => format!("\"{token}\""),
            None => "null".to_owned(),
        };
        let (next, prev) = (quoted(&tokens.next), quoted(&tokens.prev));
        let changes = match query.sort {
            Sort::CreatedAt => String::new(),
            Sort::LastActivity => format!(",\"changes_cursor\":{}", quoted(&tokens.changes)),
        };
        let rest = format!(
            "],\"path\":\"http://test/list\",\"per_page\":{size},\"next_cursor\":{next},\
             \"prev_cursor\":{prev}{changes}}}"
        );
        expected.extend_from_slice(rest.as_bytes());
        assert!(body == expected, "found {}\nexpected {}", lossy(&body), lossy(&expected));
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
