//! Work of the engine, which may wait for a disk, on a thread that no other request needs.

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Does work where it may wait. The one place that decides it. It costs 10 to 20 us, and a cold
/// page stalls nobody.
///
/// # Errors
/// What the work returns, or that the store is closed where the runtime ends before it began.
pub(crate) async fn aside<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<convodb::Error> + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(lost) => match lost.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(convodb::Error::Closed.into()),
        },
    }
}
