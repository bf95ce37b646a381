//! Faults of a disk that has power: which, at which call, and for how long.

use std::io;

/// What a call asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Look,
    Read,
    Write,
    /// Makes a file longer, or a name.
    Grow,
    /// Makes a file shorter.
    Cut,
    /// Takes a name away.
    Name,
    Sync,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Any call fails with `EIO`.
    Broken,
    /// What needs room fails with `ENOSPC`.
    Full,
    /// Reads and writes do half of what they are asked for, and say so.
    Short,
    /// A sync fails, and what it was about can be tried again.
    Sync,
    /// A sync fails, and the system forgets what it was about, but goes on to show it.
    Forgets,
}

impl InjectedFault {
    /// All of them.
    pub const ALL: [InjectedFault; 5] = [
        InjectedFault::Broken,
        InjectedFault::Full,
        InjectedFault::Short,
        InjectedFault::Sync,
        InjectedFault::Forgets,
    ];

    fn concerns(self, call: Call) -> bool {
        match self {
            InjectedFault::Broken => true,
            InjectedFault::Full => matches!(call, Call::Write | Call::Grow),
            InjectedFault::Short => matches!(call, Call::Read | Call::Write),
            InjectedFault::Sync | InjectedFault::Forgets => call == Call::Sync,
        }
    }

    pub(super) fn error(self) -> io::Error {
        match self {
            InjectedFault::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::other("a fault of the disk"),
        }
    }
}

/// A fault from a call on.
#[derive(Clone, Debug)]
pub struct Schedule {
    fault: InjectedFault,
    /// How many calls that it concerns go well before.
    after: u64,
    /// How many calls it strikes.
    strikes: u64,
    seen: u64,
    struck: u64,
}

impl Schedule {
    /// `fault` at the call, of those that it concerns, that comes after so many others.
    #[must_use]
    pub const fn once(fault: InjectedFault, after: u64) -> Self {
        Self { fault, after, strikes: 1, seen: 0, struck: 0 }
    }

    /// The same, and at every such call that follows.
    #[must_use]
    pub const fn lasting(fault: InjectedFault, after: u64) -> Self {
        Self { strikes: u64::MAX, ..Self::once(fault, after) }
    }

    pub(super) const fn fault(&self) -> InjectedFault {
        self.fault
    }

    pub(super) const fn concerned(&self) -> u64 {
        self.seen
    }

    pub(super) const fn has_struck(&self) -> bool {
        self.struck > 0
    }

    pub(super) fn strike(&mut self, call: Call) -> Option<InjectedFault> {
        if !self.fault.concerns(call) {
            return None;
        }
        self.seen += 1;
        let strikes = self.seen > self.after && self.struck < self.strikes;
        self.struck += u64::from(strikes);
        strikes.then_some(self.fault)
    }
}
