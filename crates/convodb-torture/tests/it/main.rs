//! Every proof at its smallest, as the tests of the workspace run it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn prove(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_convodb-torture")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// The command stands beside this one, built as it was.
fn build_the_command() {
    let beside = Path::new(env!("CARGO_BIN_EXE_convodb-torture")).parent().unwrap();
    let profile = beside.file_name().unwrap().to_str().unwrap();
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--offline", "--quiet", "-p", "convodb-cli", "--profile", profile]);
    assert!(build.status().unwrap().success());
    assert!(beside.join("convodb").exists());
}

#[test]
fn every_proof_holds_at_smoke_size() {
    build_the_command();
    let all = prove(&["all", "--scale", "smoke", "--json"]);
    let (out, err) = (text(&all.stdout), text(&all.stderr));
    assert!(all.status.success(), "{err}{out}");
    for line in out.lines() {
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        let skipped = outcome["skipped"].is_string();
        let none = outcome["trials"] == 0;
        assert!(none || skipped || !outcome["counts"].as_object().unwrap().is_empty(), "{line}");
        assert_eq!(outcome["done"], outcome["trials"], "{line}");
    }
}

/// Over two swapped pages redb panics in a load with its locks held, and once more wherever the
/// transaction, and then the database, is let go of: in builds with debug assertions.
#[test]
fn a_panic_of_redb_does_not_come_out_of_letting_go() {
    for seed in ["147", "204"] {
        let damage = prove(&["damage", "--seed", seed, "--trials", "1", "--json"]);
        assert!(damage.status.success(), "{}{}", text(&damage.stderr), text(&damage.stdout));
        assert!(text(&damage.stdout).contains("two swapped pages"), "another case than it was");
    }
}

#[test]
fn a_proof_that_does_not_exist_is_told() {
    let none = prove(&["such"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("there is no proof such"));
    assert!(text(&prove(&["list"]).stdout).contains("model"));
}
