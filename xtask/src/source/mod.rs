//! Source reading: the repository's text files, Rust without comments and literals, imports.

pub mod import_graph;
pub mod repository;
pub mod rust_code;
pub mod tokens;
