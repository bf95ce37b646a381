//! Backup: one snapshot, streamed in key order into a new file, while readers and writers go on.
//! The file is a whole store, compact, with the secrets, so that cursors and tokens are valid in it.
//!
//! Nothing damaged is copied: each record's checksum is checked on the way, and ids and entries,
//! which have none, must add up to those of the rows (`storage/tally.rs`). Beside the file stands
//! its BLAKE3 checksum, as `b3sum` writes it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use redb::Database;
use redb::backends::FileBackend;

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::storage::meta;
use crate::storage::tally::Tally;
use crate::unfinished::Unfinished;
use crate::view::View;

/// Memory for pages of the file that is being written.
const CACHE_BYTES: usize = 64 << 20;

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
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
    pub fn backup(&self, path: impl AsRef<Path>, progress: impl FnMut(u64, u64)) -> Result<Backup> {
        let path = path.as_ref();
        if path.try_exists()? {
            return Err(Error::FileExists(path.to_owned()));
        }
        let (unfinished, file) = Unfinished::beside(path)?;
        let entries = copy(self.view(), file, progress)?;
        let bytes = std::fs::metadata(unfinished.path())?.len();
        let checksum = checksum_of(unfinished.path())?;
        // Who has the name has the checksum's too.
        unfinished.finish()?;
        if let Err(error) = write_checksum(path, &checksum) {
            std::fs::remove_file(path)?;
            return Err(error);
        }
        Ok(Backup { entries, bytes, checksum })
    }
}

/// Writes all of a view into a file, which is a whole store then, and tells how many entries it has.
pub(crate) fn copy(view: &View, file: File, mut progress: impl FnMut(u64, u64)) -> Result<u64> {
    let counts = view.tables.clone().counts()?;
    let of: u64 = counts.iter().map(|(_, entries)| entries).sum();
    let backend = FileBackend::new(file).map_err(redb::Error::from)?;
    let mut builder = Database::builder();
    let mut database = builder.set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
    let write = database.begin_write()?;
    let mut tally = Tally::new(view.fingerprinter());
    let mut done = 0;
    view.tables.clone().copy(&write, |table, key, value| {
        if done % 4096 == 0 {
            progress(done, of);
        }
        done += 1;
        tally.take(table, key, value)
    })?;
    tally.check()?;
    meta::copy(view.meta(), &write)?;
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

fn checksum_of(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn write_checksum(backup: &Path, checksum: &str) -> Result<()> {
    let name = backup.file_name().unwrap_or_default().to_string_lossy();
    let (unfinished, mut file) = Unfinished::beside(&checksum_path(backup))?;
    writeln!(file, "{checksum}  {name}")?;
    // One of a backup that is no longer there has the name, at most.
    unfinished.replace()
}

/// The checksum that stands beside a backup.
pub(crate) fn read_checksum(backup: &Path) -> Result<blake3::Hash> {
    let text = std::fs::read_to_string(checksum_path(backup))?;
    let word = text.split_whitespace().next().unwrap_or_default();
    let what = "the file of its checksum does not begin with 64 hexadecimal digits";
    blake3::Hash::from_hex(word).map_err(|_| Error::Corrupted { table: "backup", what })
}
