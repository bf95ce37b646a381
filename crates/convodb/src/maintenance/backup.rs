//! BackupReport: one snapshot, streamed in key order into a new file, while readers and writers go on.
//! The file is a whole store, compact, with the secrets, so that cursors and tokens are valid in it.
//!
//! Nothing damaged is copied: each record's checksum is checked on the way, and ids and entries,
//! which have none, must add up to those of the rows (`storage/tally.rs`). Beside the file stands
//! its BLAKE3 checksum, as `b3sum` writes it.

use std::io;
use std::path::{Path, PathBuf};

use redb::Database;

use crate::engine::store_file::detached;
use crate::error::{Error, Result};
use crate::io::atomic_file::AtomicFile;
use crate::io::redb_backend::backend;
use crate::io::system::SystemVfs;
use crate::io::vfs::{Access, Vfs, VfsFile, directory_of};
use crate::snapshot::Snapshot;
use crate::tables::meta;
use crate::tables::state::CommittedState;
use crate::verify::set_hash::SetHash;

/// Memory for pages of the file that is being written.
const CACHE_BYTES: usize = 64 << 20;
/// How much of a file is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Entries of all tables.
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The BLAKE3 checksum of the file, in hexadecimal.
    pub checksum: String,
}

impl Snapshot {
    /// Writes this snapshot into a new file at `path`, a store of its own, and its checksum beside
    /// it, at [`checksum_path`]. Readers and writers of the store go on meanwhile; what they write is
    /// not in the backup. `progress` is told how many of about how many entries are written.
    ///
    /// Both files are for their owner alone: they hold all data and the store's secrets. Reads the
    /// whole store once; 64 MiB of memory. While it goes on, the space of what is replaced in the
    /// store is not used again.
    ///
    /// ```
    /// use convodb::{Store, Timestamp};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("backup.convodb");
    /// let store = Store::in_memory()?;
    /// store.create_user("Acme".parse()?, Timestamp::MIN)?;
    /// store.snapshot().backup(&path, |_, _| {})?;
    /// let copy = Store::open(&path)?;
    /// assert_eq!(copy.snapshot().users()?, store.snapshot().users()?);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::FileExists`] where there is a file at `path`, [`Error::Corrupted`] where the store
    /// is damaged, or a fault of the disk. In each case no file is made.
    pub fn backup(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport> {
        self.backup_on(&SystemVfs, path, progress)
    }

    /// As [`Snapshot::backup`], onto `disk`.
    ///
    /// # Errors
    /// As there.
    #[doc(hidden)]
    pub fn backup_on(
        &self,
        vfs: &dyn Vfs,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport> {
        let path = path.as_ref();
        if vfs.exists(path)? {
            return Err(Error::FileExists(path.to_owned()));
        }
        let (atomic_file, file) = AtomicFile::beside(vfs, path)?;
        let entries = copy(self.state(), file, progress)?;
        let made = atomic_file.open()?;
        let bytes = made.size()?;
        let checksum = read_hashed(&*made, |_, _| Ok(()))?.to_hex().to_string();
        drop(made);
        // Who has the name has the checksum's too.
        atomic_file.link_new()?;
        let settled = atomic_file.finish().and_then(|()| {
            let written = write_checksum(vfs, path, &checksum);
            written.inspect_err(|_| drop(vfs.remove(&checksum_path(path))))
        });
        if let Err(error) = settled {
            // Nor may the next power cut bring back what is told to be not there.
            let _ = vfs.remove(path);
            let _ = vfs.sync_directory(directory_of(path));
            return Err(error);
        }
        Ok(BackupReport { entries, bytes, checksum })
    }
}

/// Writes all of a view into a file, which is a whole store then, and tells how many entries it has.
pub(crate) fn copy(
    state: &CommittedState,
    file: Box<dyn VfsFile>,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64> {
    let counts = state.tables.clone().counts()?;
    let of: u64 = counts.iter().map(|(_, entries)| entries).sum();
    let backend = backend(file, detached())?;
    let mut builder = Database::builder();
    let mut database = builder.set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
    let write = database.begin_write()?;
    let mut set_hash = SetHash::new(state.fingerprinter());
    let mut done = 0;
    state.tables.clone().copy(&write, |table, key, value| {
        if done % 4096 == 0 {
            progress(done, of);
        }
        done += 1;
        set_hash.take(table, key, value)
    })?;
    set_hash.check()?;
    meta::copy(state.meta(), &write)?;
    write.commit()?;
    // The file has grown in steps; what is not used of the last one goes.
    database.compact().map_err(redb::Error::from)?;
    database.close()?;
    progress(done, done);
    Ok(done)
}

/// Where the checksum of a backup stands: at the backup's path with `.b3` behind it.
#[must_use]
pub fn checksum_path(backup: &Path) -> PathBuf {
    let mut path = backup.as_os_str().to_owned();
    path.push(".b3");
    path.into()
}

/// Reads a file from its beginning to its end, gives each piece and its place to `take`, and tells
/// the checksum.
pub(crate) fn read_hashed(
    file: &dyn VfsFile,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let left = file.size()?.saturating_sub(at).min(PIECE_BYTES as u64);
        let piece = &mut buffer[..usize::try_from(left).unwrap_or(PIECE_BYTES)];
        if piece.is_empty() {
            return Ok(hasher.finalize());
        }
        file.read_exact_at(at, piece)?;
        hasher.update(piece);
        take(at, piece)?;
        at += left;
    }
}

fn write_checksum(vfs: &dyn Vfs, backup: &Path, checksum: &str) -> Result<()> {
    let name = backup.file_name().unwrap_or_default().to_string_lossy();
    let (atomic_file, file) = AtomicFile::beside(vfs, &checksum_path(backup))?;
    file.write_all_at(0, format!("{checksum}  {name}\n").as_bytes())?;
    // One of a backup that is no longer there has the name, at most.
    atomic_file.replace()
}

/// The checksum that stands beside a backup.
pub(crate) fn read_checksum(vfs: &dyn Vfs, backup: &Path) -> Result<blake3::Hash> {
    let text = vfs.open(&checksum_path(backup), Access::Read)?.read_all()?;
    let text = String::from_utf8_lossy(&text);
    let word = text.split_whitespace().next().unwrap_or_default();
    let what = "the file of its checksum does not begin with 64 hexadecimal digits";
    blake3::Hash::from_hex(word).map_err(|_| Error::Corrupted { table: "backup", what })
}
