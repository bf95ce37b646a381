//! What others wrote and we build on: where it comes from, under which licences, and how much of it
//! the engine has. Advisories need a database of the day: `just deny`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::tidy::root;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What cargo says, without the network.
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".to_owned());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The licences that `deny.toml` allows.
fn allowed() -> BTreeSet<String> {
    let policy = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = policy.split("allow = [").nth(1).unwrap().split(']').next().unwrap();
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

/// Whether an SPDX expression leaves a choice that is allowed. Its parentheses hold nothing but
/// alternatives, as in `(MIT OR Apache-2.0) AND Unicode-3.0`.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let alternatives = |part: &str| {
        let part = part.trim().trim_matches(['(', ')']);
        part.split(" OR ").flat_map(|one| one.split('/')).any(|one| allowed.contains(one.trim()))
    };
    let flat = !expression.contains('(');
    let all_of = |part: &str| part.split(" AND ").all(alternatives);
    if flat { expression.split(" OR ").any(all_of) } else { all_of(expression) }
}

/// Every package that is built has a licence that we may use.
#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = allowed();
    let told = cargo(&["-vV"]);
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--offline", "--locked", "--format-version", "1"];
    let told = cargo(&[&arguments[..], &["--filter-platform", host]].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    let packages = told["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(permits(licence, &allowed), "{} is under {licence}", package["name"]);
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(permits(good, &allowed), "{good}");
    }
    for bad in ["none", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0"] {
        assert!(!permits(bad, &allowed), "{bad}");
    }
}

/// Nothing comes from elsewhere than the registry, with a checksum, also where only we build it.
#[test]
fn every_dependency_comes_from_the_registry() {
    for workspace in [".", "benches/rivals", "fuzz"] {
        let lock = fs::read_to_string(root().join(workspace).join("Cargo.lock")).unwrap();
        let mut foreign = 0;
        for package in lock.split("[[package]]").skip(1) {
            if let Some(source) = package.split("source = \"").nth(1) {
                foreign += 1;
                assert!(source.starts_with(&format!("{CRATES_IO}\"")), "{workspace}: {package}");
                assert!(package.contains("\nchecksum = \""), "{workspace}: {package}");
            }
        }
        assert!(foreign > 20, "{workspace} has {foreign} dependencies");
    }
}

/// The engine stays small: no runtime, no HTTP, and few packages for those who link it.
#[test]
fn the_engine_has_few_dependencies() {
    let tree = cargo(&[
        "tree",
        "--offline",
        "-p",
        "convodb",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--no-dedupe",
    ]);
    let packages: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for heavy in ["tokio", "hyper", "axum", "futures"] {
        assert!(!packages.contains(heavy), "the engine depends on {heavy}");
    }
    assert!(packages.len() <= 42, "{} packages: {packages:?}", packages.len());
}
