//! The real server on a loopback socket, asked by a client that sees every byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod body;
mod changes;
mod client;
mod conversation;
mod cursors;
mod docs;
mod fault;
mod hostile;
mod limits;
mod list;
mod once;
mod oneshot;
mod openapi;
mod parameters;
mod privacy;
mod probes;
mod protocol;
mod stats;
mod transfer;
mod world;
