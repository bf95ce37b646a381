//! Row 1: whatever happens to a store, it answers as the oracle does. A trial is one random history,
//! on memory that outlives a process in place of a disk; one that is violated is shrunk to a short one.

use std::path::Path;

use convodb::Snapshot;
use convodb_http::{AssistantNames, PageTokens, write_item, write_page};
use convodb_testkit::generators::list_query;
use convodb_testkit::operations::{History, Operation, operation};
use convodb_testkit::oracle::ListQuery;
use convodb_testkit::page_walk::request;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use rand::RngExt;

use crate::runner;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation};

pub(super) const MODEL: Scenario = Scenario {
    name: "model",
    row: 1,
    promise: "Whatever is written, read, broken off, restarted or crashed, every answer is the \
              oracle's, and every body its bytes.",
    trial: "up to 60 operations, then all that can be asked",
    trials: Trials { smoke: 30, ci: 2_000, release: 1_000_000 },
    parallelism: Parallelism::PerCore,
    run,
};

/// Where the stores are: in memory, where there is such a place.
pub(super) fn in_memory_directory() -> std::io::Result<tempfile::TempDir> {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }
}

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
        .map_err(|why| Violation::new(format!("no history can be made: {why}")))?;
    let operations = tree.current().0.len() as u64;
    let tried = runner.run_one(tree, |(operations, lists)| {
        happen(operations, &lists, on_disk).map_err(|error| TestCaseError::fail(error.to_string()))
    });
    trial.add("operations", operations);
    trial.count(if on_disk { "histories with restarts" } else { "histories in memory" });
    match tried {
        Ok(_) => Ok(()),
        Err(TestError::Fail(why, (operations, lists))) => {
            let why = runner::last_panic().unwrap_or_else(|| why.to_string());
            let story: Vec<String> = operations.iter().map(|one| format!("  {one:?}")).collect();
            let story = story.join("\n");
            Err(Violation::new(format!("{why}\n{story}\nasked at the end: {lists:?}")))
        }
        Err(TestError::Abort(why)) => Err(Violation::new(why)),
    }
}

/// Lets it all happen; what differs panics.
fn happen(
    operations: Vec<Operation>,
    lists: &[(ListQuery, usize)],
    on_disk: bool,
) -> Result<(), std::io::Error> {
    let directory = if on_disk { Some(in_memory_directory()?) } else { None };
    let mut history = match &directory {
        Some(directory) => History::in_directory(directory.path()),
        None => History::in_memory(),
    };
    for operation in operations {
        history.run(operation);
    }
    history.check(lists);
    let snapshot = history.harness.store.snapshot();
    for (asked, size) in lists {
        check_bodies(&history, &snapshot, asked, *size);
    }
    Ok(())
}

/// The bodies of a list's first pages are the bytes of the oracle's items.
fn check_bodies(history: &History, snapshot: &Snapshot, asked: &ListQuery, size: usize) {
    for user in history.harness.users {
        let page = snapshot.list(user, &request(asked, size)).unwrap_or_else(|e| panic!("{e}"));
        let tokens = PageTokens::of(&page, snapshot);
        let (mut body, mut expected) = (Vec::new(), b"{\"data\":[".to_vec());
        let mut names = AssistantNames::new(snapshot.clone(), user);
        write_page(&mut body, "http://test/list", &page, &tokens, &mut names)
            .unwrap_or_else(|error| panic!("{error}"));
        for (at, row) in history.harness.oracle.list(user, asked).iter().take(size).enumerate() {
            if at > 0 {
                expected.push(b',');
            }
            write_item(&mut expected, &row.borrowed(), history.assistant_name(user, row.assistant));
        }
        let quoted = |token: &Option<String>| match token {
            Some(token) => format!("\"{token}\""),
            None => "null".to_owned(),
        };
        let (next, prev) = (quoted(&tokens.next), quoted(&tokens.prev));
        let rest = format!(
            "],\"path\":\"http://test/list\",\"per_page\":{size},\"next_cursor\":{next},\
             \"prev_cursor\":{prev}}}"
        );
        expected.extend_from_slice(rest.as_bytes());
        assert!(body == expected, "{} is not\n{}", lossy(&body), lossy(&expected));
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
