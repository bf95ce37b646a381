//! The awaited store, on a runtime of one thread unless a test says otherwise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod closing;
mod harness;
mod streams;
mod writes;
