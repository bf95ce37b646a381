//! Long work of the engine on a thread that no other request needs.

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Does work where it may take its time: a write, which waits for the disk, or a piece of an import
/// or an export. The way there and back costs 10 to 20 us, so that what reads a page stays where
/// its request is.
///
/// # Errors
/// What the work returns, or that the store is closed where the runtime ends before it began.
pub(crate) async fn run_blocking<T, E>(
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
