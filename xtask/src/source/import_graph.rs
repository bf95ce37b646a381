//! Import graph of a crate: which file names which, from `crate::`, `super::`, `self::` and child
//! paths.
//!
//! A path is resolved to the file that defines the item: `crate::a::Item` leads to `a/b.rs` if
//! `a/mod.rs` contains `pub use b::Item`. Comments, literals and test code do not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::repository::TextFile;
use crate::source::rust_code::{RustCode, line_of};
use crate::source::tokens::{Token, tokens};

/// A use of one file by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The importing file, as a path below `src/`.
    pub from: String,
    /// The file that defines what is imported.
    pub to: String,
    /// The line of the first such import in `from`.
    pub line: usize,
}

/// The imports between the files of a crate, one for each pair of files.
///
/// Roots (`lib.rs`, `main.rs`) may import everything, so their imports are left out. A `mod.rs` may
/// re-export what is inside its folder, so `pub use` of its own children is left out.
pub fn imports(files: &BTreeMap<&str, &TextFile>) -> Vec<Import> {
    let tests = test_files(files);
    let modules = Modules::new(files, &tests);
    let mut found: BTreeMap<(String, String), Import> = BTreeMap::new();
    for (file, module) in modules.files.iter().filter(|(_, module)| !module.path.is_empty()) {
        for used in &module.paths {
            let Some(to) = modules.resolve(&used.path, 0) else { continue };
            let is_inside = modules.files[to].path.starts_with(&module.path);
            if to == *file || (used.is_reexport && is_inside) {
                continue;
            }
            let key = ((*file).to_owned(), to.to_owned());
            let import = Import { from: key.0.clone(), to: key.1.clone(), line: used.line };
            found.entry(key).or_insert(import);
        }
    }
    found.into_values().collect()
}

/// The files that exist only for tests: declared under `#[cfg(test)]`, or below such a module.
pub fn test_files<'a>(files: &BTreeMap<&'a str, &TextFile>) -> BTreeSet<&'a str> {
    let mut stems = Vec::new();
    for (path, file) in files {
        let Some(rust) = &file.rust else { continue };
        if rust.test_items().iter().any(|range| *range == (0..rust.code().len())) {
            stems.push(path.trim_end_matches(".rs").to_owned());
        }
        for range in rust.test_items() {
            stems.extend(declared_file(
                path,
                &file.text[range.clone()],
                &rust.with_tests()[range.clone()],
            ));
        }
    }
    let is_test = |path: &&str| {
        let path = path.trim_end_matches(".rs");
        stems.iter().any(|stem| path == stem || path.starts_with(&format!("{stem}/")))
    };
    files.keys().copied().filter(is_test).collect()
}

/// The file, without its extension, that an item of the form `mod name;` declares.
fn declared_file(path: &str, text: &str, code: &str) -> Option<String> {
    let words = tokens(code);
    let at = words.windows(3).position(|three| three[0].text == "mod" && three[2].text == ";")?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let join = |folder: &str, name: &str| {
        if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
    };
    if let Some((_, explicit)) = text.split_once("#[path = \"") {
        return Some(join(folder, explicit.split(".rs\"").next()?));
    }
    let module = module_path(path).join("/");
    Some(join(&module, words[at + 1].text))
}

/// The module of a file: `a/b.rs` and `a/b/mod.rs` are `a::b`, `lib.rs` and `main.rs` the root.
fn module_path(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if ["lib", "main", "mod"].contains(&stem) {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

/// A path in a file, made absolute.
struct UsedPath {
    path: Vec<String>,
    line: usize,
    is_reexport: bool,
}

struct Module {
    path: Vec<String>,
    paths: Vec<UsedPath>,
    /// The names that `use` brings into the module, with their absolute paths.
    names: BTreeMap<String, Vec<String>>,
}

struct Modules<'a> {
    files: BTreeMap<&'a str, Module>,
    by_path: BTreeMap<Vec<String>, &'a str>,
}

impl<'a> Modules<'a> {
    fn new(files: &BTreeMap<&'a str, &TextFile>, tests: &BTreeSet<&str>) -> Self {
        let mut by_path = BTreeMap::new();
        for file in files.keys().filter(|file| !tests.contains(*file)) {
            // `lib.rs` comes before `main.rs` and is the crate that other files name.
            by_path.entry(module_path(file)).or_insert(*file);
        }
        let files = files
            .iter()
            .filter(|(file, _)| !tests.contains(*file))
            .filter_map(|(file, text)| {
                let path = module_path(file);
                let is_child = |name: &str| {
                    let child = [path.as_slice(), &[name.to_owned()]].concat();
                    by_path.contains_key(&child)
                };
                let mut reader = PathReader::new(text.rust.as_ref()?, &path, &is_child);
                reader.read();
                let PathReader { paths, names, .. } = reader;
                Some((*file, Module { path, paths, names }))
            })
            .collect();
        Modules { files, by_path }
    }

    /// The file that defines a path, following re-exports; none for a path outside the crate.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&'a str> {
        let mut length = 0;
        while length < path.len() && self.by_path.contains_key(&path[..=length]) {
            length += 1;
        }
        let file = *self.by_path.get(&path[..length])?;
        let alias = path.get(length).and_then(|name| self.files.get(file)?.names.get(name));
        match alias {
            // Two re-exports that name each other do not compile; the bound is for broken input.
            Some(target) if depth < 16 && target.as_slice() != path => {
                let target = [target.as_slice(), &path[length + 1..]].concat();
                self.resolve(&target, depth + 1)
            }
            _ => Some(file),
        }
    }
}

