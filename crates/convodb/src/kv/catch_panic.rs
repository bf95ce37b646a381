//! What redb makes of damaged pages. It trusts what it reads, and panics where that makes no sense;
//! here each such panic becomes an error, so that bytes from disk never unwind into a caller.
//!
//! The panic hook still runs: by default it prints a line. A program that aborts on panics ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::{Error, Result};

/// What redb says to `ask`; a panic is [`Error::Corrupted`], unless it came from [[`call_user_code`]].
pub(crate) fn catch_redb_panic<T>(ask: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a panic leaves half done is redb's own, in memory, and is not asked for more than errors:
    // a cursor's place is checked at each step, and a transaction that was not committed is none.
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|panic| {
        match panic.downcast::<UserPanic>() {
            Ok(outside) => resume_unwind(outside.0),
            Err(_) => {
                Err(Error::Corrupted { table: "redb", what: "a page of the file makes no sense" })
            }
        }
    })
}

/// What a caller's own closure panicked with.
struct UserPanic(Box<dyn Any + Send>);

/// Calls what is not ours within [`catch_redb_panic`]: its panic goes on to its caller.
pub(crate) fn call_user_code<T>(call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| resume_unwind(Box::new(UserPanic(panic))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_damage_and_all_else_is_as_it_was() {
        assert_eq!(catch_redb_panic(|| Ok(7)).unwrap(), 7);
        assert!(matches!(catch_redb_panic(|| Err::<(), _>(Error::Closed)), Err(Error::Closed)));
        let panicked = catch_redb_panic(|| -> Result<()> { unreachable!("a branch of a leaf") });
        assert!(matches!(panicked, Err(Error::Corrupted { table: "redb", .. })), "{panicked:?}");
    }

    #[test]
    fn a_panic_from_outside_is_its_callers() {
        let progress = || panic!("a bug of the caller");
        let panicked =
            catch_unwind(|| catch_redb_panic(|| -> Result<()> { call_user_code(progress) }));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"a bug of the caller"));
    }
}
