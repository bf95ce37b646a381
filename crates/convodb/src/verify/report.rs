//! Verification report: counts, findings and warnings.

use std::fmt;

use crate::error::{Error, Result};
use crate::model::id::UserId;

/// The most findings, and the most warnings, that a report lists. It counts all of them.
const MAX_LISTED: usize = 100;
/// Progress is reported once for this many entries.
const PROGRESS_INTERVAL: u64 = 4096;

/// The result of [`Snapshot::verify`](crate::Snapshot::verify).
///
/// ```
/// let store = convodb::Store::in_memory()?;
/// let report = store.snapshot().verify()?;
/// for finding in &report.findings {
///     println!("{finding}");
/// }
/// assert!(report.is_clean());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct VerifyReport {
    /// The number of conversations.
    pub conversations: u64,
    /// The number of messages.
    pub messages: u64,
    /// The number of index entries.
    pub entries: u64,
    /// The number of changes in all feeds.
    pub changes: u64,
    /// The number of counters.
    pub counters: u64,
    /// The first inconsistencies, at most 100.
    pub findings: Vec<Finding>,
    /// The number of all inconsistencies.
    pub finding_count: u64,
    /// The first conversations, at most 100, with values that an update refuses, but an insert
    /// stores as they are: `updated_at` before `created_at`, or a negative `total_cost`. They are
    /// consistent, so they do not affect [`VerifyReport::is_clean`].
    pub warnings: Vec<Finding>,
    /// The number of all such values.
    pub warning_count: u64,
}

/// An inconsistency, or a value that an update refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Finding {
    /// The table, by its name on disk.
    pub table: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The user whose data it is; number 0 if it belongs to no known user.
    pub user: UserId,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (user {})", self.table, self.what, self.user)
    }
}

impl VerifyReport {
    /// Whether nothing is inconsistent. Warnings do not count.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.finding_count == 0
    }

    pub(crate) fn add_finding(&mut self, table: &'static str, what: &'static str, user: UserId) {
        self.finding_count += 1;
        if self.findings.len() < MAX_LISTED {
            self.findings.push(Finding { table, what, user });
        }
    }

    pub(crate) fn add_warning(&mut self, table: &'static str, what: &'static str, user: UserId) {
        self.warning_count += 1;
        if self.warnings.len() < MAX_LISTED {
            self.warnings.push(Finding { table, what, user });
        }
    }

    /// Adds what another part found.
    pub(crate) fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.messages += other.messages;
        self.entries += other.entries;
        self.changes += other.changes;
        self.counters += other.counters;
        self.findings.extend(other.findings);
        self.findings.truncate(MAX_LISTED);
        self.finding_count += other.finding_count;
        self.warnings.extend(other.warnings);
        self.warnings.truncate(MAX_LISTED);
        self.warning_count += other.warning_count;
    }

    /// The result of a lookup. Reports damage as a finding of the user and returns `None` for it;
    /// any other error ends the verification.
    pub(crate) fn found<T>(
        &mut self,
        lookup: Result<Option<T>>,
        user: UserId,
    ) -> Result<Option<T>> {
        match lookup {
            Err(Error::Corrupted { table, what }) => {
                self.add_finding(table, what, user);
                Ok(None)
            }
            other => other,
        }
    }
}

/// Counts the entries of one part of a verification, and reports them now and then.
pub(crate) struct Ticker<'a> {
    pending: u64,
    report: &'a mut dyn FnMut(u64),
}

impl<'a> Ticker<'a> {
    /// Reports numbers of entries to `report`.
    pub(crate) fn new(report: &'a mut dyn FnMut(u64)) -> Self {
        Self { pending: 0, report }
    }

    /// Counts an entry.
    pub(crate) fn tick(&mut self) {
        self.pending += 1;
        if self.pending == PROGRESS_INTERVAL {
            self.flush();
        }
    }

    /// Reports what was counted since the last report.
    pub(crate) fn flush(&mut self) {
        (self.report)(std::mem::take(&mut self.pending));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_findings_are_counted_and_the_first_hundred_listed() {
        let mut report = VerifyReport::default();
        for _ in 0..150 {
            report.add_warning("conversations.v1", "total_cost is negative", UserId::new(1));
        }
        assert_eq!((report.warnings.len(), report.warning_count), (100, 150));
        assert!(report.is_clean() && report.findings.is_empty());
        for _ in 0..150 {
            report.add_finding("messages.v1", "a message is missing", UserId::new(1));
        }
        assert_eq!((report.findings.len(), report.finding_count), (100, 150));
        assert!(!report.is_clean());
        assert_eq!(report.findings[0].to_string(), "messages.v1: a message is missing (user 1)");
        let mut sum = report.clone();
        sum.add(report);
        assert_eq!((sum.findings.len(), sum.finding_count), (100, 300));
        assert_eq!((sum.warnings.len(), sum.warning_count), (100, 300));
    }
}
