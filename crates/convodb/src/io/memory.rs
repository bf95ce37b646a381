//! In-memory file system: files that live as long as the [`MemoryVfs`], for stores without a disk.
//!
//! A sync does nothing. Everything else behaves like a disk, so an in-memory store runs the same
//! engine, its WAL and recovery included.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::io::vfs::{Access, FileId, Vfs, VfsFile, directory_of};

/// Files in memory, by path.
#[derive(Debug, Default)]
pub(crate) struct MemoryVfs {
    files: Mutex<BTreeMap<PathBuf, Arc<Contents>>>,
}

type Contents = RwLock<Vec<u8>>;

/// An open file.
#[derive(Debug)]
struct MemoryFile(Arc<Contents>);

impl MemoryVfs {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Contents>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &Path) -> io::Result<Arc<Contents>> {
        self.files().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Vfs for MemoryVfs {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files().contains_key(path))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        MemoryFile(self.find(path)?).size()
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        MemoryFile(self.find(path)?).id()
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.find(path).map(|_| path.to_owned())
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(MemoryFile(self.find(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        match self.files().entry(path.to_owned()) {
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Entry::Vacant(free) => Ok(Box::new(MemoryFile(free.insert(Arc::default()).clone()))),
        }
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let contents = self.find(from)?;
        match self.files().entry(to.to_owned()) {
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Entry::Vacant(free) => {
                free.insert(contents);
                Ok(())
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let contents = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), contents);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.files();
        let inside = files.keys().filter(|path| directory_of(path) == directory);
        Ok(inside.cloned().collect())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

/// The part of `bytes` from `offset` on; empty beyond their end.
fn after(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default()
}

impl VfsFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 0, inode: Arc::as_ptr(&self.0).addr() as u64 })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = after(&bytes, offset);
        let length = bytes.len().min(out.len());
        out[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut contents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if contents.len() < end {
            contents.resize(end, 0);
        }
        contents[start..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).resize(size, 0);
        Ok(())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn into_std(self: Box<Self>) -> Result<File, Box<dyn VfsFile>> {
        Err(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_behave_like_a_disk() {
        let vfs = MemoryVfs::default();
        let (a, b) = (Path::new("dir/a"), Path::new("dir/b"));
        vfs.create(a).unwrap().write_all_at(2, b"xyz").unwrap();
        assert_eq!(vfs.create(a).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(vfs.open(a, Access::Read).unwrap().read_all().unwrap(), b"\0\0xyz");
        vfs.hard_link(a, b).unwrap();
        assert_eq!(vfs.hard_link(a, b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        vfs.remove(a).unwrap();
        assert_eq!(vfs.remove(a).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(vfs.size(b).unwrap(), 5);
        vfs.rename(b, a).unwrap();
        assert_eq!(vfs.list(Path::new("dir")).unwrap(), [a]);
        let file = vfs.open(a, Access::Write).unwrap();
        file.set_size(1).unwrap();
        let mut out = [0; 4];
        assert_eq!(file.read_at(9, &mut out).unwrap(), 0);
        let short = file.read_exact_at(0, &mut out).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }
}
