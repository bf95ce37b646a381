//! Backup: streams one snapshot in key order into a new file, while readers and writers continue.
//!
//! The file is a complete, compact store with the same secrets, so cursors and tokens stay valid in
//! it. Nothing damaged is copied: the checksum of each record is verified on the way; ids and index
//! entries, which have none, are compared with the rows as a set ([`crate::verify::set_hash`]);
//! messages are counted ([`crate::verify::message_count`]); and the entries of each table are compared
//! with the number that redb has counted. The backup's BLAKE3 checksum is stored beside it in the
//! format of `b3sum`.

use std::io;
use std::path::{Path, PathBuf};

use redb::Database;

use crate::encoding::key::{FixedKey, MessageKey};
use crate::engine::new_name::check_free;
use crate::error::{Error, Result, from_redb};
use crate::io::atomic_file::AtomicFile;
use crate::io::fault::FaultSignal;
use crate::io::redb_backend::MonitoredBackend;
use crate::io::vfs::{Access, Vfs, VfsFile, directory_of};
use crate::maintenance::options::MaintenanceOptions;
use crate::snapshot::Snapshot;
use crate::tables::erasure_marks::ends_with_a_copy;
use crate::tables::meta;
use crate::tables::schema::MESSAGES;
use crate::tables::state::CommittedState;
use crate::verify::message_count::MessageCount;
use crate::verify::set_hash::SetHash;

/// The page cache of the file that is written, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// The size of one read when a file is hashed, in bytes.
const READ_BYTES: usize = 1 << 20;
/// Progress is reported once for this many entries.
const PROGRESS_INTERVAL: u64 = 4096;

/// The result of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BackupReport {
    /// Entries of all tables.
    pub entries: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 checksum of the file in hexadecimal.
    pub checksum: String,
}

impl Snapshot {
    /// Writes this snapshot into a new file at `path`, a complete store, and its checksum to
    /// [`checksum_path`]. Readers and writers of the store continue; their later writes are not in
    /// the backup.
    ///
    /// Both files are accessible to their owner only, because they contain all data and the store's
    /// secrets. Reads the whole store once and uses 64 MiB of memory. Until it is done, the store
    /// cannot reuse the space of what is replaced.
    ///
    /// ```
    /// use convodb::{Store, Timestamp};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("backup.convodb");
    /// let store = Store::in_memory()?;
    /// store.create_user("Acme", Timestamp::MIN)?;
    /// store.snapshot().backup(&path)?;
    /// let copy = Store::open(&path)?;
    /// assert_eq!(copy.snapshot().users()?, store.snapshot().users()?);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::FileExists`] if there is a file at `path`, the WAL of a store at `path`, or a file
    /// at [`checksum_path`] that is not a checksum; [`Error::Invalid`] if `path` has the name of a
    /// WAL segment or a temporary file; [`Error::Corrupted`] if the store is damaged; or an I/O
    /// error. In each case no file of this backup is left.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_with(path, MaintenanceOptions::new())
    }

    /// [`Snapshot::backup`] with options.
    ///
    /// # Errors
    /// As [`Snapshot::backup`].
    pub fn backup_with(
        &self,
        path: impl AsRef<Path>,
        mut options: MaintenanceOptions<'_>,
    ) -> Result<BackupReport> {
        let (vfs, path) = (options.file_system(), path.as_ref());
        check_free(&*vfs, path)?;
        check_free_checksum(&*vfs, &checksum_path(path))?;
        let (atomic_file, file) = AtomicFile::beside(&*vfs, path)?;
        let entries = copy(self.state(), file, &mut options)?;
        let written = atomic_file.open()?;
        let bytes = written.size()?;
        let checksum = read_hashed(&*written, |_, _| Ok(()))?.to_hex().to_string();
        drop(written);
        // The backup takes its name first: the checksum file of that name is then ours to write.
        atomic_file.link_new()?;
        let finished = atomic_file.finish().and_then(|()| {
            let written = write_checksum(&*vfs, path, &checksum);
            written.inspect_err(|_| drop(vfs.remove(&checksum_path(path))))
        });
        if let Err(error) = finished {
            // Sync the directory so that the removed file cannot reappear after a power cut.
            let _ = vfs.remove(path);
            let _ = vfs.sync_directory(directory_of(path));
            return Err(error);
        }
        Ok(BackupReport { entries, bytes, checksum })
    }
}

