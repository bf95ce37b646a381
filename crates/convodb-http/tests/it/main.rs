//! The real server on a loopback socket, asked by a client that sees every byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod body;
mod client;
mod conversation;
mod cursors;
mod fault;
mod hostile;
mod limits;
mod list;
mod oneshot;
mod parameters;
mod privacy;
mod probes;
mod protocol;
mod transfer;
mod world;
