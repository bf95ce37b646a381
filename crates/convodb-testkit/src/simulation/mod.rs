//! Simulated disk: power cuts, lost syncs and I/O errors below the whole engine.
//!
//! A trial is a function of its seed. It runs a workload on a store whose disk fails, opens the
//! store again, and compares it with the oracle. An error is a violation of a promise; its text has
//! the seed, the workload and the calls that the disk received.

mod checker;
mod directory;
mod disk;
mod fault;
mod inode;
mod runner;
pub mod scenarios;
mod workload;

pub use disk::SimulatedDisk;
pub use fault::{InjectedFault, Schedule};
