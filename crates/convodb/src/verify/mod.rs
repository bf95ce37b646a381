//! Verification: a full check of a store, and set hashes that compare tables in one pass.

pub(crate) mod accounts;
pub(crate) mod change_feed;
pub(crate) mod conversations;
pub(crate) mod message_count;
pub(crate) mod report;
pub(crate) mod set_hash;
#[cfg(test)]
mod verify_tests;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::tables::Tables;
use crate::verify::report::{Progress, VerifyReport};

impl Snapshot {
    /// Reads the whole store and reports what is inconsistent: damaged records; missing, extra or
    /// wrong index entries and counters; ids, messages, numbers, names and tokens without their
    /// row; gaps in a change feed; and rows that a lookup does not find. Takes about ten seconds
    /// for a million conversations, and memory for all counters of the store.
    ///
    /// # Errors
    /// A fault of the store that prevents reading it. Damage that allows further reading is part of
    /// the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with_progress(|_, _| {})
    }

    /// [`Snapshot::verify`], which calls `progress` with the number of entries checked and the
    /// approximate total.
    ///
    /// # Errors
    /// As [`Snapshot::verify`].
    pub fn verify_with_progress(&self, progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
        verify(&self.state().tables, self.state().fingerprinter(), progress)
    }
}

/// Verifies a committed state.
pub(crate) fn verify(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    progress: impl FnMut(u64, u64),
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let mut progress = Progress::new(count(tables)?, progress);
    conversations::verify(tables, fingerprinter, &mut report, &mut progress)?;
    change_feed::verify(tables, &mut report, &mut progress)?;
    accounts::verify(tables, &mut report)?;
    progress.finish();
    Ok(report)
}

/// The approximate number of entries that count as progress.
fn count(tables: &Tables) -> Result<u64> {
    let conversations = &tables.conversations;
    let mut count = conversations.rows.estimate()? + conversations.ids.estimate()?;
    count += tables.messages.table.estimate()?;
    count += tables.change_feed.changes.estimate()? + tables.idempotency.table.estimate()?;
    for leading in Field::ALL {
        count += tables.indexes.get(leading).estimate()?;
    }
    Ok(count)
}
