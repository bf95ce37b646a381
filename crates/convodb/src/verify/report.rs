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
/// let audit = store.snapshot().verify(|done, of| println!("{done} of {of}"))?;
/// for fault in &audit.faults {
///     println!("{fault}");
/// }
/// assert!(audit.is_clean());
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Conversations.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Index entries.
    pub entries: u64,
    /// Changes of the feed.
    pub changes: u64,
    /// Counters.
    pub counters: u64,
    /// The first faults, at most 100.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
}

/// Something that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The table, by its name on disk.
    pub table: &'static str,
    /// What does not hold.
    pub what: &'static str,
    /// Whose data it is; number 0 where it is nobody's.
    pub owner: UserId,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (user {})", self.table, self.what, self.owner)
    }
}

impl Audit {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.fault_count == 0
    }

    pub(crate) fn fault(&mut self, table: &'static str, what: &'static str, owner: UserId) {
        self.fault_count += 1;
        if self.faults.len() < LISTED {
            self.faults.push(Fault { table, what, owner });
        }
    }

    /// What a look-up found. Damage that it met is a fault of the owner's, and nothing was found; any
    /// other error ends the audit.
    pub(crate) fn found<T>(
        &mut self,
        looked_up: Result<Option<T>>,
        owner: UserId,
    ) -> Result<Option<T>> {
        match looked_up {
            Err(Error::Corrupted { table, what }) => {
                self.fault(table, what, owner);
                Ok(None)
            }
            other => other,
        }
    }
}
