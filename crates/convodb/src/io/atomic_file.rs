//! Atomic file creation: a file gets its name in one step, once it is complete and synced, or
//! never.
//!
//! The file is written under a temporary name, `.<name>.<random>.new`, which a crash may leave
//! behind and nothing ever opens.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::vfs::{Access, Vfs, VfsFile, directory_of};

/// A file under its temporary name, which is removed on drop.
pub(crate) struct AtomicFile<'a> {
    vfs: &'a dyn Vfs,
    path: PathBuf,
    target: PathBuf,
}

impl<'a> AtomicFile<'a> {
    /// Creates a file beside `target` that only its owner can access.
    pub(crate) fn beside(vfs: &'a dyn Vfs, target: &Path) -> Result<(Self, Box<dyn VfsFile>)> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let mut random = [0; 8];
        vfs.fill_random(&mut random)?;
        let random = data_encoding::HEXLOWER.encode(&random);
        let path = directory_of(target).join(format!(".{name}.{random}.new"));
        let file = vfs.create(&path)?;
        Ok((Self { vfs, path, target: target.to_owned() }, file))
    }

    /// The temporary path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file again, after the first handle was consumed.
    pub(crate) fn open(&self) -> Result<Box<dyn VfsFile>> {
        Ok(self.vfs.open(&self.path, Access::Write)?)
    }

    /// Syncs the file and links it to its name, which must be free. [`AtomicFile::finish`] makes
    /// the name durable.
    ///
    /// # Errors
    /// [`Error::FileExists`], or an I/O error; the name does not lead to the file then.
    pub(crate) fn link_new(&self) -> Result<()> {
        self.open()?.sync()?;
        match self.vfs.hard_link(&self.path, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::FileExists(self.target.clone()))
            }
            linked => Ok(linked?),
        }
    }

    /// Removes the temporary name and syncs the directory.
    ///
    /// # Errors
    /// An I/O error: the name may or may not survive the next power cut.
    pub(crate) fn finish(self) -> Result<()> {
        self.vfs.remove(&self.path)?;
        Ok(self.vfs.sync_directory(directory_of(&self.target))?)
    }

    /// Syncs the file, renames it over an existing file of its name, whose owner and permissions it
    /// takes over, and syncs the directory.
    pub(crate) fn replace(self) -> Result<()> {
        self.open()?.sync()?;
        self.vfs.rename(&self.path, &self.target)?;
        Ok(self.vfs.sync_directory(directory_of(&self.target))?)
    }
}

impl Drop for AtomicFile<'_> {
    fn drop(&mut self) {
        // After `finish` or `replace` there is nothing left to remove.
        let _ = self.vfs.remove(&self.path);
    }
}

/// Removes temporary files that crashes left beside `target`. No other process may be writing one.
pub(crate) fn remove_leftovers(vfs: &dyn Vfs, target: &Path) -> Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_random = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    for path in vfs.list(directory_of(target))? {
        let found = path.file_name().unwrap_or_default().to_string_lossy();
        let middle = found.strip_prefix(&format!(".{name}.")).and_then(|f| f.strip_suffix(".new"));
        if middle.is_some_and(is_random) {
            vfs.remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::system::SystemVfs;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_gets_its_name_when_finished_or_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        drop(AtomicFile::beside(&SystemVfs, &target).unwrap());
        assert!(names(directory.path()).is_empty());
        for text in ["one", "two"] {
            let (made, file) = AtomicFile::beside(&SystemVfs, &target).unwrap();
            file.write_all_at(0, text.as_bytes()).unwrap();
            let finished = made.link_new().and_then(|()| made.finish());
            assert_eq!(finished.is_ok(), text == "one", "{finished:?}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "one");
        let (made, file) = AtomicFile::beside(&SystemVfs, &target).unwrap();
        file.write_all_at(0, b"three").unwrap();
        made.replace().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "three");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn only_leftovers_of_the_target_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let left =
            [".a.0123456789abcdef.new", ".b.0123456789abcdef.new", ".a.short.new", "a", "a.new"];
        for name in left {
            fs::write(directory.path().join(name), "").unwrap();
        }
        remove_leftovers(&SystemVfs, &directory.path().join("a")).unwrap();
        assert_eq!(
            names(directory.path()),
            [".a.short.new", ".b.0123456789abcdef.new", "a", "a.new"]
        );
    }
}
