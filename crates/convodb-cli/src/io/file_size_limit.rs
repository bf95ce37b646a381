//! The limit of file sizes: a write beyond it is an error instead of the end of the process.

use std::io;

/// SIGXFSZ, which the system sends before it refuses a write beyond the limit (`ulimit -f`). The
/// number is the same on every supported system.
#[cfg(unix)]
const FILE_SIZE_EXCEEDED: i32 = 25;

/// Makes a write beyond the limit fail with [`io::ErrorKind::FileTooLarge`].
///
/// # Errors
/// The system refuses to install a signal handler.
pub(crate) fn report_as_error() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        // The handler stays installed after its stream and the runtime are dropped.
        drop(signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED))?);
    }
    Ok(())
}
