//! Checks of the repository: code style, dependencies, layers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod floors;
mod supply;
mod tidy;
