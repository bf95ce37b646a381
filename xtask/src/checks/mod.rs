//! The checks of `cargo xtask tidy`: each module is one rule and returns its findings.

pub mod containment;
pub mod documents;
pub mod layers;
pub mod licences;
pub mod manifests;
pub mod names;
pub mod shape;
pub mod words;

use crate::finding::Finding;
use crate::lists;
use crate::source::repository::Repository;

/// Every check of the sources, manifests and documents, ordered by place.
pub fn tidy(repository: &Repository) -> Vec<Finding> {
    let mut findings = layers::check(repository, lists::LAYERS);
    findings.extend(containment::check(repository, lists::ENGINE, lists::CONTAINMENT));
    findings.extend(containment::check_places(repository, lists::ENGINE, lists::CONTAINMENT));
    findings.extend(shape::check(repository));
    findings.extend(names::check(repository));
    findings.extend(words::check(repository));
    findings.extend(documents::check(repository));
    findings.extend(manifests::check(repository));
    findings.sort();
    findings
}
