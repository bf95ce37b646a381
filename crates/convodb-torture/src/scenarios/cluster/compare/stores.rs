//! What the parts of the comparison share.

use crate::scenario::Violation;

/// The names of the stores, in the order of all results.
pub(super) const STORES: [&str; 3] = ["embedded store", "PostgreSQL", "Patroni, strict quorum"];

/// A result of the benchmark's library.
pub(super) fn of_bench<T>(result: anyhow::Result<T>) -> Result<T, Violation> {
    result.map_err(|error| Violation::new(format!("{error:#}")))
}
