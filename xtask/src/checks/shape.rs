//! Shape of files and functions: length, and a first line that says what the file is.

use crate::finding::Finding;
use crate::source::repository::Repository;
use crate::source::rust_code::{RustCode, closing, line_of};
use crate::source::tokens::tokens;

/// The most lines of a function, from `fn` to its closing brace.
pub const FUNCTION_LINES: usize = 70;
/// The most lines of a file before its tests. 80 to 400 are usual.
pub const FILE_LINES: usize = 600;

/// Checks the first line of every Rust file, and lengths in `src/` of every crate.
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let crates = repository.crate_folders();
    for (path, text, rust) in repository.rust_files() {
        if !text.starts_with("//! ") {
            findings.push(Finding::at(path, 1, "begins without `//! ` and what the file is"));
        }
        let is_source = |folder: &String| path.starts_with(&format!("{folder}/src/"));
        if crates.iter().any(is_source) {
            findings.extend(check_lengths(path, rust));
        }
    }
    findings
}

fn check_lengths(path: &str, rust: &RustCode) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = rust.lines_without_tests();
    if lines > FILE_LINES {
        let text = format!("has {lines} lines before its tests, more than {FILE_LINES}");
        findings.push(Finding::new(path, text));
    }
    for function in functions(rust.code()) {
        if function.lines > FUNCTION_LINES {
            let Function { name, line, lines } = function;
            let text = format!("function `{name}` has {lines} lines, more than {FUNCTION_LINES}");
            findings.push(Finding::at(path, line, text));
        }
    }
    findings
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The functions with a body, nested ones included.
fn functions(code: &str) -> Vec<Function<'_>> {
    let tokens = tokens(code);
    let found = tokens.windows(2).filter_map(|pair| {
        // `fn(` is a type and has no body.
        if pair[0].text != "fn" || !pair[1].is_identifier() {
            return None;
        }
        let body = body_start(code, pair[1].offset)?;
        let end = closing(code.as_bytes(), body);
        let line = line_of(code, pair[0].offset);
        Some(Function { name: pair[1].text, line, lines: line_of(code, end) - line + 1 })
    });
    found.collect()
}

/// The brace that opens the body; none for a declaration without one.
fn body_start(code: &str, from: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => return Some(at),
            b';' => return None,
            b'(' | b'[' => at = closing(bytes, at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let repository = Repository::from_texts([("crates/c/Cargo.toml", ""), (path, text)]);
        let found: Vec<String> = super::check(&repository).iter().map(Finding::to_string).collect();
        assert_eq!(found, expected);
    }

    fn function(lines: usize) -> String {
        format!("fn f(a: [u8; 2])\nwhere\n    A: B,\n{{{}}}\n", "\n".repeat(lines - 4))
    }

    #[test]
    fn the_longest_allowed_function_passes_and_one_line_more_is_found() {
        check("crates/c/src/a.rs", &format!("//! A.\n{}", function(70)), &[]);
        let expected = "crates/c/src/a.rs:2: function `f` has 71 lines, more than 70";
        check("crates/c/src/a.rs", &format!("//! A.\n{}", function(71)), &[expected]);
    }

    #[test]
    fn every_long_function_is_found_but_no_declaration_and_no_test() {
        let two = format!("//! A.\nfn g();\n{}{}", function(72), function(73));
        let found = check_lengths("a.rs", &RustCode::new(&two));
        assert_eq!(found.len(), 2);
        let test = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", function(99));
        assert_eq!(check_lengths("a.rs", &RustCode::new(&test)), []);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(99));
        check("crates/c/src/a.rs", &format!("//! A.{}\n{tests}", "\n".repeat(599)), &[]);
        let expected = "crates/c/src/a.rs: has 601 lines before its tests, more than 600";
        check("crates/c/src/a.rs", &format!("//! A.{}\n{tests}", "\n".repeat(600)), &[expected]);
    }

    #[test]
    fn a_file_without_a_first_line_is_found() {
        check(
            "benches/a.rs",
            "fn a() {}\n",
            &["benches/a.rs:1: begins without `//! ` and what the file is"],
        );
    }
}
