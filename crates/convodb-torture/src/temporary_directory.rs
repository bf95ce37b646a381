//! Temporary directory: in shared memory if the system has it.

use std::io;
use std::path::Path;

use tempfile::TempDir;

/// A temporary directory in shared memory if the system has it, else on disk.
pub(crate) fn temporary_directory() -> io::Result<TempDir> {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }
}
