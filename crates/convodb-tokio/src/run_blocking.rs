//! Blocking work on the runtime's pool of blocking threads.

use std::panic::resume_unwind;

use convodb::{Error, Result};
use tokio::task::{JoinError, spawn_blocking};

/// Runs work on a blocking thread. The handover there and back costs 10 to 20 us.
///
/// # Errors
/// What the work returns, or [`Error::Closed`] if the runtime shuts down before the work begins.
///
/// # Panics
/// Panics when the work panics, and outside a tokio runtime.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    flatten(spawn_blocking(work).await)
}

/// The result of a joined task. A task that the runtime's shutdown cancelled counts as
/// [`Error::Closed`].
///
/// # Panics
/// Panics when the task panicked.
pub(crate) fn flatten<T>(joined: Result<Result<T>, JoinError>) -> Result<T> {
    match joined {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::Closed),
        },
    }
}
