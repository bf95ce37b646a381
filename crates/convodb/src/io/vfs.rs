//! What the engine asks of a disk: few operations on names and on files, all of which a simulated
//! disk can answer too, below the tables and the log alike. Nothing else of the engine names
//! `std::fs`, but for the system's disk, and for sorting on disk with its private files, which may fail
//! at any time and loses nothing.
//!
//! A file is durable up to the last [`VfsFile::sync`] of it, a name from the next
//! [`Vfs::sync_directory`] on. Of what came later, a power cut may leave any part.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be read and written.
    Write,
}

/// Where files are. The system's disk, or one that is simulated.
pub trait Vfs: fmt::Debug + Send + Sync {
    /// Whether there is a file of this name.
    ///
    /// # Errors
    /// What the system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// How many bytes the file of this name has. Does not open it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what else the system says.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// The name of the file itself, where this is the name of a link to it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what else the system says.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Opens the file of this name.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what else the system says.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>>;

    /// Makes a new file, which only its owner may read, to read and to write.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or what else the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Gives a file a second name, unless that is taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or what else the system says.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name in place of its own, in one step: who has that name loses it, and
    /// owner and permissions go on with the name, where the disk knows any. A power cut before the
    /// directory is synced leaves the name with the one file or with the other.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away. The file is gone with its last name and its last handle.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what else the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, as paths, in any order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// How many bytes there is room for; more than that where nobody knows.
    ///
    /// # Errors
    /// What the system says.
    fn free_space(&self, directory: &Path) -> io::Result<u64>;

    /// Fills `bytes` with what nobody can foresee: secrets, tokens, and temporary names.
    ///
    /// # Errors
    /// What the system says.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// Whether checkpoints are written while groups go on. A simulation that has to be repeatable
    /// says no.
    fn works_beside(&self) -> bool {
        true
    }
}

/// The directory that `path` is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that is open.
pub trait VfsFile: fmt::Debug + Send + Sync {
    /// How many bytes it has.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads from `offset` on, and tells how many bytes; fewer than asked for, and none only at the
    /// end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes from `offset` on, and tells how many bytes; it may be fewer than given. The file grows
    /// where it has to.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file, or makes it longer, by zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes what was written, and the size, durable. After an error that is unknown, also when
    /// later ones succeed.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// The system's own file, where this is one: the tables are then read by redb's own backend,
    /// which knows how to lock it.
    ///
    /// # Errors
    /// The file itself, where it is none of the system's.
    fn into_std(self: Box<Self>) -> Result<File, Box<dyn VfsFile>>;
}

impl dyn VfsFile + '_ {
    /// Fills `out` from `offset` on.
    pub(crate) fn read_exact_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match self.read_at(offset, out) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    offset += read as u64;
                    out = &mut out[read..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` from `offset` on.
    pub(crate) fn write_all_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(offset, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Everything that is in the file.
    pub(crate) fn read_all(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }
}
