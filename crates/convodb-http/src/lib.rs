//! Serves a convodb store over HTTP.
mod error;
pub mod item;
mod json;
