//! Atomic file: appears under its name complete and on disk, or not at all.
//!
//! It is written to a temporary file beside its name, which only its owner can read: exports,
//! rejects and cursors contain personal data. Publishing it syncs the file, renames it, and syncs
//! the directory, because a rename is durable only once its directory is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped before [`AtomicFile::publish`], it leaves nothing.
pub(crate) struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl AtomicFile {
    /// Creates the temporary file `<target><suffix>`, in place of one that a crash left.
    pub(crate) fn create(target: &Path, suffix: &str) -> io::Result<Self> {
        let temporary = with_suffix(target, suffix);
        let file = create_private(&temporary)?;
        Ok(Self { file, temporary, target: target.to_owned(), published: false })
    }

    /// Renames the file to its name, replacing any file that has it.
    ///
    /// # Errors
    /// Fails if a sync or the rename fails. After a failed rename the target is unchanged.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        publish(&self.file, &self.temporary, &self.target)?;
        self.published = true;
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.published {
            // The error that prevented publishing is reported elsewhere.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The path with a suffix added to its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates a file that only its owner can read and write. Removes an old file of that name first,
/// so that the new one never inherits its mode or follows a link.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Syncs the file at `temporary` and renames it to `target`, durably.
pub(crate) fn publish(file: &File, temporary: &Path, target: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(temporary, target)?;
    sync_directory_of(target)
}

/// Syncs the file at `temporary` and gives it the name `target`, which must be free, durably.
pub(crate) fn publish_new(file: &File, temporary: &Path, target: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::hard_link(temporary, target)?;
    fs::remove_file(temporary)?;
    sync_directory_of(target)
}

#[cfg(unix)]
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Does nothing: this system cannot open a directory to sync it.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "on other systems, this can fail")]
fn sync_directory_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_published() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        let mut file = AtomicFile::create(&target, ".new").unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

        fs::write(&target, "old").unwrap();
        fs::write(directory.path().join("a.new"), "left by a crash").unwrap();
        let mut file = AtomicFile::create(&target, ".new").unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        file.publish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        fs::write(directory.path().join("a.new"), "readable by all").unwrap();
        AtomicFile::create(&target, ".new").unwrap().publish().unwrap();
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
