//! The tests of the HTTP server, of the crate `convodb-http`, with a store on PostgreSQL. `.ci/postgres`
//! runs them without those that `embedded_only` names, one a line: they test what only a file has, or
//! write to the embedded store behind the server's back.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::BTreeSet;

mod backend;
#[path = "../../../convodb-http/tests/it/body.rs"]
mod body;
#[path = "../../../convodb-http/tests/it/changes.rs"]
mod changes;
#[path = "../../../convodb-http/tests/it/client.rs"]
mod client;
#[path = "../../../convodb-http/tests/it/conversation.rs"]
mod conversation;
#[path = "../../../convodb-http/tests/it/cursors.rs"]
mod cursors;
#[path = "../../../convodb-http/tests/it/events.rs"]
mod events;
#[path = "../../../convodb-http/tests/it/harness.rs"]
mod harness;
#[path = "../../../convodb-http/tests/it/idempotency.rs"]
mod idempotency;
#[path = "../../../convodb-http/tests/it/limits.rs"]
mod limits;
#[path = "../../../convodb-http/tests/it/list.rs"]
mod list;
#[path = "../../../convodb-http/tests/it/malformed_requests.rs"]
mod malformed_requests;
#[path = "../../../convodb-http/tests/it/parameters.rs"]
mod parameters;
#[path = "../../../convodb-http/tests/it/privacy.rs"]
mod privacy;
#[path = "../../../convodb-http/tests/it/probes.rs"]
mod probes;
#[path = "../../../convodb-http/tests/it/protocol.rs"]
mod protocol;
#[path = "../../../convodb-http/tests/it/stats.rs"]
mod stats;
#[path = "../../../convodb-http/tests/it/tokens.rs"]
mod tokens;
#[path = "../../../convodb-http/tests/it/user.rs"]
mod user;

/// The modules with tests, and their texts.
const MODULES: [(&str, &str); 16] = [
    ("body", include_str!("../../../convodb-http/tests/it/body.rs")),
    ("changes", include_str!("../../../convodb-http/tests/it/changes.rs")),
    ("conversation", include_str!("../../../convodb-http/tests/it/conversation.rs")),
    ("cursors", include_str!("../../../convodb-http/tests/it/cursors.rs")),
    ("events", include_str!("../../../convodb-http/tests/it/events.rs")),
    ("idempotency", include_str!("../../../convodb-http/tests/it/idempotency.rs")),
    ("limits", include_str!("../../../convodb-http/tests/it/limits.rs")),
    ("list", include_str!("../../../convodb-http/tests/it/list.rs")),
    ("malformed_requests", include_str!("../../../convodb-http/tests/it/malformed_requests.rs")),
    ("parameters", include_str!("../../../convodb-http/tests/it/parameters.rs")),
    ("privacy", include_str!("../../../convodb-http/tests/it/privacy.rs")),
    ("probes", include_str!("../../../convodb-http/tests/it/probes.rs")),
    ("protocol", include_str!("../../../convodb-http/tests/it/protocol.rs")),
    ("stats", include_str!("../../../convodb-http/tests/it/stats.rs")),
    ("tokens", include_str!("../../../convodb-http/tests/it/tokens.rs")),
    ("user", include_str!("../../../convodb-http/tests/it/user.rs")),
];
/// Tests that need an embedded store.
const EMBEDDED_ONLY: &str = include_str!("embedded_only");

/// The number of tests of the suite that run on both stores, and of those of these modules that do not.
/// The other modules are of what a store on PostgreSQL does not have.
#[test]
fn the_tests_that_run_on_one_store_alone_are_counted() {
    let mut all = BTreeSet::new();
    for (module, text) in MODULES {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() == "#[test]" {
                let name = lines.find_map(|line| line.trim().strip_prefix("fn ")).unwrap();
                all.insert(format!("{module}::{}", name.split('(').next().unwrap()));
            }
        }
    }
    let skipped: BTreeSet<String> = EMBEDDED_ONLY.lines().map(str::to_owned).collect();
    let unknown: Vec<_> = skipped.difference(&all).collect();
    assert!(unknown.is_empty(), "there is no test {unknown:?}");
    let listed: Vec<&str> = EMBEDDED_ONLY.lines().collect();
    assert!(listed.is_sorted(), "the list is not sorted");
    assert_eq!((all.len() - skipped.len(), skipped.len()), (91, 48));
}
