//! Files that only their owner may read: they hold phone numbers, histories and the store's secrets.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes a new file, to read and write.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