/// Reads the paths of one file.
struct PathReader<'a> {
    code: &'a str,
    tokens: Vec<Token<'a>>,
    module: &'a [String],
    is_child: &'a dyn Fn(&str) -> bool,
    /// The inline modules around the current token, with the depth of braces inside each.
    inline: Vec<(String, usize)>,
    paths: Vec<UsedPath>,
    names: BTreeMap<String, Vec<String>>,
}

impl<'a> PathReader<'a> {
    fn new(rust: &'a RustCode, module: &'a [String], is_child: &'a dyn Fn(&str) -> bool) -> Self {
        let code = rust.code();
        let (inline, paths, names) = Default::default();
        PathReader { code, tokens: tokens(code), module, is_child, inline, paths, names }
    }

    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn read(&mut self) {
        let (mut at, mut depth) = (0, 0_usize);
        while at < self.tokens.len() {
            match self.text(at) {
                "use" => {
                    let is_reexport = self.is_public(at);
                    at = self.read_tree(at + 1, &[], Some(is_reexport));
                    continue;
                }
                "mod" if self.text(at + 2) == "{" => {
                    self.inline.push((self.text(at + 1).to_owned(), depth + 1));
                }
                "{" => depth += 1,
                "}" => {
                    if self.inline.last().is_some_and(|(_, inside)| *inside == depth) {
                        self.inline.pop();
                    }
                    depth = depth.saturating_sub(1);
                }
                _ if self.begins_path(at) => {
                    at = self.read_tree(at, &[], None);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Whether `pub` or `pub(…)` precedes a token.
    fn is_public(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| self.text(at));
        before(1) == "pub" || (before(1) == ")" && (2..8).any(|back| before(back) == "pub"))
    }

    fn begins_path(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| self.text(at));
        let follows_path = ["::", "."].contains(&before(1));
        // `pub(in crate::a)` limits who sees an item and imports nothing.
        let is_visibility = before(1) == "in" && before(2) == "(";
        !follows_path
            && !is_visibility
            && self.text(at + 1) == "::"
            && self.tokens[at].is_identifier()
    }

    /// Reads a path with its braces and returns the index of the token behind it. `declared` says
    /// that the path belongs to a `use`, and whether that one is public.
    fn read_tree(&mut self, at: usize, prefix: &[String], declared: Option<bool>) -> usize {
        let mut path = prefix.to_vec();
        let mut at = at;
        let start = at;
        loop {
            match self.text(at) {
                "{" => {
                    at += 1;
                    while !["}", ""].contains(&self.text(at)) {
                        at = self.read_tree(at, &path, declared);
                        at += usize::from(self.text(at) == ",");
                    }
                    return at + 1;
                }
                // `::std` in front of a path from the root of all crates.
                "::" if path.is_empty() => return at + 1,
                "*" => at += 1,
                _ if self.tokens.get(at).is_some_and(Token::is_identifier) => {
                    path.push(self.text(at).to_owned());
                    at += 1;
                    let is_longer = self.text(at) == "::"
                        && (self.tokens.get(at + 1).is_some_and(Token::is_identifier)
                            || (declared.is_some() && ["{", "*"].contains(&self.text(at + 1))));
                    if is_longer {
                        at += 1;
                        continue;
                    }
                }
                _ => return at.max(start + 1),
            }
            break;
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if declared.is_some() && self.text(at) == "as" {
            name = self.text(at + 1).to_owned();
            at += 2;
        }
        self.record(&path, name, start, declared);
        at
    }

    fn record(&mut self, path: &[String], name: String, start: usize, declared: Option<bool>) {
        let Some(absolute) = self.absolute(path) else { return };
        let offset = self.tokens.get(start).map_or(0, |token| token.offset);
        let line = line_of(self.code, offset);
        if declared.is_some() && self.inline.is_empty() {
            self.names.insert(name, absolute.clone());
        }
        self.paths.push(UsedPath { path: absolute, line, is_reexport: declared == Some(true) });
    }

    /// The path from the root of the crate; none for a path into another crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let inline = self.inline.iter().map(|(name, _)| name.clone());
        let mut base: Vec<String> = self.module.iter().cloned().chain(inline).collect();
        match path.first()?.as_str() {
            "crate" => base.clear(),
            "self" | "super" => {}
            child if self.inline.is_empty() && (self.is_child)(child) => {
                base.push(child.to_owned());
            }
            _ => return None,
        }
        // The first segment that is a child's name was pushed; the others are `crate`, `self`,
        // `super`.
        let skipped = usize::from(!["self", "super"].contains(&path[0].as_str()));
        for segment in &path[skipped..] {
            match segment.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::repository::Repository;

    /// Checks the imports of a crate, printed as `from -> to`.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let paths: Vec<(String, &str)> =
            files.iter().map(|(path, text)| (format!("c/src/{path}"), *text)).collect();
        let repository =
            Repository::from_texts(paths.iter().map(|(path, text)| (path.as_str(), *text)));
        let found: Vec<String> = imports(&repository.crate_sources("c"))
            .iter()
            .map(|import| format!("{} -> {}", import.from, import.to))
            .collect();
        assert_eq!(found, expected);
    }

    const EMPTY: &str = "";

    #[test]
    fn nested_braces_and_inline_paths_are_imports() {
        let a = "use crate::{b::{self, X}, d::{c::Y as Z, e::{F, G}}};\nfn f() { crate::h::g(); }";
        let files = [("a.rs", a), ("b.rs", EMPTY), ("d/mod.rs", EMPTY), ("d/c.rs", EMPTY)];
        let rest = [("d/e.rs", EMPTY), ("h.rs", EMPTY), ("lib.rs", EMPTY)];
        let expected = ["a.rs -> b.rs", "a.rs -> d/c.rs", "a.rs -> d/e.rs", "a.rs -> h.rs"];
        check(&[files.as_slice(), &rest].concat(), &expected);
    }

    #[test]
    fn comments_strings_and_tests_are_not_imports() {
        let a = "//! [`crate::b`]\nconst S: &str = \"crate::b::X\";\n#[cfg(test)]\nmod tests { use crate::b::X; }";
        check(&[("a.rs", a), ("b.rs", EMPTY)], &[]);
    }

    #[test]
    fn files_of_test_modules_are_not_read() {
        let a = "#[cfg(test)]\nmod a_tests;\n#[cfg(test)]\n#[path = \"more.rs\"]\nmod tests;";
        let files = [("a.rs", a), ("a/a_tests.rs", "use crate::b::X;"), ("b.rs", EMPTY)];
        check(&[files.as_slice(), &[("more.rs", "use crate::b::X;")]].concat(), &[]);
    }

    #[test]
    fn a_reexport_leads_to_the_file_that_defines_the_item() {
        let files = [
            ("d/mod.rs", "mod e;\nmod f;\npub use e::X;\npub(crate) use f::{Y as Z};"),
            ("d/e.rs", EMPTY),
            ("d/f.rs", "use super::X;"),
            ("g.rs", "use crate::d::{X, Z};\nuse crate::X;"),
            ("lib.rs", "mod d;\nmod g;\npub use d::X;"),
        ];
        check(&files, &["d/f.rs -> d/e.rs", "g.rs -> d/e.rs", "g.rs -> d/f.rs"]);
    }

    #[test]
    fn a_mod_file_that_uses_its_children_imports_them() {
        let files = [("d/mod.rs", "mod e;\nfn f() { e::g(); }"), ("d/e.rs", "use super::f;")];
        check(&files, &["d/e.rs -> d/mod.rs", "d/mod.rs -> d/e.rs"]);
    }

    #[test]
    fn super_of_an_inline_module_is_the_file_itself() {
        let files = [("d/mod.rs", EMPTY), ("d/e.rs", "mod inner { use super::X; }\nuse super::Y;")];
        check(&files, &["d/e.rs -> d/mod.rs"]);
    }

    #[test]
    fn an_item_of_the_root_is_an_import_of_the_root() {
        check(&[("a.rs", "use crate::X;"), ("lib.rs", "pub struct X;")], &["a.rs -> lib.rs"]);
    }
}
