//! Banned words: whole words and phrases that sources, documents and scripts may not contain.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::banned::{BANNED, Banned, METHODS};
use crate::checks::names::is_word_list;
use crate::finding::Finding;
use crate::source::repository::Repository;
use crate::source::rust_code::line_of;

/// Checks every text file except the word list, the change log and lock files.
///
/// The change log may name what earlier versions called a thing.
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in repository.files().filter(|(path, _)| is_prose(path)) {
        for Occurrence { banned, line } in occurrences(&file.text) {
            let text = format!("`{}`: write {}", banned.phrase, banned.instead);
            findings.push(Finding::at(path, line, text));
        }
    }
    findings
}

/// How often each banned phrase occurs in the repository at `root`, also those that do not.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub fn count_banned(root: &Path) -> io::Result<BTreeMap<&'static str, usize>> {
    let repository = Repository::read(root)?;
    let mut counts: BTreeMap<&str, usize> =
        BANNED.iter().map(|banned| (banned.phrase, 0)).collect();
    for (_, file) in repository.files().filter(|(path, _)| is_prose(path)) {
        for found in occurrences(&file.text) {
            *counts.entry(found.banned.phrase).or_default() += 1;
        }
    }
    Ok(counts)
}

fn is_prose(path: &str) -> bool {
    !is_word_list(path) && !path.ends_with("CHANGELOG.md") && !path.ends_with(".lock")
}

/// A banned phrase in a text.
#[derive(Clone, Copy, Debug)]
pub struct Occurrence {
    /// The phrase.
    pub banned: Banned,
    /// The line of its first word.
    pub line: usize,
}

/// Every banned phrase in a text, in order.
pub fn occurrences(text: &str) -> Vec<Occurrence> {
    let words = words(text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        for banned in BANNED.iter().filter(|banned| begins_with(text, &words[at..], banned.phrase))
        {
            let line = line_of(text, words[at].offset);
            found.push(Occurrence { banned: *banned, line });
        }
    }
    found
}

#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    offset: usize,
}

impl Word<'_> {
    fn end(&self) -> usize {
        self.offset + self.text.len()
    }
}

/// The words of a text. `snake_case` and `CamelCase` are two words each.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut before = ' ';
    let characters = text.char_indices().chain([(text.len(), ' ')]);
    for (offset, character) in characters {
        let is_boundary = before.is_lowercase() && character.is_uppercase();
        if let Some(from) = start.filter(|_| is_boundary || !character.is_alphabetic()) {
            found.push(Word { text: &text[from..offset], offset: from });
            start = None;
        }
        if start.is_none() && character.is_alphabetic() {
            start = Some(offset);
        }
        before = character;
    }
    found
}

fn begins_with(text: &str, words: &[Word<'_>], phrase: &str) -> bool {
    if !words[0].text.eq_ignore_ascii_case(phrase.split(' ').next().unwrap_or_default()) {
        return false;
    }
    let length = phrase.split(' ').count();
    let same = |(word, part): (&Word<'_>, &str)| word.text.eq_ignore_ascii_case(part);
    words.len() >= length
        && words.iter().zip(phrase.split(' ')).all(same)
        && words[..length].windows(2).all(|two| joins(&text[two[0].end()..two[1].offset]))
        && !is_method(text, words[0], phrase)
}

/// Whether two words belong to one phrase, by the text between them: spaces, `_`, the boundary of
/// a `CamelCase` word, or the end of a line with the marks of a comment.
fn joins(between: &str) -> bool {
    let is_comment_mark = |c: char| "/!#*>|\\\"".contains(c) && between.contains('\n');
    between.chars().all(|c| c.is_whitespace() || c == '_' || is_comment_mark(c))
}

fn is_method(text: &str, word: Word<'_>, phrase: &str) -> bool {
    let is_call = text[..word.offset].ends_with('.') && text[word.end()..].starts_with('(');
    is_call && METHODS.contains(&phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any banned phrase, since this file may not spell one.
    const PHRASE: &str = BANNED[0].phrase;

    #[track_caller]
    fn check(path: &str, text: &str, expected: usize) {
        let found = super::check(&Repository::from_texts([(path, text)]));
        assert_eq!(found.len(), expected, "{path}: {found:?}");
    }

    #[test]
    fn every_kind_of_text_is_checked() {
        let paths =
            ["crates/c/tests/it/a.rs", "docs/operations/README.md", "Cargo.toml", "justfile"];
        for path in paths.iter().chain(&["benches/a.rs", "fuzz/src/lib.rs", ".ci/run", "deny.toml"])
        {
            check(path, &format!("a\n// {PHRASE}"), 1);
        }
    }

    #[test]
    fn the_change_log_and_the_word_list_are_exempt() {
        for path in ["CHANGELOG.md", "xtask/src/banned.rs", "Cargo.lock"] {
            check(path, PHRASE, 0);
        }
    }

    #[test]
    fn a_finding_has_the_line_and_a_suggestion() {
        let text = format!("a\n// {PHRASE}");
        let found = super::check(&Repository::from_texts([("a.rs", text.as_str())]));
        assert_eq!(found[0].place, "a.rs:2");
        assert!(found[0].text.contains(BANNED[0].instead));
    }

    #[test]
    fn every_banned_phrase_is_found() {
        for banned in BANNED {
            let found = occurrences(banned.phrase);
            assert!(found.iter().any(|f| f.banned.phrase == banned.phrase), "{}", banned.phrase);
        }
    }
}
