//! Work that waits for the disk, on a thread that no task needs.

use std::panic::resume_unwind;

use convodb::{Error, Result};
use tokio::task::{JoinError, spawn_blocking};

/// Does work on a thread of the runtime's pool for what blocks. The way there and back costs 10 to
/// 20 us.
///
/// # Panics
/// When the work panics, or outside a runtime.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    returned(spawn_blocking(work).await)
}

/// What work on another thread came to. Where the runtime ended before it began, the store is as
/// good as closed.
///
/// # Panics
/// When the work panicked.
pub(crate) fn returned<T>(joined: Result<Result<T>, JoinError>) -> Result<T> {
    match joined {
        Ok(result) => result,
        Err(lost) => match lost.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::Closed),
        },
    }
}
