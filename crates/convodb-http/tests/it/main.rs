//! The real server on a loopback socket, asked by a client that sees every byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod cursors;
mod list;
mod parameters;
mod protocol;
mod world;
