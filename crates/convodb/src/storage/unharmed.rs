//! What redb makes of damaged pages. It trusts what it reads, and panics where that makes no sense;
//! here each such panic becomes an error, so that bytes from disk never unwind into a caller.
//!
//! The panic hook still runs: by default it prints a line. A program that aborts on panics ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// What redb says to `ask`; a panic of its own is [`Error::Corrupted`].
pub(crate) fn unharmed<T>(ask: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a panic leaves half done is redb's own, in memory, and is not asked for more than errors:
    // a cursor's place is checked at each step, and a transaction that was not committed is none.
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        Err(Error::Corrupted { table: "redb", what: "a page of the file makes no sense" })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_damage_and_all_else_is_as_it_was() {
        assert_eq!(unharmed(|| Ok(7)).unwrap(), 7);
        assert!(matches!(unharmed(|| Err::<(), _>(Error::Closed)), Err(Error::Closed)));
        let panicked = unharmed(|| -> Result<()> { unreachable!("a branch of a leaf") });
        assert!(matches!(panicked, Err(Error::Corrupted { table: "redb", .. })), "{panicked:?}");
    }
}
