//! Recovery: opens the database and replays the WAL into the memtables.

use std::sync::Arc;

use redb::{Database, ReadableDatabase};

use crate::encoding::index_term::Fingerprinter;
use crate::engine::store_file::{self, StoreLocation};
use crate::engine::upgrade;
use crate::error::{Error, Result, from_redb};
use crate::io::fault::FaultSignal;
use crate::io::redb_backend::ForceClose;
use crate::tables::Tables;
use crate::tables::meta;
use crate::tables::state::CommittedState;
use crate::wal::reader;
use crate::wal::writer::Wal;

/// A store's files after recovery: what the tables contain, and above it what only the WAL
/// contains.
pub(crate) struct Recovered {
    pub(crate) database: Database,
    pub(crate) force_close: ForceClose,
    pub(crate) wal: Wal,
    pub(crate) tables: Tables,
    pub(crate) state: CommittedState,
    /// The sequence number of the last group.
    pub(crate) seqno: u64,
    /// Bytes that were replayed from the WAL, and are not in the tables.
    pub(crate) replayed_bytes: usize,
}

impl Recovered {
    /// Opens the store at `location`, creating it where no file exists, and upgrades its format.
    pub(crate) fn open_or_create(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
        row_cache_bytes: usize,
    ) -> Result<Self> {
        store_file::create_if_missing(location)?;
        let (database, force_close) = store_file::open(location, fault_signal)?;
        upgrade::upgrade(&database, location)?;
        let read = database.begin_read().map_err(from_redb)?;
        let tables = Tables::open(&read, row_cache_bytes)?;
        Self::replay(location, database, force_close, tables)
    }

    /// Reopens the store at `location`, whose `published` state readers have seen.
    ///
    /// # Errors
    /// [`Error::NotAStore`] if the file is a different store, and [`Error::Io`] if it is missing:
    /// what readers have seen is never replaced by another or an empty store.
    pub(crate) fn reopen(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
        row_cache_bytes: usize,
        published: &CommittedState,
    ) -> Result<Self> {
        let (database, force_close) = store_file::open(location, fault_signal)?;
        let read = database.begin_read().map_err(from_redb)?;
        if *published.fingerprinter() != Fingerprinter::new(meta::secrets(&read)?.fingerprints) {
            return Err(Error::NotAStore("a different store has replaced the file".to_owned()));
        }
        let tables = Tables::open(&read, row_cache_bytes)?;
        let tables = tables.counted_by(published.tables.metrics().clone());
        Self::replay(location, database, force_close, tables)
    }

    fn replay(
        location: &StoreLocation,
        database: Database,
        force_close: ForceClose,
        mut tables: Tables,
    ) -> Result<Self> {
        let StoreLocation { vfs, path, .. } = location;
        let read = database.begin_read().map_err(from_redb)?;
        let seed = meta::secrets(&read)?.wal_seed();
        let flushed = meta::wal_seqno(&read)?;
        let mut replayed_bytes = 0;
        let seqno = reader::replay(&**vfs, path, seed, flushed, |record| {
            replayed_bytes += record.len();
            tables.replay(record)
        })?;
        if seqno > flushed {
            let groups = seqno - flushed;
            tracing::info!(groups, bytes = replayed_bytes, "replayed the write-ahead log");
        }
        let state = CommittedState::open(&read, tables.clone())?;
        let wal = Wal::new(vfs.clone(), path.clone(), seed);
        Ok(Self { database, force_close, wal, tables, state, seqno, replayed_bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::system::SystemVfs;

    fn location(directory: &tempfile::TempDir) -> StoreLocation {
        let path = directory.path().join("store");
        StoreLocation { vfs: Arc::new(SystemVfs), path, cache_bytes: 1 << 20, check: false }
    }

    /// A snapshot is still alive, and redb panicked before it released the file.
    #[test]
    fn force_close_releases_a_file_that_redb_does_not_close() {
        let directory = tempfile::tempdir().unwrap();
        let (location, fault_signal) = (location(&directory), FaultSignal::detached());
        let Recovered { database, force_close, state, .. } =
            Recovered::open_or_create(&location, &fault_signal, 0).unwrap();
        std::mem::forget(database);
        let reopen = || Recovered::reopen(&location, &fault_signal, 0, &state);
        let in_use = reopen().err().unwrap();
        assert!(matches!(&in_use, Error::InUse { path, .. } if *path == location.path));
        force_close.close();
        force_close.close();
        assert_eq!(reopen().unwrap().seqno, 0);
    }

    #[test]
    fn reopening_never_replaces_the_published_store() {
        let directory = tempfile::tempdir().unwrap();
        let (location, fault_signal) = (location(&directory), FaultSignal::detached());
        let Recovered { database, state, .. } =
            Recovered::open_or_create(&location, &fault_signal, 0).unwrap();
        database.close().unwrap();
        fs::rename(&location.path, directory.path().join("elsewhere")).unwrap();
        let missing = Recovered::reopen(&location, &fault_signal, 0, &state).err().unwrap();
        assert_eq!(missing.io_kind(), std::io::ErrorKind::NotFound);
        assert!(!location.path.exists(), "an empty store must not be created");
        Recovered::open_or_create(&location, &fault_signal, 0).unwrap().database.close().unwrap();
        let other = Recovered::reopen(&location, &fault_signal, 0, &state).err().unwrap();
        assert!(matches!(other, Error::NotAStore(_)), "{other:?}");
        fs::rename(directory.path().join("elsewhere"), &location.path).unwrap();
        assert!(Recovered::reopen(&location, &fault_signal, 0, &state).is_ok());
    }

    #[test]
    fn files_that_are_not_stores_are_refused_with_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path: &std::path::Path| {
            let location = StoreLocation { path: path.to_owned(), ..location(&directory) };
            let opened = Recovered::open_or_create(&location, &FaultSignal::detached(), 0);
            opened.err().unwrap().to_string()
        };
        let empty = directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert_eq!(refused(&empty), "not a convodb store: the file is empty");
        #[cfg(unix)]
        assert_eq!(
            refused(std::path::Path::new("/dev/null")),
            "not a convodb store: the file is empty"
        );
        let text = directory.path().join("text");
        fs::write(&text, "some text").unwrap();
        assert!(refused(&text).starts_with("not a convodb store: "), "{}", refused(&text));
    }
}
