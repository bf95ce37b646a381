//! Integration tests: a running server on a loopback socket, and a client that sees every byte.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod backend;
mod body;
mod caching;
mod changes;
mod client;
mod console;
mod console_list;
mod console_tokens;
mod conversation;
mod cursors;
mod disk_fault;
mod docs;
mod events;
mod harness;
mod idempotency;
mod in_process;
mod last_activity;
mod limits;
mod list;
mod malformed_requests;
mod openapi;
mod openapi_rules;
mod parameters;
mod privacy;
mod probes;
mod protocol;
mod stats;
mod tokens;
mod transfer;
mod user;
