//! The checks of this repository, as tests: what `cargo xtask tidy` and `cargo xtask licences` run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use xtask::checks::{containment, documents, layers, licences, manifests, names, shape, words};
use xtask::finding::Finding;
use xtask::lists;
use xtask::source::repository::Repository;

fn repository() -> Repository {
    Repository::read(&Repository::root()).unwrap()
}

#[track_caller]
fn check(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn imports_go_to_lower_layers_and_form_no_cycle() {
    check(&layers::check(&repository(), lists::LAYERS));
}

#[test]
fn contained_names_stay_in_their_folders() {
    check(&containment::check(&repository(), lists::ENGINE, lists::CONTAINMENT));
}

#[test]
fn files_and_functions_have_readable_lengths_and_a_first_line() {
    check(&shape::check(&repository()));
}

#[test]
fn type_names_are_specific_and_nothing_is_unfinished() {
    check(&names::check(&repository()));
}

#[test]
fn texts_contain_no_banned_words() {
    check(&words::check(&repository()));
}

#[test]
fn documents_name_every_folder_and_table() {
    check(&documents::check(&repository()));
}

#[test]
fn no_crate_allows_unsafe_code() {
    check(&manifests::check(&repository()));
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    check(&licences::check_licences(&Repository::root(), &repository()).unwrap());
}

#[test]
fn every_dependency_comes_from_the_registry() {
    check(&licences::check_sources(&repository()));
}

#[test]
fn the_engine_has_few_dependencies() {
    check(&licences::check_engine(&Repository::root()).unwrap());
}
