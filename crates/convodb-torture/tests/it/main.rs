//! All scenarios at smoke scale, as part of the tests of the workspace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn torture(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_convodb-torture")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Builds the command `convodb`, which must be beside this binary, with the same profile.
fn build_convodb() {
    let directory = Path::new(env!("CARGO_BIN_EXE_convodb-torture")).parent().unwrap();
    let profile = directory.file_name().unwrap().to_str().unwrap();
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--offline", "--quiet", "-p", "convodb-cli", "--profile", profile]);
    assert!(build.status().unwrap().success());
    assert!(directory.join("convodb").exists());
}

#[test]
fn all_scenarios_pass_at_smoke_scale() {
    build_convodb();
    let all = torture(&["all", "--scale", "smoke", "--json"]);
    let (out, err) = (text(&all.stdout), text(&all.stderr));
    assert!(all.status.success(), "{err}{out}");
    for line in out.lines() {
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        let skipped = outcome["skipped"].is_string();
        let no_trials = outcome["trials"] == 0;
        let has_counts = !outcome["counts"].as_object().unwrap().is_empty();
        assert!(no_trials || skipped || has_counts, "{line}");
        assert_eq!(outcome["done"], outcome["trials"], "{line}");
    }
}

/// Over two swapped pages redb panics in a bulk load with its locks held, and again when the
/// transaction and the database are dropped, in builds with debug assertions.
#[test]
fn panics_of_redb_during_drop_are_caught() {
    for seed in ["147", "204"] {
        let damage = torture(&["damage", "--seed", seed, "--trials", "1", "--json"]);
        assert!(damage.status.success(), "{}{}", text(&damage.stderr), text(&damage.stdout));
        let is_case = text(&damage.stdout).contains("two swapped pages");
        assert!(is_case, "the seed no longer selects two swapped pages");
    }
}

#[test]
fn unknown_scenario_is_an_error() {
    let unknown = torture(&["such"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("unknown scenario such"));
    assert!(text(&torture(&["list"]).stdout).contains("model"));
}
