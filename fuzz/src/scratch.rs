//! Scratch directory: files that one input writes and the next input overwrites.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary directory, in `/dev/shm` if that exists; removed on drop.
pub struct ScratchDirectory {
    directory: TempDir,
}

impl ScratchDirectory {
    /// Creates the directory.
    ///
    /// # Panics
    /// Panics if it cannot be created.
    #[expect(clippy::new_without_default, reason = "creates a directory")]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let created =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { directory: created.expect("a temporary directory") }
    }

    /// The path of a file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
