//! Virtual file system: the few file operations that the engine performs, behind two traits.
//!
//! Tables and WAL alike go through [`Vfs`], so that tests can run the engine on a simulated disk.
//! No other module of the engine uses `std::fs`, except [`crate::io::system`] and external sorting,
//! whose temporary files may fail at any time without loss.
//!
//! A file is durable up to its last [`VfsFile::sync`], a name from the next [`Vfs::sync_directory`]
//! on. A power cut may preserve any part of what came later.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing.
    Write,
}

/// The identity of a file: equal for all names of one file and all its open handles.
///
/// A file may get the identity of one that was removed and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file within the file system.
    pub inode: u64,
}

/// A file system: the operating system's, one in memory, or a simulated disk.
///
/// Every method fails with what the system reports; the kinds that callers rely on are named.
pub trait Vfs: fmt::Debug + Send + Sync {
    /// Whether a file with this path exists.
    ///
    /// # Errors
    /// The system's error.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The size of a file in bytes, without opening it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// The identity of the file with this path.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    fn file_id(&self, path: &Path) -> io::Result<FileId>;

    /// The canonical path of a file: symbolic links resolved.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Opens a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>>;

    /// Creates a file for reading and writing that only its owner can access.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or another error of the system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or another error of the system.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file atomically, replacing a file with the new name. The new file takes over the
    /// owner and the permissions of the one it replaces. After a power cut before the directory is
    /// synced, the name leads to either file.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. The file is freed with its last name and its last open handle.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The paths of all entries of a directory, in any order.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes available to this process on the disk of a directory; `u64::MAX` where unknown.
    ///
    /// # Errors
    /// The system's error.
    fn free_space(&self, directory: &Path) -> io::Result<u64>;

    /// Allocates space for the next `bytes` that extend the file at `path` or fill parts of it that
    /// were never written. Its size and contents do not change. What is allocated stays with the
    /// file, also when others fill the disk.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`], which is the default; [`io::ErrorKind::StorageFull`] or
    /// [`io::ErrorKind::QuotaExceeded`] if there is not enough space; or another error of the system.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let _ = (path, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fills `bytes` from a cryptographically secure random number generator: for secrets, tokens
    /// and names of temporary files. A simulated disk uses its seed.
    ///
    /// # Errors
    /// The system's error.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The directory that contains `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An open file.
pub trait VfsFile: fmt::Debug + Send + Sync {
    /// Its size in bytes.
    ///
    /// # Errors
    /// The system's error.
    fn size(&self) -> io::Result<u64>;

    /// Its identity.
    ///
    /// # Errors
    /// The system's error.
    fn id(&self) -> io::Result<FileId>;

    /// Reads at `offset` and returns the number of bytes read, which may be less than requested; 0
    /// only at the end of the file.
    ///
    /// # Errors
    /// The system's error.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, extending the file where necessary, and returns the number of bytes
    /// written, which may be less than passed.
    ///
    /// # Errors
    /// The system's error.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// The system's error.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Extends the file with zeros to `size` and reserves its space, so that later writes within
    /// `size` do not fill the disk. A file system that cannot reserve space extends it only.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], or another error of the system.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Makes contents and size durable. After an error their state on disk is unknown, even if a
    /// later sync succeeds.
    ///
    /// # Errors
    /// The system's error.
    fn sync(&self) -> io::Result<()>;

    /// The operating system's file, if this is one: redb's own backend then reads the tables and
    /// knows how to lock the file.
    ///
    /// # Errors
    /// The file itself, if it is not the operating system's.
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

    /// Writes all of `bytes` at `offset`.
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

    /// Reads the whole file.
    pub(crate) fn read_all(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }
}
