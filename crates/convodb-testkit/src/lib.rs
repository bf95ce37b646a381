//! Test kit of convodb: reference model, generators, datasets, a simulated disk, and test clients.
//!
//! * [`oracle`] is the reference model: a plain list, filtered and sorted for each query.
//! * [`harness`] pairs a store with the oracle; [`operations`] runs random operations on the pair.
//! * [`page_walk`] and [`live_walk`] read lists page by page and compare every page.
//! * [`list_bounds`] measures the worst page and count of each list among removals and moves.
//! * [`generators`] and [`dataset`] create the input: small and colliding, or large and realistic.
//! * [`simulation`] runs the engine on a disk in memory that loses power, fails, or drops syncs.
//! * [`golden`] contains stores that released versions wrote; [`erasure`] searches files for erased
//!   bytes; [`slow_clients`] measures a server under idle and slow clients; [`wait`] bounds what tests
//!   wait for.

pub mod erasure;
pub mod generators;
pub mod golden;
pub mod harness;
pub mod http_client;
pub mod list_bounds;
pub mod live_walk;
pub mod operations;
pub mod oracle;
pub mod page_walk;
pub mod simulation;
pub mod slow_clients;
pub mod wait;

pub use convodb_bench::dataset;
