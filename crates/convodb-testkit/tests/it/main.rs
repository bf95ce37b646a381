//! The proofs of convodb: each module takes one promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod cost;
mod crash;
mod cursors;
mod erasure;
mod feed;
mod history;
mod live;
mod report;

use convodb_testkit::{walk, world};
