//! The operating system's file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::io::vfs::{Access, FileId, Vfs, VfsFile};

/// The operating system's file system.
#[derive(Debug)]
pub(crate) struct SystemVfs;

#[derive(Debug)]
struct SystemFile(File);

impl Vfs for SystemVfs {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn file_id(&self, path: &Path) -> io::Result<FileId> {
        Ok(id_of(&fs::metadata(path)?))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>> {
        let file = OpenOptions::new().read(true).write(access == Access::Write).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(SystemFile(create_private(path)?)))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::metadata(to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            replaced => copy_owner_and_mode(from, &replaced?)?,
        }
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        #[cfg(unix)]
        File::open(directory)?.sync_all()?;
        #[cfg(not(unix))]
        let _ = directory;
        Ok(())
    }

    fn free_space(&self, directory: &Path) -> io::Result<u64> {
        #[cfg(unix)]
        {
            let status = rustix::fs::statvfs(directory)?;
            Ok(status.f_bavail.saturating_mul(status.f_frsize))
        }
        #[cfg(not(unix))]
        {
            let _ = directory;
            Ok(u64::MAX)
        }
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        allocate_holes(&file, bytes)
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

/// Allocates the holes of a file, and `bytes` behind its last data. One call for the file and two
/// for each hole.
#[cfg(target_os = "linux")]
fn allocate_holes(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
    use rustix::io::Errno;

    let mut end = 0;
    loop {
        match seek(file, SeekFrom::Data(end)) {
            Ok(data) => {
                if data > end {
                    fallocate(file, FallocateFlags::KEEP_SIZE, end, data - end)?;
                }
                end = seek(file, SeekFrom::Hole(data))?;
            }
            // There is no data behind `end`.
            Err(Errno::NXIO) => return Ok(fallocate(file, FallocateFlags::KEEP_SIZE, end, bytes)?),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Creates a file that only its owner can access, because it contains phone numbers, messages and
/// the store's secrets.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The identity of a file; the same for all where the system has none.
fn id_of(metadata: &fs::Metadata) -> FileId {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        FileId { device: 0, inode: 0 }
    }
}

/// Copies owner and permissions of `other` to the file at `path`, and syncs it.
fn copy_owner_and_mode(path: &Path, other: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        let own = fs::metadata(path)?;
        if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
            chown(path, Some(other.uid()), Some(other.gid()))?;
        }
    }
    fs::set_permissions(path, other.permissions())?;
    File::open(path)?.sync_all()
}

impl VfsFile for SystemFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(id_of(&self.0.metadata()?))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.0, out, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&self.0, out, offset);
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(&self.0, bytes, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset);
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            match fallocate(&self.0, FallocateFlags::empty(), 0, size) {
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                allocated => return Ok(allocated?),
            }
        }
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn into_std(self: Box<Self>) -> Result<File, Box<dyn VfsFile>> {
        Ok(self.0)
    }
}
