//! A file that is being made: it gets its name in one step, once it is whole and on disk, or none.
//! What a crash leaves behind is called `.<name>.<random>.new` and is never opened again.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::vfs::{Access, Vfs, VfsFile, directory_of};

/// See the head of this file. Its own name is removed when it is dropped.
pub(crate) struct AtomicFile<'a> {
    vfs: &'a dyn Vfs,
    path: PathBuf,
    target: PathBuf,
}

impl<'a> AtomicFile<'a> {
    /// A new file, for its owner alone, beside `target`.
    pub(crate) fn beside(vfs: &'a dyn Vfs, target: &Path) -> Result<(Self, Box<dyn VfsFile>)> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let mut random = [0; 8];
        vfs.fill_random(&mut random)?;
        let random = data_encoding::HEXLOWER.encode(&random);
        let path = directory_of(target).join(format!(".{name}.{random}.new"));
        let file = vfs.create(&path)?;
        Ok((Self { vfs, path, target: target.to_owned() }, file))
    }

    /// Where it is for now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, once whoever had it from the beginning has let go.
    pub(crate) fn open(&self) -> Result<Box<dyn VfsFile>> {
        Ok(self.vfs.open(&self.path, Access::Write)?)
    }

    /// Syncs it and gives it its name, which must be free. It has it for good once it is settled.
    ///
    /// # Errors
    /// [`Error::FileExists`], or a fault of the disk; it has no name then.
    pub(crate) fn link_new(&self) -> Result<()> {
        self.open()?.sync()?;
        match self.vfs.hard_link(&self.path, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::FileExists(self.target.clone()))
            }
            linked => Ok(linked?),
        }
    }

    /// Takes its first name away, and makes the change of names durable.
    ///
    /// # Errors
    /// A fault of the disk. The name may be there or not after the next power cut.
    pub(crate) fn finish(self) -> Result<()> {
        self.vfs.remove(&self.path)?;
        Ok(self.vfs.sync_directory(directory_of(&self.target))?)
    }

    /// Syncs it and gives it its name, in place of the file that has it, if any, and then with that
    /// one's owner and permissions.
    pub(crate) fn replace(self) -> Result<()> {
        self.open()?.sync()?;
        self.vfs.rename(&self.path, &self.target)?;
        Ok(self.vfs.sync_directory(directory_of(&self.target))?)
    }
}

impl Drop for AtomicFile<'_> {
    fn drop(&mut self) {
        // Where it was settled, there is nothing left to remove.
        let _ = self.vfs.remove(&self.path);
    }
}

/// Removes what crashes left of files that were to be named `target`. Nobody may be making one.
pub(crate) fn remove_leftovers(vfs: &dyn Vfs, target: &Path) -> Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ours = |random: &str| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
    for path in vfs.list(directory_of(target))? {
        let found = path.file_name().unwrap_or_default().to_string_lossy();
        let middle = found.strip_prefix(&format!(".{name}.")).and_then(|f| f.strip_suffix(".new"));
        if middle.is_some_and(ours) {
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
    fn a_file_gets_its_name_or_is_gone() {
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
    fn only_what_was_left_behind_is_removed() {
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
