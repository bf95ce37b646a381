//! The proofs of convodb: each module takes one promise.

mod contract;
mod cost;
mod cursors;
mod history;
mod live;
mod tidy;
mod walk;
mod world;
