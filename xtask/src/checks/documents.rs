//! Documents: `ARCHITECTURE.md` names every folder and crate, the file format every table.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::lists;
use crate::source::repository::Repository;

/// The most lines of `ARCHITECTURE.md`.
pub const ARCHITECTURE_LINES: usize = 100;
/// The fewest tables of the schema; fewer means that the schema was not understood.
const TABLES: usize = 14;

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Checks `ARCHITECTURE.md` and `docs/file-format.md`.
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = check_architecture(repository);
    findings.extend(check_tables(repository));
    findings
}

fn check_architecture(repository: &Repository) -> Vec<Finding> {
    let Some(text) = repository.text(ARCHITECTURE) else {
        return vec![Finding::new(ARCHITECTURE, "does not exist")];
    };
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES {
        let text = format!("has {lines} lines, more than {ARCHITECTURE_LINES}");
        findings.push(Finding::new(ARCHITECTURE, text));
    }
    let sources = repository.crate_sources(lists::ENGINE);
    let folders: BTreeSet<&str> =
        sources.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let crates = repository.crate_folders();
    let crates = crates.iter().filter_map(|folder| folder.rsplit('/').next());
    for name in folders.into_iter().chain(crates) {
        if !names(text, name) {
            let text = format!("names no `{name}/`");
            findings.push(Finding::new(ARCHITECTURE, text));
        }
    }
    findings
}

/// Whether a text names a folder: as `name`, in backticks, or as name/.
fn names(text: &str, folder: &str) -> bool {
    text.match_indices(folder).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + folder.len()..].chars().next();
        let is_whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
        is_whole && (after == Some('/') || (before == Some('`') && after == Some('`')))
    })
}

fn check_tables(repository: &Repository) -> Vec<Finding> {
    let read = |path: &str| repository.text(path).unwrap_or_default();
    let (schema, format) = (read(lists::SCHEMA), read(lists::FILE_FORMAT));
    let strings = schema.split('"').skip(1).step_by(2);
    let tables: BTreeSet<&str> = strings.filter(|name| is_table(name)).collect();
    let mut findings = Vec::new();
    if tables.len() < TABLES {
        let text = format!("declares {} tables, fewer than {TABLES}", tables.len());
        findings.push(Finding::new(lists::SCHEMA, text));
    }
    for table in tables {
        if !format.contains(&format!("`{table}`")) {
            findings.push(Finding::new(lists::FILE_FORMAT, format!("does not document `{table}`")));
        }
    }
    findings
}

/// Whether a string is the name of a table: it ends with `.v` and a number.
fn is_table(name: &str) -> bool {
    let version = name.rsplit_once(".v").map(|(_, version)| version);
    version.is_some_and(|v| !v.is_empty() && v.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(architecture: &str, expected: &[&str]) {
        let repository = Repository::from_texts([
            ("crates/convodb/Cargo.toml", ""),
            ("crates/convodb/src/kv/mod.rs", ""),
            ("crates/convodb/src/lib.rs", ""),
            (ARCHITECTURE, architecture),
        ]);
        let found = check_architecture(&repository);
        let found: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_architecture_names_folders_and_crates() {
        check("`convodb`: `kv`", &[]);
        check("crates/convodb/src/\n  kv/", &[]);
        check("`convodb`: the kv and `kv2` of akv/", &["names no `kv/`"]);
        check("`kv` of convodb-http/", &["names no `convodb/`"]);
    }

    #[test]
    fn a_long_architecture_is_found() {
        check(&format!("`convodb` `kv`{}", "\n".repeat(100)), &[]);
        check(&format!("`convodb` `kv`{}", "\n".repeat(101)), &["has 101 lines, more than 100"]);
    }

    #[test]
    fn a_table_without_documentation_is_found() {
        let names: Vec<String> = (0..14).map(|n| format!("t{n}.v1")).collect();
        let schema: String = names.iter().map(|name| format!("table(\"{name}\");\n")).collect();
        let format: String = names[1..].iter().map(|name| format!("`{name}`\n")).collect();
        let texts = [(lists::SCHEMA, schema.as_str()), (lists::FILE_FORMAT, format.as_str())];
        let found = check_tables(&Repository::from_texts(texts));
        assert_eq!(found, [Finding::new(lists::FILE_FORMAT, "does not document `t0.v1`")]);
        assert_eq!(check_tables(&Repository::default()).len(), 1);
    }
}
