//! Integration tests of the command: run the real binary as a person or a script would.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod changes;
mod command;
mod documents;
mod golden;
mod import;
mod import_api;
mod indexes;
mod list;
mod maintenance;
mod refused_writes;
mod report;
mod serve;
mod show;
mod slow_clients;
mod tokens;
mod transcript;
mod users;
