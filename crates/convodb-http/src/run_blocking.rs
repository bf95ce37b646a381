//! Blocking work of the engine, on a thread of the runtime's blocking pool.

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Runs work that may take long on a blocking thread: parsing an import, reading an export, a
/// backup.
///
/// The hand-over costs 10 to 20 us, more than reading a page from memory; so pages are read on the
/// thread of their request.
///
/// # Errors
/// The error of `work`, or [`convodb::Error::Closed`] if the runtime shuts down before it starts.
///
/// # Panics
/// When `work` panics.
pub(crate) async fn run_blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<convodb::Error> + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(convodb::Error::Closed.into()),
        },
    }
}
