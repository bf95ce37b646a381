//! Names and loose ends: empty words in type names, and marks of work that is not finished.

use crate::banned::{EMPTY_LAST_WORD, EMPTY_WORDS, UNFINISHED};
use crate::finding::Finding;
use crate::source::repository::Repository;
use crate::source::rust_code::line_of;
use crate::source::tokens::tokens;

/// Checks the types that every Rust file defines, and all of its text for unfinished work.
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text, rust) in repository.rust_files().filter(|(path, ..)| !is_word_list(path)) {
        for (name, offset) in type_names(rust.with_tests()) {
            if is_empty_name(name) {
                let text = format!("type name `{name}` has a word that says nothing");
                findings.push(Finding::at(path, line_of(rust.code(), offset), text));
            }
        }
        for (line, words) in text.lines().enumerate() {
            for mark in UNFINISHED.iter().filter(|mark| words.contains(**mark)) {
                findings.push(Finding::at(path, line + 1, format!("unfinished: `{mark}`")));
            }
        }
    }
    findings
}

/// Whether a file is the list of refused words, which must spell them.
pub(crate) fn is_word_list(path: &str) -> bool {
    path == "xtask/src/banned.rs"
}

/// The types that code defines, associated ones included.
fn type_names(code: &str) -> Vec<(&str, usize)> {
    let keywords = ["struct", "enum", "trait", "type", "union"];
    tokens(code)
        .windows(2)
        .filter(|pair| keywords.contains(&pair[0].text) && pair[1].is_identifier())
        .map(|pair| (pair[1].text, pair[1].offset))
        .collect()
}

fn is_empty_name(name: &str) -> bool {
    let has_word = |word: &&str| name.contains(*word);
    EMPTY_WORDS.iter().any(has_word) || ends_word(name, EMPTY_LAST_WORD)
}

/// Whether a name contains a word of its own, as `PageData` contains `Data` and `Database` does
/// not.
fn ends_word(name: &str, word: &str) -> bool {
    let next = |at: usize| name[at + word.len()..].chars().next();
    name.match_indices(word).any(|(at, _)| next(at).is_none_or(|next| !next.is_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: usize) {
        let found = super::check(&Repository::from_texts([("crates/c/src/a.rs", text)]));
        assert_eq!(found.len(), expected, "{text}: {found:?}");
    }

    #[test]
    fn empty_words_are_found_in_names_of_types_only() {
        let data = EMPTY_LAST_WORD;
        for name in EMPTY_WORDS.iter().chain([&data]) {
            check(&format!("pub(crate) struct Page{name} {{}}"), 1);
            check(&format!("pub type {name}<T> = T;"), 1);
            check(&format!("fn f() {{ {name}::g(); }}\n// struct {name}"), 0);
        }
        check("struct Database;", 0);
    }

    #[test]
    fn unfinished_work_is_found_in_code_comments_and_tests() {
        for mark in UNFINISHED {
            check(&format!("// {mark}"), 1);
            check(&format!("#[cfg(test)]\nmod tests {{ {mark}(); }}"), 1);
        }
    }
}
