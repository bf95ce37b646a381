//! Atomic file creation: a file gets its name in one step, once it is complete and synced, or
//! never.
//!
//! The file is written under a temporary name, `.<name>.<random>.new`, which a crash may leave
//! behind and nothing ever opens. The holder of the lock of `<name>` removes such leftovers with
//! [`remove_leftovers`]. No file that is still needed is among them: a file that replaces `<name>`
//! is written by the holder of that lock, and every other one needs `<name>` to be free, which it
//! no longer is. A writer of the latter kind gets [`Error::FileExists`], as it would anyway.

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
        let linked = self.vfs.open(&self.path, Access::Write).and_then(|file| {
            file.sync()?;
            self.vfs.hard_link(&self.path, &self.target)
        });
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::FileExists(self.target.clone()))
            }
            // The holder of the name's lock removed this file.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.vfs.exists(&self.target)? =>
            {
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
        remove_if_present(self.vfs, &self.path)?;
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

/// Removes the temporary files that crashes left beside `target`, and their WAL segments. The
/// caller has locked `target`: see the top of this module.
pub(crate) fn remove_leftovers(vfs: &dyn Vfs, target: &Path) -> Result<()> {
    let target_name = target.file_name().unwrap_or_default().to_string_lossy();
    for path in vfs.list(directory_of(target))? {
        let found = path.file_name().unwrap_or_default().to_string_lossy();
        if target_of(&found).is_some_and(|name| name == target_name) {
            remove_if_present(vfs, &path)?;
            tracing::info!(file = %path.display(), "removed a file that a crash left");
        }
    }
    Ok(())
}

/// The name of the file that a temporary file, or a WAL segment beside one, was written for; `None`
/// if `found` is not the name of either.
pub(crate) fn target_of(found: &str) -> Option<&str> {
    let (store, number) = found.rsplit_once("-log.").unwrap_or((found, ""));
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (name, random) = store.strip_prefix('.')?.strip_suffix(".new")?.rsplit_once('.')?;
    let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_random && !name.is_empty()).then_some(name)
}

fn remove_if_present(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    match vfs.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
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
        let kept = [
            ".a.0123456789abcdef.0123456789abcdef.new",
            ".a.0123456789abcdef.new-log.x",
            ".a.short.new",
            ".b.0123456789abcdef.new",
            "a",
            "a-log.00000000000000000001",
            "a.new",
        ];
        let removed =
            [".a.0123456789abcdef.new", ".a.0123456789abcdef.new-log.00000000000000000001"];
        for name in kept.iter().chain(&removed) {
            fs::write(directory.path().join(name), "").unwrap();
        }
        remove_leftovers(&SystemVfs, &directory.path().join("a")).unwrap();
        assert_eq!(names(directory.path()), kept);
    }

    /// The name was taken while this file was written, and the file was removed as a leftover,
    /// before or after it got its name.
    #[test]
    fn a_writer_whose_file_was_removed_learns_that_the_name_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        let (late, _) = AtomicFile::beside(&SystemVfs, &target).unwrap();
        let (first, _) = AtomicFile::beside(&SystemVfs, &target).unwrap();
        first.link_new().unwrap();
        remove_leftovers(&SystemVfs, &target).unwrap();
        first.finish().unwrap();
        assert!(matches!(late.link_new(), Err(Error::FileExists(path)) if path == target));
        drop(late);
        assert_eq!(names(directory.path()), ["a"]);
        let (vanished, _) = AtomicFile::beside(&SystemVfs, &directory.path().join("b")).unwrap();
        fs::remove_file(vanished.path()).unwrap();
        assert_eq!(vanished.link_new().unwrap_err().io_kind(), io::ErrorKind::NotFound);
    }
}
