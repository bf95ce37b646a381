//! Dependencies: their licences, where they come from, and how many the engine has.
//!
//! Advisories need a database that changes every day: `just deny`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::finding::Finding;
use crate::lists;
use crate::source::repository::Repository;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The fewest packages of a build; fewer means that cargo's answer was not understood.
const PACKAGES: usize = 100;
/// The fewest packages of a lock file that come from a registry.
const LOCKED: usize = 20;

/// Every check of the dependencies. Runs cargo without the network.
///
/// # Errors
///
/// Fails if cargo fails or `deny.toml` has no list of allowed licences.
pub fn check(root: &Path, repository: &Repository) -> Result<Vec<Finding>, String> {
    let mut findings = check_licences(root, repository)?;
    findings.extend(check_sources(repository));
    findings.extend(check_engine(root)?);
    Ok(findings)
}

/// Checks that every package of a build with default features has a licence of `deny.toml`.
///
/// # Errors
///
/// Fails if cargo fails or `deny.toml` has no list of allowed licences.
pub fn check_licences(root: &Path, repository: &Repository) -> Result<Vec<Finding>, String> {
    let allowed = allowed(repository.text("deny.toml").unwrap_or_default())
        .ok_or("deny.toml has no `allow = [`")?;
    let version = cargo(root, &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("`cargo -vV` prints no host")?;
    let options = ["metadata", "--offline", "--locked", "--format-version", "1"];
    let metadata = cargo(root, &[&options[..], &["--filter-platform", host]].concat())?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut findings = Vec::new();
    if packages.len() <= PACKAGES {
        findings.push(Finding::new("Cargo.lock", format!("has {} packages", packages.len())));
    }
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !permits(licence, &allowed) {
            let name = package["name"].as_str().unwrap_or_default();
            let text = format!("licence `{licence}` is not in deny.toml");
            findings.push(Finding::new(name, text));
        }
    }
    Ok(findings)
}

/// Checks that every package of every lock file comes from crates.io and has a checksum.
pub fn check_sources(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for lock in lists::LOCK_FILES {
        let text = repository.text(lock).unwrap_or_default();
        let mut locked = 0;
        for package in text.split("[[package]]").skip(1) {
            let Some(source) = package.split("source = \"").nth(1) else { continue };
            locked += 1;
            let is_registry = source.starts_with(&format!("{CRATES_IO}\""));
            if !is_registry || !package.contains("\nchecksum = \"") {
                let name = package.split('"').nth(1).unwrap_or_default();
                let text = format!("`{name}` does not come from crates.io with a checksum");
                findings.push(Finding::new(*lock, text));
            }
        }
        if locked <= LOCKED {
            findings.push(Finding::new(*lock, format!("has {locked} packages of a registry")));
        }
    }
    findings
}

/// Checks that the engine has no runtime, no HTTP and few packages.
///
/// # Errors
///
/// Fails if cargo fails or does not print the engine.
pub fn check_engine(root: &Path) -> Result<Vec<Finding>, String> {
    let arguments = ["tree", "--offline", "-p", "convodb", "-e", "normal", "--prefix", "none"];
    let tree = cargo(root, &[&arguments[..], &["--no-dedupe"]].concat())?;
    let packages: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut findings: Vec<Finding> = lists::ENGINE_WITHOUT
        .iter()
        .filter(|heavy| packages.contains(*heavy))
        .map(|heavy| Finding::new(lists::ENGINE, format!("depends on `{heavy}`")))
        .collect();
    if !packages.contains("convodb") {
        return Err(format!("`cargo tree` prints no convodb: {tree}"));
    }
    let limit = lists::ENGINE_PACKAGES;
    if packages.len() > limit {
        let text = format!("has {} packages, more than {limit}: {packages:?}", packages.len());
        findings.push(Finding::new(lists::ENGINE, text));
    }
    Ok(findings)
}

/// The standard output of cargo.
fn cargo(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".to_owned());
    let output = Command::new(cargo).args(arguments).current_dir(root).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// The licences that `deny.toml` allows.
fn allowed(policy: &str) -> Option<BTreeSet<String>> {
    let list = policy.split("allow = [").nth(1)?.split(']').next()?;
    Some(list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect())
}

/// Whether an SPDX expression leaves a choice that is allowed. Parentheses may contain only
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_expression_needs_one_allowed_choice() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
        for good in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in ["none", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0"] {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_policy_is_a_list_of_names() {
        let policy = "[licenses]\nallow = [\"MIT\", \"Zlib\"]\n";
        assert_eq!(allowed(policy), Some(["MIT", "Zlib"].map(str::to_owned).into()));
        assert_eq!(allowed(""), None);
    }

    #[test]
    fn a_package_from_elsewhere_or_without_a_checksum_is_found() {
        let package = |name: &str, rest: &str| format!("[[package]]\nname = \"{name}\"\n{rest}\n");
        let registry = format!("source = \"{CRATES_IO}\"");
        let good: String =
            (0..30).map(|_| package("good", &format!("{registry}\nchecksum = \"00\""))).collect();
        let git = package("git", "source = \"git+https://example.org/a\"\nchecksum = \"00\"");
        let bare = package("bare", &registry);
        let lock = format!("{good}{git}{bare}");
        let texts = lists::LOCK_FILES.iter().map(|path| (*path, good.as_str()));
        let repository = Repository::from_texts(texts.chain([("Cargo.lock", lock.as_str())]));
        let found: Vec<String> =
            check_sources(&repository).iter().map(Finding::to_string).collect();
        let text = "does not come from crates.io with a checksum";
        let expected = ["git", "bare"].map(|name| format!("Cargo.lock: `{name}` {text}"));
        assert_eq!(found, expected);
    }
}
