//! Runs the real binary as a person or a script would.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod command;
mod crowd;
mod golden;
mod import;
mod list;
mod migrate;
mod serve;
mod upkeep;
