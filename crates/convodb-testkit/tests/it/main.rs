//! The proofs of convodb: each module takes one promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod cost;
mod crash;
mod cursors;
mod history;
mod live;
mod tidy;
mod walk;
mod world;
