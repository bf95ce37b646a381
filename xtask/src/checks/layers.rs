//! Layer order: files import from their own layer and from lower ones, and no files form a cycle.

use std::collections::{BTreeMap, BTreeSet};

use crate::cycles::{Graph, cycles};
use crate::finding::Finding;
use crate::lists::LayeredCrate;
use crate::source::import_graph::{Import, imports, test_files};
use crate::source::repository::Repository;

/// Checks every crate of the list, and that every crate of the repository is in it.
pub fn check(repository: &Repository, crates: &[LayeredCrate]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        crates.iter().flat_map(|layered| check_crate(repository, layered)).collect();
    for folder in repository.crate_folders() {
        if crates.iter().all(|layered| layered.folder != folder) {
            findings.push(Finding::new(folder, "has no layers in xtask/src/lists.rs"));
        }
    }
    findings
}

/// Checks the imports of one crate.
pub fn check_crate(repository: &Repository, layered: &LayeredCrate) -> Vec<Finding> {
    let src = format!("{}/src", layered.folder);
    let sources = repository.crate_sources(layered.folder);
    let tests = test_files(&sources);
    let files: BTreeSet<&str> = sources.keys().copied().filter(|f| !tests.contains(f)).collect();
    let mut findings = check_list(&src, &files, layered);
    let imports = imports(&sources);
    findings.extend(imports.iter().filter_map(|import| check_import(&src, import, layered)));
    findings.extend(check_cycles(&src, &imports));
    findings
}

/// How many files' imports lead from one folder or root file of a crate to another.
pub fn folder_imports(
    repository: &Repository,
    layered: &LayeredCrate,
) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for import in imports(&repository.crate_sources(layered.folder)) {
        let (Some(from), Some(to)) = (unit(&import.from), unit(&import.to)) else { continue };
        if from != to {
            *counts.entry((from.to_owned(), to.to_owned())).or_default() += 1;
        }
    }
    counts
}

/// The folder or root file of `src/` that a file belongs to; none for the root of the crate.
fn unit(file: &str) -> Option<&str> {
    let unit = file.split_once('/').map_or(file.trim_end_matches(".rs"), |(folder, _)| folder);
    (unit != "lib" && unit != "main").then_some(unit)
}

/// The height of a folder or root file; the root of the crate is above all layers. A unit in no
/// layer is a finding of its own and has no height.
fn height(layered: &LayeredCrate, unit: Option<&str>) -> Option<usize> {
    match unit {
        Some(unit) => layered.layers.iter().position(|layer| layer.contains(&unit)),
        None => Some(layered.layers.len()),
    }
}

/// Checks that the list and the folders of `src/` are the same.
fn check_list(src: &str, files: &BTreeSet<&str>, layered: &LayeredCrate) -> Vec<Finding> {
    let listed: BTreeSet<&str> = layered.layers.iter().copied().flatten().copied().collect();
    let units: BTreeSet<&str> = files.iter().filter_map(|file| unit(file)).collect();
    let unlisted = units
        .difference(&listed)
        .map(|unit| Finding::new(format!("{src}/{unit}"), "is in no layer of xtask/src/lists.rs"));
    let missing = listed.difference(&units).map(|unit| {
        Finding::new(format!("{src}/{unit}"), "is in the layers of xtask/src/lists.rs, but no file")
    });
    unlisted.chain(missing).collect()
}

fn check_import(src: &str, import: &Import, layered: &LayeredCrate) -> Option<Finding> {
    let (from, to) = (unit(&import.from), unit(&import.to));
    if height(layered, to)? <= height(layered, from)? {
        return None;
    }
    let place = format!("{src}/{}", import.from);
    let text = format!("imports `{}`, which is in a higher layer", import.to);
    Some(Finding::at(&place, import.line, text))
}

fn check_cycles(src: &str, imports: &[Import]) -> Vec<Finding> {
    let mut graph = Graph::new();
    for import in imports {
        graph.entry(&import.from).or_default().insert(&import.to);
    }
    let cycles = cycles(&graph);
    let finding = |cycle: &Vec<&str>| {
        Finding::new(format!("{src}/{}", cycle[0]), format!("import cycle: {}", cycle.join(" -> ")))
    };
    cycles.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: LayeredCrate =
        LayeredCrate { folder: "c", layers: &[&["error", "metrics"], &["model"], &["store"]] };

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let rest = [("error.rs", ""), ("metrics.rs", ""), ("model/mod.rs", ""), ("store.rs", "")];
        let paths: Vec<(String, &str)> =
            rest.iter().chain(files).map(|(path, text)| (format!("c/src/{path}"), *text)).collect();
        let texts = paths.iter().map(|(path, text)| (path.as_str(), *text));
        let findings = check_crate(&Repository::from_texts(texts), &LAYERS);
        let found: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn imports_downward_and_inside_a_layer_are_allowed() {
        check(&[("store.rs", "use crate::{error::E, model::id::Id};"), ("model/id.rs", "")], &[]);
        check(&[("error.rs", "use crate::metrics::M;")], &[]);
        check(&[("model/id.rs", "use super::text::T;"), ("model/text.rs", "")], &[]);
    }

    #[test]
    fn an_import_upward_is_found() {
        let expected = "c/src/model/id.rs:2: imports `store.rs`, which is in a higher layer";
        check(&[("model/id.rs", "//! Id.\nuse crate::store::Store;")], &[expected]);
    }

    #[test]
    fn only_the_root_may_import_the_root() {
        let expected = "c/src/store.rs:1: imports `lib.rs`, which is in a higher layer";
        check(
            &[("lib.rs", "use store::X;\nstruct Y;"), ("store.rs", "use crate::Y;")],
            &[expected],
        );
    }

    #[test]
    fn a_cycle_of_files_inside_a_layer_is_found() {
        let files =
            [("error.rs", "use crate::metrics::M;"), ("metrics.rs", "use crate::error::E;")];
        check(&files, &["c/src/error.rs: import cycle: error.rs -> metrics.rs -> error.rs"]);
        let files = [
            ("model/a.rs", "use crate::model::b::B;"),
            ("model/b.rs", "use super::c::C;"),
            ("model/c.rs", "fn f() { crate::model::a::g(); }"),
        ];
        let expected = "import cycle: model/a.rs -> model/b.rs -> model/c.rs -> model/a.rs";
        check(&files, &[&format!("c/src/model/a.rs: {expected}")]);
    }

    #[test]
    fn every_folder_is_in_one_layer_and_every_layer_exists() {
        let found = check_crate(
            &Repository::from_texts([("c/src/error.rs", ""), ("c/src/kv/mod.rs", "")]),
            &LayeredCrate { folder: "c", layers: &[&["error"], &["model"]] },
        );
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["c/src/kv", "c/src/model"]);
    }

    #[test]
    fn a_crate_without_layers_is_found() {
        let repository = Repository::from_texts([("crates/new/Cargo.toml", "")]);
        let found = super::check(&repository, &[]);
        assert_eq!(found[0].place, "crates/new");
    }
}
