//! Converts panics of redb over damaged pages into [`Error::Corrupted`], and unreadable pages into
//! [`Error::Io`].
//!
//! redb trusts the pages that it reads and panics if their bytes are invalid. Bytes from disk must
//! never unwind into a caller, so each call that reads pages runs inside [`catch_redb_panic`], or,
//! if it only reads, inside [`catch_read_fault`].
//!
//! The panic hook still runs: by default it prints a line. A program compiled with `panic =
//! "abort"` still aborts.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::{Error, Result};
use crate::io::read_fault::{ReadFault, ReadScope};

/// Runs `call`, which may read pages of redb; returns [`Error::Corrupted`] if redb panics.
///
/// A panic inside [`call_user_code`] is the caller's own: it continues with its original payload.
pub(crate) fn catch_redb_panic<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: a panic can leave only redb's state in memory half changed, and that state can
    // cause no more than errors. A merge cursor checks the order of keys at each step, and a
    // transaction that is not committed has no effect.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let panic = match panic.downcast::<UserPanic>() {
            Ok(user) => resume_unwind(user.0),
            Err(panic) => panic,
        };
        Err(match panic.downcast::<ReadFault>() {
            Ok(fault) => fault.0,
            Err(_) => Error::Corrupted { table: "redb", what: "redb panicked over a damaged page" },
        })
    })
}

/// [`catch_redb_panic`] for a call that only reads: a page that the disk cannot read is the error of
/// this call, and the store stays open.
pub(crate) fn catch_read_fault<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let _scope = ReadScope::enter();
    catch_redb_panic(call)
}

/// The payload of a panic in a caller's own closure.
struct UserPanic(Box<dyn Any + Send>);

/// Calls a caller's closure inside [`catch_redb_panic`], so that its panic reaches the caller
/// instead of being reported as damage.
pub(crate) fn call_user_code<T>(call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| resume_unwind(Box::new(UserPanic(panic))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_corrupted_and_results_pass_through() {
        assert_eq!(catch_redb_panic(|| Ok(7)).unwrap(), 7);
        assert!(matches!(catch_redb_panic(|| Err::<(), _>(Error::Closed)), Err(Error::Closed)));
        let panicked = catch_redb_panic(|| -> Result<()> { unreachable!("a branch of a leaf") });
        assert!(matches!(panicked, Err(Error::Corrupted { table: "redb", .. })), "{panicked:?}");
    }

    #[test]
    fn a_panic_of_user_code_reaches_its_caller() {
        let progress = || panic!("a bug of the caller");
        let panicked =
            catch_unwind(|| catch_redb_panic(|| -> Result<()> { call_user_code(progress) }));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"a bug of the caller"));
    }
}
