//! Read faults: a page that the disk cannot read fails the read that needs it, and nothing else.
//!
//! redb refuses everything after its storage backend has returned an error. That is right for a
//! transaction that writes, and for opening, but one unreadable sector would take all readers down.
//! So a read announces that it catches read faults ([`ReadScope`]); the backend then unwinds with a
//! [`ReadFault`] instead of returning. redb holds no lock while it reads a page and caches a page
//! after it was read: nothing is poisoned, and no other thread can see a page that was not read.
//!
//! Outside of a scope, and in programs that abort on a panic, the backend returns the error.

use std::cell::Cell;
use std::panic::resume_unwind;

use crate::error::Error;

thread_local! {
    static CATCHES: Cell<bool> = const { Cell::new(false) };
}

/// Unwinds from the backend to the end of the [`ReadScope`].
pub(crate) struct ReadFault(pub(crate) Error);

/// While it lives, this thread catches [`ReadFault`]s. Two writes to a thread-local variable.
pub(crate) struct ReadScope {
    outer: bool,
}

impl ReadScope {
    pub(crate) fn enter() -> Self {
        Self { outer: CATCHES.replace(cfg!(panic = "unwind")) }
    }
}

impl Drop for ReadScope {
    fn drop(&mut self) {
        CATCHES.set(self.outer);
    }
}

/// Whether a read on this thread may [`raise`] a fault.
pub(crate) fn is_caught() -> bool {
    CATCHES.get() && !std::thread::panicking()
}

/// Unwinds to the end of the scope. The panic hook does not run.
pub(crate) fn raise(error: Error) -> ! {
    resume_unwind(Box::new(ReadFault(error)))
}
