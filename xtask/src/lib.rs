//! Repository checks: layers and import cycles, containment, names, words, documents, licences.
//!
//! `cargo xtask tidy` and `cargo xtask licences` print findings; `cargo test` runs the same checks.
//! The rules' data is in `lists.rs` and `banned.rs`. A new rule is a module of `checks/`.

pub mod banned;
pub mod checks;
pub mod cycles;
pub mod finding;
pub mod lists;
pub mod source;
