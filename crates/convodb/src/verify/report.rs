//! What an audit says: counts, and the faults that it found.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::id::UserId;

/// The most faults that are listed; all are counted.
const LISTED: usize = 100;

/// What an audit found.
///
/// ```
/// let store = convodb::Store::in_memory()?;
/// let report = store.snapshot().verify_with_progress(|done, of| println!("{done} of {of}"))?;
/// for finding in &report.findings {
///     println!("{finding}");
/// }
/// assert!(report.is_clean());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Conversations.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Index entries.
    pub entries: u64,
    /// Changes of the feed.
    pub changes: u64,
    /// Metrics.
    pub counters: u64,
    /// The first faults, at most 100.
    pub findings: Vec<Finding>,
    /// How many faults there are.
    pub finding_count: u64,
}

/// Something that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The table, by its name on disk.
    pub table: &'static str,
    /// What does not hold.
    pub what: &'static str,
    /// Whose data it is; number 0 where it is nobody's.
    pub user: UserId,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (user {})", self.table, self.what, self.user)
    }
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.finding_count == 0
    }

    pub(crate) fn fault(&mut self, table: &'static str, what: &'static str, user: UserId) {
        self.finding_count += 1;
        if self.findings.len() < LISTED {
            self.findings.push(Finding { table, what, user });
        }
    }

    /// What a look-up found. Damage that it met is a fault of the user's, and nothing was found; any
    /// other error ends the audit.
    pub(crate) fn found<T>(
        &mut self,
        looked_up: Result<Option<T>>,
        user: UserId,
    ) -> Result<Option<T>> {
        match looked_up {
            Err(Error::Corrupted { table, what }) => {
                self.fault(table, what, user);
                Ok(None)
            }
            other => other,
        }
    }
}
