//! Blocking work of the engine, on a thread of the runtime's blocking pool.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Long reads: statistics, and the chunks of exports and long histories. One for each core runs at
/// a time, in the order of arrival: more would only slow down each other, pages and writes, and
/// take a thread each.
#[derive(Clone, Debug)]
pub(crate) struct LongReads(Arc<Semaphore>);

impl LongReads {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(cores)))
    }

    /// Runs a read when its turn has come; not at all if the future is dropped before.
    ///
    /// # Errors
    /// As [`run_blocking`].
    ///
    /// # Panics
    /// As [`run_blocking`].
    pub(crate) async fn run<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<convodb::Error> + Send + 'static,
    {
        let Ok(permit) = self.0.clone().acquire_owned().await else {
            unreachable!("the semaphore is never closed");
        };
        run_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
    }
}

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