/// Writes a committed state into an empty file, which becomes a complete store, and returns its
/// number of entries.
pub(crate) fn copy(
    state: &CommittedState,
    file: Box<dyn VfsFile>,
    options: &mut MaintenanceOptions<'_>,
) -> Result<u64> {
    let counts = state.tables.counts()?;
    let total: u64 = counts.iter().map(|(_, entries)| entries).sum();
    let backend = MonitoredBackend::new(file, FaultSignal::detached())?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let mut database = builder.create_with_backend(backend).map_err(from_redb)?;
    let write = database.begin_write().map_err(from_redb)?;
    let mut set_hash = SetHash::new(state.fingerprinter(), &state.tables.families);
    let mut message_count = MessageCount::new(&state.tables)?;
    let mut done: u64 = 0;
    state.tables.copy(&write, |table, key, value| {
        if done.is_multiple_of(PROGRESS_INTERVAL) {
            options.report(done, total);
        }
        done += 1;
        if table == MESSAGES.name {
            message_count.add(MessageKey::decode(key))?;
        }
        set_hash.add(table, key, value)
    })?;
    set_hash.check()?;
    message_count.finish()?;
    let is_kept = |name: &[u8], value: &[u8]| !ends_with_a_copy(name, value);
    meta::copy(state.meta(), &write, state.seqno(), is_kept)?;
    write.commit().map_err(from_redb)?;
    // The file has grown in steps: cut off what the last one left unused.
    database.compact().map_err(from_redb)?;
    database.close().map_err(from_redb)?;
    options.report(done, done);
    Ok(done)
}

/// The path of a backup's checksum: the backup's path with `.b3` appended.
#[must_use]
pub fn checksum_path(backup: &Path) -> PathBuf {
    let mut path = backup.as_os_str().to_owned();
    path.push(".b3");
    path.into()
}

/// Reads a file from start to end, passes each chunk with its offset to `take`, and returns the
/// checksum.
pub(crate) fn read_hashed(
    file: &dyn VfsFile,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    loop {
        let left = file.size()?.saturating_sub(offset).min(READ_BYTES as u64);
        let chunk = &mut buffer[..usize::try_from(left).unwrap_or(READ_BYTES)];
        if chunk.is_empty() {
            return Ok(hasher.finalize());
        }
        file.read_exact_at(offset, chunk)?;
        hasher.update(chunk);
        take(offset, chunk)?;
        offset += left;
    }
}

/// Checks that nothing but the checksum of a backup that no longer exists has the name of a new
/// checksum file.
fn check_free_checksum(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    const MAX_CHECKSUM_BYTES: u64 = 1024;
    let replaceable = !vfs.exists(path)?
        || vfs.size(path)? <= MAX_CHECKSUM_BYTES && parse_checksum(vfs, path).is_ok();
    if replaceable { Ok(()) } else { Err(Error::FileExists(path.to_owned())) }
}

fn write_checksum(vfs: &dyn Vfs, backup: &Path, checksum: &str) -> Result<()> {
    let name = backup.file_name().unwrap_or_default().to_string_lossy();
    let (atomic_file, file) = AtomicFile::beside(vfs, &checksum_path(backup))?;
    file.write_all_at(0, format!("{checksum}  {name}\n").as_bytes())?;
    // At most this replaces the checksum of a backup that no longer exists.
    atomic_file.replace()
}

/// Reads the checksum beside a backup.
pub(crate) fn read_checksum(vfs: &dyn Vfs, backup: &Path) -> Result<blake3::Hash> {
    parse_checksum(vfs, &checksum_path(backup))
}

fn parse_checksum(vfs: &dyn Vfs, path: &Path) -> Result<blake3::Hash> {
    let text = vfs.open(path, Access::Read)?.read_all()?;
    let text = String::from_utf8_lossy(&text);
    let word = text.split_whitespace().next().unwrap_or_default();
    let what = "the checksum file does not start with 64 hexadecimal digits";
    blake3::Hash::from_hex(word).map_err(|_| Error::Corrupted { table: "backup", what })
}
