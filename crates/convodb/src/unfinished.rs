//! A file that is being made: it gets its name in one step, once it is whole and on disk, or none.
//! What a crash leaves behind is called `.<name>.<random>.new` and is never opened again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::file::{directory_of, unfinished_name};
use crate::storage::private::create_private;
use crate::system_disk::SystemDisk;

/// See the head of this file. Removed when it is dropped without a name.
pub(crate) struct Unfinished {
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    /// A new file, for its owner alone, beside `target`.
    pub(crate) fn beside(target: &Path) -> Result<(Self, File)> {
        let path = unfinished_name(&SystemDisk, target)?;
        let file = create_private(&path)?;
        Ok((Self { path, target: target.to_owned() }, file))
    }

    /// Where it is for now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs it and gives it its name, which must be free.
    ///
    /// # Errors
    /// [`Error::FileExists`], or a fault of the disk.
    pub(crate) fn finish(self) -> Result<()> {
        File::open(&self.path)?.sync_all()?;
        match fs::hard_link(&self.path, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::FileExists(self.target.clone()));
            }
            linked => linked?,
        }
        fs::remove_file(&self.path)?;
        self.sync_name()
    }

    /// Syncs it and gives it its name, in place of the file that has it, if any, and then with that
    /// one's owner and permissions.
    pub(crate) fn replace(self) -> Result<()> {
        match fs::metadata(&self.target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            replaced => self.resemble(&replaced?)?,
        }
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.sync_name()
    }
}

impl Unfinished {
    /// Makes the change of names durable.
    fn sync_name(&self) -> Result<()> {
        Ok(SystemDisk.sync_directory(directory_of(&self.target))?)
    }

    fn resemble(&self, replaced: &fs::Metadata) -> Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, chown};
            let made = fs::metadata(&self.path)?;
            if (made.uid(), made.gid()) != (replaced.uid(), replaced.gid()) {
                chown(&self.path, Some(replaced.uid()), Some(replaced.gid()))?;
            }
        }
        Ok(fs::set_permissions(&self.path, replaced.permissions())?)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Where it got its name, there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what crashes left of files that were to be named `target`. Nobody may be making one.
pub(crate) fn remove_left_behind(target: &Path) -> Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in fs::read_dir(directory_of(target))? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let middle = found.strip_prefix(&format!(".{name}.")).and_then(|f| f.strip_suffix(".new"));
        let ours =
            |random: &str| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
        if middle.is_some_and(ours) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

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
        drop(Unfinished::beside(&target).unwrap());
        assert!(names(directory.path()).is_empty());
        for text in ["one", "two"] {
            let (made, mut file) = Unfinished::beside(&target).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let finished = made.finish();
            assert_eq!(finished.is_ok(), text == "one", "{finished:?}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "one");
        let (made, mut file) = Unfinished::beside(&target).unwrap();
        file.write_all(b"three").unwrap();
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
        remove_left_behind(&directory.path().join("a")).unwrap();
        assert_eq!(
            names(directory.path()),
            [".a.short.new", ".b.0123456789abcdef.new", "a", "a.new"]
        );
    }
}
