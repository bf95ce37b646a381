//! Overlay: a file system, or a file, that reads from another one and keeps writes in memory.
//!
//! Recovery writes: redb repairs a file that was not closed cleanly before it reads it, and the last
//! record of the WAL is written again. Over an overlay all of that stays in memory, so a store can
//! be read although its files must not, or cannot, be written.
//!
//! Memory is used for each page of 4 KiB that is written, up to [`MAX_BYTES`]. A read costs a lookup
//! among those pages.

#![expect(clippy::cast_possible_truncation, reason = "all casts are of sizes within a buffer")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::io::memory::MemoryVfs;
use crate::io::vfs::{Access, FileId, Vfs, VfsFile};

/// The size of the pages in memory.
const PAGE: usize = 4096;
/// The limit of the written pages: a repair writes the bitmaps of the allocator, 32 bytes for each
/// MiB of the file, and a few pages.
const MAX_BYTES: usize = 256 << 20;

/// A file system over another one that it never changes. Each opened file has its own changes, which
/// end with it. Names do not change: a new file has none, and a removed one keeps it.
#[derive(Debug)]
pub(crate) struct OverlayVfs(Arc<dyn Vfs>);

impl OverlayVfs {
    pub(crate) const fn new(below: Arc<dyn Vfs>) -> Self {
        Self(below)
    }
}

impl Vfs for OverlayVfs {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.0.size(path)
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        self.0.file_id(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.canonicalize(path)
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn VfsFile>> {
        OverlayFile::open(&*self.0, path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        MemoryVfs::default().create(path)
    }

    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(directory)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, directory: &Path) -> io::Result<u64> {
        self.0.free_space(directory)
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.fill_random(bytes)
    }
}

/// A file whose writes, size and syncs are in memory only.
#[derive(Debug)]
pub(crate) struct OverlayFile {
    below: Box<dyn VfsFile>,
    written: RwLock<Written>,
}

/// What differs from the file below.
#[derive(Debug)]
struct Written {
    size: u64,
    /// The bytes of the file below that still count: the smallest size since it was opened.
    below: u64,
    /// The pages that were written, by their number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    max_pages: usize,
}

impl OverlayFile {
    /// Opens the file at `path` for reading, and takes writes into memory.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    pub(crate) fn open(vfs: &dyn Vfs, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = Self::over(vfs.open(path, Access::Read)?, MAX_BYTES / PAGE)?;
        Ok(Box::new(file))
    }

    fn over(below: Box<dyn VfsFile>, max_pages: usize) -> io::Result<Self> {
        let size = below.size()?;
        let written = Written { size, below: size, pages: BTreeMap::new(), max_pages };
        Ok(Self { below, written: RwLock::new(written) })
    }

    fn read(&self) -> RwLockReadGuard<'_, Written> {
        self.written.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Written> {
        self.written.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the page at `offset`, and the offset within it.
const fn page_at(offset: u64) -> (u64, usize) {
    // The remainder is below the size of a page.
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

impl Written {
    /// The page `number` for writing, filled from the file below where it is not in memory.
    fn page(&mut self, number: u64, below: &dyn VfsFile) -> io::Result<&mut [u8; PAGE]> {
        let count = self.pages.len();
        match self.pages.entry(number) {
            Entry::Occupied(page) => Ok(page.into_mut()),
            Entry::Vacant(_) if count >= self.max_pages => {
                Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many changes in memory"))
            }
            Entry::Vacant(free) => {
                let mut page = Box::new([0; PAGE]);
                let start = number * PAGE as u64;
                let count = self.below.saturating_sub(start).min(PAGE as u64) as usize;
                below.read_exact_at(start, &mut page[..count])?;
                Ok(free.insert(page))
            }
        }
    }
}

impl VfsFile for OverlayFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.read().size)
    }

