//! Integration tests of the async API, on a single-threaded runtime unless a test says otherwise.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod changes;
mod closing;
mod commits;
mod harness;
mod streams;
mod writes;
