//! Manifests: every crate is a member of the workspace and forbids unsafe code.

use crate::finding::Finding;
use crate::lists;
use crate::source::repository::Repository;

/// The fewest members of the workspace; fewer means that the manifest was not understood.
const MEMBERS: usize = 6;

/// Checks that the workspace's lints forbid unsafe code and that every member uses them.
///
/// `benches/compare` opens LMDB, which needs unsafe code, and is in a workspace of its own that no
/// build of convodb contains.
pub fn check(repository: &Repository) -> Vec<Finding> {
    let read = |path: &str| repository.text(path).unwrap_or_default();
    let root = read("Cargo.toml");
    let mut findings = Vec::new();
    for (path, table) in [("Cargo.toml", "[workspace.lints.rust]"), (lists::FUZZ, "[lints.rust]")] {
        if !read(path).contains(&format!("{table}\nunsafe_code = \"forbid\"")) {
            let text = format!("`{table}` does not begin with `unsafe_code = \"forbid\"`");
            findings.push(Finding::new(path, text));
        }
    }
    let members = members(root);
    if members.len() < MEMBERS {
        let text = format!("has {} members, fewer than {MEMBERS}", members.len());
        findings.push(Finding::new("Cargo.toml", text));
    }
    for folder in repository.crate_folders() {
        if !members.contains(&folder.as_str()) {
            findings.push(Finding::new(folder, "is not a member of the workspace"));
        }
    }
    for member in members {
        let manifest = format!("{member}/Cargo.toml");
        if !read(&manifest).contains("[lints]\nworkspace = true") {
            findings.push(Finding::new(manifest, "does not contain `[lints]`, `workspace = true`"));
        }
    }
    findings
}

/// The members that the manifest of the workspace lists.
fn members(manifest: &str) -> Vec<&str> {
    let list = manifest.split("\nmembers = [").nth(1).unwrap_or_default();
    let list = list.split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";
    const ROOT: &str = "[workspace]\nmembers = [\"crates/a\", \"crates/b\", \"crates/c\", \"crates/d\",\n\
        \"benches\", \"xtask\"]\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";

    fn workspace() -> Vec<(&'static str, &'static str)> {
        let members = ["crates/a", "crates/b", "crates/c", "crates/d", "benches", "xtask"];
        assert_eq!(super::members(ROOT), members);
        let mut files = vec![
            ("Cargo.toml", ROOT),
            ("fuzz/Cargo.toml", "[lints.rust]\nunsafe_code = \"forbid\""),
        ];
        files.extend([("crates/a/Cargo.toml", LINTS), ("crates/b/Cargo.toml", LINTS)]);
        files.extend([("crates/c/Cargo.toml", LINTS), ("crates/d/Cargo.toml", LINTS)]);
        files.extend([("benches/Cargo.toml", LINTS), ("xtask/Cargo.toml", LINTS)]);
        files
    }

    #[track_caller]
    fn check(change: (&'static str, &'static str), expected: &[&str]) {
        let mut files = workspace();
        files.push(change);
        let found = super::check(&Repository::from_texts(files));
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn unsafe_code_is_forbidden_everywhere() {
        check(("README.md", ""), &[]);
        check(
            ("crates/b/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\""),
            &["crates/b/Cargo.toml"],
        );
        check(("fuzz/Cargo.toml", ""), &["fuzz/Cargo.toml"]);
    }

    #[test]
    fn a_crate_outside_the_workspace_is_found() {
        check(("crates/e/Cargo.toml", LINTS), &["crates/e"]);
        check(
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\""),
            &["Cargo.toml", "crates/a", "crates/b", "crates/c", "crates/d", "xtask"],
        );
    }
}
