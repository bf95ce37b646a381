//! What convodb is tested and measured with: generators, the oracle, and the proofs of `tests/it`.

pub mod crowd;
pub mod dataset;
pub mod oracle;
pub mod page_client;
pub mod strategies;
