//! Containment: names that only listed folders of the engine may use, such as `redb::` and clocks.

use crate::finding::Finding;
use crate::lists::{Containment, Scope};
use crate::source::import_graph::test_files;
use crate::source::repository::Repository;
use crate::source::rust_code::{is_identifier, line_of};

/// Checks the code of a crate, without its tests, against every rule.
pub fn check(repository: &Repository, folder: &str, rules: &[Containment]) -> Vec<Finding> {
    let sources = repository.crate_sources(folder);
    let tests = test_files(&sources);
    let mut findings = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| !tests.contains(*file)) {
        let Some(rust) = &text.rust else { continue };
        for rule in rules.iter().filter(|rule| rule.covers(file)) {
            for word in rule.words {
                for offset in occurrences(rust.code(), word) {
                    let text = format!("`{}` {}", word.trim(), rule.text);
                    let line = line_of(rust.code(), offset);
                    findings.push(Finding::at(&format!("{folder}/src/{file}"), line, text));
                }
            }
        }
    }
    findings
}

/// Checks that every place of the rules exists in the crate, so that no rule checks nothing.
pub fn check_places(repository: &Repository, folder: &str, rules: &[Containment]) -> Vec<Finding> {
    let sources = repository.crate_sources(folder);
    let exists = |place: &str| sources.keys().any(|file| is_in(file, place));
    let places = rules.iter().flat_map(|rule| match rule.scope {
        Scope::Except(places) | Scope::Only(places) => places,
    });
    let missing = places.filter(|place| !exists(place));
    missing
        .map(|place| {
            let text = "is a place of a containment in xtask/src/lists.rs, but no file";
            Finding::new(format!("{folder}/src/{place}"), text)
        })
        .collect()
}

/// Whether a file, given as a path below `src/`, is the place or in the folder of the place.
fn is_in(file: &str, place: &str) -> bool {
    let stem = file.trim_end_matches(".rs");
    stem.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Containment {
    /// Whether the rule refuses its words in a file, given as a path below `src/`.
    fn covers(&self, file: &str) -> bool {
        match self.scope {
            Scope::Except(places) => !places.iter().any(|place| is_in(file, place)),
            Scope::Only(places) => places.iter().any(|place| is_in(file, place)),
        }
    }
}

/// Where a name begins: not in the middle of an identifier, but possibly as its beginning.
fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let begins_identifier = word.bytes().next().is_some_and(is_identifier);
    code.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let before = offset.checked_sub(1).map(|before| code.as_bytes()[before]);
        !(begins_identifier && before.is_some_and(is_identifier))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[Containment] = &[
        Containment {
            words: &["redb::"],
            scope: Scope::Except(&["kv", "io/file"]),
            text: "is out",
        },
        Containment { words: &["WriteT"], scope: Scope::Only(&["query"]), text: "writes" },
        Containment { words: &["fs::"], scope: Scope::Except(&[]), text: "is a file" },
    ];

    #[track_caller]
    fn check(file: &str, text: &str, expected: &[&str]) {
        let path = format!("c/src/{file}");
        let repository = Repository::from_texts([(path.as_str(), text)]);
        let found = super::check(&repository, "c", RULES);
        let found: Vec<String> = found.iter().map(Finding::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_contained_name_is_found_outside_its_folders_only() {
        check("kv/table.rs", "use redb::Table;", &[]);
        check("io/file.rs", "use redb::Table;", &[]);
        check("io/files.rs", "\nuse redb::Table;", &["c/src/io/files.rs:2: `redb::` is out"]);
        check("kvs.rs", "fn f(_: redb::T) {}", &["c/src/kvs.rs:1: `redb::` is out"]);
    }

    #[test]
    fn a_refused_name_is_found_in_its_folder_only() {
        check(
            "query/scan.rs",
            "fn f(_: &WriteTransaction) {}",
            &["c/src/query/scan.rs:1: `WriteT` writes"],
        );
        check("engine/scan.rs", "fn f(_: &WriteTransaction) {}", &[]);
    }

    #[test]
    fn comments_strings_tests_and_longer_names_do_not_count() {
        check("a.rs", "// redb::\nconst S: &str = \"redb::\";\n#[cfg(test)]\nuse redb::T;", &[]);
        check("a.rs", "use crate::io::vfs::Vfs;\nuse my_redb::T;", &[]);
    }
}