    fn id(&self) -> io::Result<FileId> {
        self.below.id()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let written = self.read();
        let (number, within) = page_at(offset);
        let available = written.size.saturating_sub(offset).min(out.len() as u64);
        if let Some(page) = written.pages.get(&number) {
            let count = available.min((PAGE - within) as u64) as usize;
            out[..count].copy_from_slice(&page[within..within + count]);
            return Ok(count);
        }
        let next = written.pages.range(number..).next();
        let until_page = next.map_or(u64::MAX, |(next, _)| next * PAGE as u64) - offset;
        let available = available.min(until_page);
        let below = written.below.saturating_sub(offset).min(available);
        if below > 0 {
            return self.below.read_at(offset, &mut out[..below as usize]);
        }
        out[..available as usize].fill(0);
        Ok(available as usize)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.write();
        let (number, within) = page_at(offset);
        let count = bytes.len().min(PAGE - within);
        let page = written.page(number, &*self.below)?;
        page[within..within + count].copy_from_slice(&bytes[..count]);
        written.size = written.size.max(offset + count as u64);
        Ok(count)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut written = self.write();
        if size < written.size {
            let (number, within) = page_at(size);
            written.pages.split_off(&(number + u64::from(within > 0)));
            if let Some(page) = written.pages.get_mut(&number) {
                page[within..].fill(0);
            }
            written.below = written.below.min(size);
        }
        written.size = size;
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
    use crate::io::memory::MemoryVfs;

    fn file_of(bytes: &[u8]) -> (MemoryVfs, &'static Path) {
        let (vfs, path) = (MemoryVfs::default(), Path::new("file"));
        vfs.create(path).unwrap().write_all_at(0, bytes).unwrap();
        (vfs, path)
    }

    /// Random writes, growth and truncation, compared with a plain vector; the file below stays.
    #[test]
    fn it_behaves_like_a_file_and_the_file_below_stays() {
        let mut random = 7_u64;
        let mut next = move |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % below
        };
        for size in [0, 1, PAGE - 1, PAGE, 3 * PAGE + 17, 8 * PAGE] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let (vfs, path) = file_of(&bytes);
            let overlay = OverlayFile::open(&vfs, path).unwrap();
            let mut expected = bytes.clone();
            for step in 0..300_usize {
                let at = next(10 * PAGE);
                if next(4) == 0 {
                    expected.resize(at, 0);
                    overlay.set_size(at as u64).unwrap();
                } else {
                    let written = vec![(step % 251) as u8; 1 + next(2 * PAGE)];
                    expected.resize(expected.len().max(at + written.len()), 0);
                    expected[at..at + written.len()].copy_from_slice(&written);
                    overlay.write_all_at(at as u64, &written).unwrap();
                }
                overlay.sync().unwrap();
                assert_eq!(overlay.size().unwrap(), expected.len() as u64);
                assert!(overlay.read_all().unwrap() == expected, "step {step} of size {size}");
            }
            let mut out = [0; 1];
            assert_eq!(overlay.read_at(expected.len() as u64, &mut out).unwrap(), 0);
            assert!(vfs.open(path, Access::Read).unwrap().read_all().unwrap() == bytes);
        }
    }

    #[test]
    fn written_pages_are_bounded() {
        let (vfs, path) = file_of(&[1; 3 * PAGE]);
        let overlay = OverlayFile::over(vfs.open(path, Access::Read).unwrap(), 2).unwrap();
        let overlay: Box<dyn VfsFile> = Box::new(overlay);
        overlay.write_all_at(0, &[2; 2 * PAGE]).unwrap();
        let refused = overlay.write_at(2 * PAGE as u64, &[2]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
        overlay.write_all_at(PAGE as u64 - 1, &[3; 2]).unwrap();
        let mut out = [0; 2];
        overlay.read_exact_at(2 * PAGE as u64 - 1, &mut out).unwrap();
        assert_eq!(out, [2, 1]);
    }

    /// A file that was not closed cleanly: redb repairs it in memory.
    #[test]
    fn a_database_that_was_not_closed_is_read_without_a_write() {
        use redb::{Builder, ReadableDatabase, ReadableTable, TableDefinition};

        use crate::io::fault::FaultSignal;
        use crate::io::redb_backend::MonitoredBackend;

        const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("t");
        let (vfs, path) = (MemoryVfs::default(), Path::new("file"));
        let backend = |file| MonitoredBackend::new(file, FaultSignal::detached()).unwrap();
        let file = vfs.create(path).unwrap();
        let database = Builder::new().create_with_backend(backend(file)).unwrap();
        for value in 0..100 {
            let write = database.begin_write().unwrap();
            write.open_table(TABLE).unwrap().insert(value, value).unwrap();
            write.commit().unwrap();
        }
        std::mem::forget(database);
        let before = vfs.open(path, Access::Read).unwrap().read_all().unwrap();
        let overlay = OverlayFile::open(&vfs, path).unwrap();
        let database = Builder::new().create_with_backend(backend(overlay)).unwrap();
        let read = database.begin_read().unwrap();
        let rows = read.open_table(TABLE).unwrap().iter().unwrap().count();
        assert_eq!(rows, 100);
        drop((read, database));
        assert!(vfs.open(path, Access::Read).unwrap().read_all().unwrap() == before);
    }
}
