//! What convodb is tested and measured with: generators, the oracle, histories of both, and
//! the proofs of `tests/it`.

pub mod crash;
pub mod crowd;
pub mod dataset;
pub mod erasure;
pub mod golden;
pub mod history;
pub mod oracle;
pub mod page_client;
pub mod strategies;
pub mod turns;
pub mod walk;
pub mod world;
