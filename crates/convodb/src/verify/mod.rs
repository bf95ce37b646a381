//! Verification: a full audit of a store, and set hashes that compare tables in one pass.

pub(crate) mod accounts;
pub(crate) mod change_feed;
pub(crate) mod conversations;
pub(crate) mod report;
pub(crate) mod set_hash;
#[cfg(test)]
mod verify_tests;

use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::verify::report::VerifyReport;

impl Snapshot {
    /// Reads everything and reports what does not hold: damaged records, missing, extra or wrong
    /// index entries, wrong counters, messages and ids without a row. `progress` is told how many
    /// of how many entries are checked. Reads the whole store: about ten seconds for a million rows.
    ///
    /// # Errors
    /// A fault of the store that keeps it from being read at all.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with_progress(|_, _| {})
    }

    /// [`Snapshot::verify`], which calls `progress` with the number of entries checked and the
    /// approximate total.
    ///
    /// # Errors
    /// As [`Snapshot::verify`].
    pub fn verify_with_progress(&self, progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
        conversations::verify(&self.state().tables, self.state().fingerprinter(), progress)
    }
}
