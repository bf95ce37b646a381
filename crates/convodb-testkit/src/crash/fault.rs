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
pub enum Fault {
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

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] =
        [Fault::Broken, Fault::Full, Fault::Short, Fault::Sync, Fault::Forgets];

    fn concerns(self, call: Call) -> bool {
        match self {
            Fault::Broken => true,
            Fault::Full => matches!(call, Call::Write | Call::Grow),
            Fault::Short => matches!(call, Call::Read | Call::Write),
            Fault::Sync | Fault::Forgets => call == Call::Sync,
        }
    }

    pub(super) fn error(self) -> io::Error {
        match self {
            Fault::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::other("a fault of the disk"),
        }
    }
}

/// A fault from a call on.
#[derive(Clone, Debug)]
pub struct Schedule {
    fault: Fault,
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
    pub const fn once(fault: Fault, after: u64) -> Self {
        Self { fault, after, strikes: 1, seen: 0, struck: 0 }
    }

    /// The same, and at every such call that follows.
    #[must_use]
    pub const fn lasting(fault: Fault, after: u64) -> Self {
        Self { strikes: u64::MAX, ..Self::once(fault, after) }
    }

    pub(super) const fn fault(&self) -> Fault {
        self.fault
    }

    pub(super) const fn concerned(&self) -> u64 {
        self.seen
    }

    pub(super) const fn has_struck(&self) -> bool {
        self.struck > 0
    }

    pub(super) fn strike(&mut self, call: Call) -> Option<Fault> {
        if !self.fault.concerns(call) {
            return None;
        }
        self.seen += 1;
        let strikes = self.seen > self.after && self.struck < self.strikes;
        self.struck += u64::from(strikes);
        strikes.then_some(self.fault)
    }
}
