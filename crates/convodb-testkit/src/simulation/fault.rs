//! Injected faults: which call of a simulated disk fails, how, and for how long.

use std::io;

/// The kind of a call of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Reads metadata: existence, size, names, free space.
    Inspect,
    Read,
    /// Writes where no space is allocated yet.
    Write,
    /// Writes where space is allocated.
    Overwrite,
    /// Extends a file, or creates a name.
    Grow,
    /// Shortens a file.
    Truncate,
    /// Removes a name.
    Unlink,
    Sync,
}

impl Call {
    /// Whether it changes a file or a name.
    const fn changes(self) -> bool {
        use Call::{Grow, Overwrite, Truncate, Unlink, Write};
        matches!(self, Write | Overwrite | Grow | Truncate | Unlink)
    }
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Every call fails with an I/O error.
    AnyCall,
    /// Calls that need space fail with `StorageFull` (`ENOSPC`).
    DiskFull,
    /// Reads and writes transfer half of the requested bytes, and return that count.
    ShortTransfer,
    /// A sync fails, and the unsynced changes can be synced again.
    Sync,
    /// A sync fails and drops unsynced changes: reads show them, a later sync does not write them.
    SyncDropsChanges,
    /// Calls that change something fail with `ReadOnlyFilesystem` (`EROFS`).
    ReadOnly,
    /// Calls that change something, and syncs, fail with an I/O error.
    Write,
}

impl InjectedFault {
    /// All kinds of faults.
    pub const ALL: [InjectedFault; 7] = [
        InjectedFault::AnyCall,
        InjectedFault::DiskFull,
        InjectedFault::ShortTransfer,
        InjectedFault::Sync,
        InjectedFault::SyncDropsChanges,
        InjectedFault::ReadOnly,
        InjectedFault::Write,
    ];

    fn affects(self, call: Call) -> bool {
        match self {
            InjectedFault::AnyCall => true,
            InjectedFault::DiskFull => matches!(call, Call::Write | Call::Grow),
            InjectedFault::ShortTransfer => {
                matches!(call, Call::Read | Call::Write | Call::Overwrite)
            }
            InjectedFault::Sync | InjectedFault::SyncDropsChanges => call == Call::Sync,
            InjectedFault::ReadOnly => call.changes(),
            InjectedFault::Write => call.changes() || call == Call::Sync,
        }
    }

    pub(super) fn error(self) -> io::Error {
        match self {
            InjectedFault::DiskFull => io::ErrorKind::StorageFull.into(),
            InjectedFault::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            _ => io::Error::other("injected fault"),
        }
    }
}

/// When an injected fault occurs.
#[derive(Clone, Debug)]
pub struct Schedule {
    fault: InjectedFault,
    /// The number of affected calls that succeed first.
    skipped_calls: u64,
    /// The most calls that fail.
    max_occurrences: u64,
    affected_calls: u64,
    occurrences: u64,
}

impl Schedule {
    /// `fault` at one call, after `skipped_calls` calls that it affects.
    #[must_use]
    pub const fn once(fault: InjectedFault, skipped_calls: u64) -> Self {
        Self { fault, skipped_calls, max_occurrences: 1, affected_calls: 0, occurrences: 0 }
    }

    /// `fault` at every call that it affects, after `skipped_calls` of them.
    #[must_use]
    pub const fn lasting(fault: InjectedFault, skipped_calls: u64) -> Self {
        Self { max_occurrences: u64::MAX, ..Self::once(fault, skipped_calls) }
    }

    pub(super) const fn fault(&self) -> InjectedFault {
        self.fault
    }

    pub(super) const fn affected_calls(&self) -> u64 {
        self.affected_calls
    }

    pub(super) const fn has_occurred(&self) -> bool {
        self.occurrences > 0
    }

    /// Counts a call, and returns the fault if this call must fail.
    pub(super) fn fault_at(&mut self, call: Call) -> Option<InjectedFault> {
        if !self.fault.affects(call) {
            return None;
        }
        self.affected_calls += 1;
        let occurs =
            self.affected_calls > self.skipped_calls && self.occurrences < self.max_occurrences;
        self.occurrences += u64::from(occurs);
        occurs.then_some(self.fault)
    }
}
