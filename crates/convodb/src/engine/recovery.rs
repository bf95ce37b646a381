//! What the files of a store hold when they are opened: the tables, and above them, as the tail, what
//! only the log has.

use std::sync::Arc;
use std::time::Instant;

use redb::{Database, ReadableDatabase};

use crate::encoding::index_term::Fingerprinter;
use crate::engine::store_file::{self, StoreLocation};
use crate::engine::upgrade;
use crate::error::{Error, Result};
use crate::io::fault::FaultSignal;
use crate::io::redb_backend::ForceClose;
use crate::tables::Tables;
use crate::tables::meta;
use crate::tables::state::CommittedState;
use crate::wal::{self, Wal};

/// See the head of this file.
pub(crate) struct Recovered {
    pub(crate) database: Database,
    /// None for a store in memory, which has no log either.
    pub(crate) force_close: Option<ForceClose>,
    pub(crate) wal: Option<Wal>,
    pub(crate) tables: Tables,
    pub(crate) state: CommittedState,
    /// The last group.
    pub(crate) seqno: u64,
    pub(crate) unflushed: Unflushed,
}

/// How much the tables do not hold yet, and since when.
#[derive(Clone, Copy, Default)]
pub(crate) struct Unflushed {
    pub(crate) bytes: usize,
    pub(crate) since: Option<Instant>,
}

impl Recovered {
    /// A new store in memory.
    pub(crate) fn in_memory(cache_bytes: usize, row_cache_bytes: usize) -> Result<Self> {
        let database = store_file::in_memory(cache_bytes)?;
        let read = database.begin_read()?;
        let tables = Tables::open(&read, row_cache_bytes)?;
        let state = CommittedState::open(&read, tables.clone())?;
        let (force_close, wal, seqno, unflushed) = (None, None, 0, Unflushed::default());
        Ok(Self { database, force_close, wal, tables, state, seqno, unflushed })
    }

    /// The store at `place`, which is made where there is none, and brought to this version's format.
    pub(crate) fn open_or_create(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
        row_cache_bytes: usize,
    ) -> Result<Self> {
        store_file::make(location)?;
        let (database, force_close) = store_file::open(location, fault_signal)?;
        upgrade::migrate(&database, location)?;
        let tables = Tables::open(&database.begin_read()?, row_cache_bytes)?;
        Self::read(location, database, force_close, tables)
    }

    /// The store at `place` once more, of which `shown` was seen.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where it is another one, and [`Error::Io`] where there is none: what
    /// readers have seen is not replaced by something else.
    pub(crate) fn reopen(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
        row_cache_bytes: usize,
        shown: &CommittedState,
    ) -> Result<Self> {
        let (database, force_close) = store_file::open(location, fault_signal)?;
        let read = database.begin_read()?;
        if *shown.fingerprinter() != Fingerprinter::new(meta::secrets(&read)?.fingerprints) {
            return Err(Error::NotAStore("another store has taken its place".to_owned()));
        }
        let tables = Tables::open(&read, row_cache_bytes)?;
        let tables = tables.counted_by(shown.tables.metrics().clone());
        Self::read(location, database, force_close, tables)
    }

    /// Reads the log.
    fn read(
        location: &StoreLocation,
        database: Database,
        force_close: ForceClose,
        mut tables: Tables,
    ) -> Result<Self> {
        let StoreLocation { vfs, path, .. } = location;
        let read = database.begin_read()?;
        let seed = meta::secrets(&read)?.wal_seed();
        let mut unflushed = Unflushed::default();
        let seqno = wal::replay(&**vfs, path, seed, meta::wal_seqno(&read)?, |record| {
            unflushed.bytes += record.len();
            unflushed.since.get_or_insert_with(Instant::now);
            tables.replay(record)
        })?;
        let state = CommittedState::open(&read, tables.clone())?;
        let wal = Some(Wal::new(vfs.clone(), path.clone(), seed));
        Ok(Self { database, force_close: Some(force_close), wal, tables, state, seqno, unflushed })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::fault::FaultState;
    use crate::io::system::SystemVfs;

    fn location(directory: &tempfile::TempDir) -> StoreLocation {
        let path = directory.path().join("store");
        StoreLocation { vfs: Arc::new(SystemVfs), path, cache_bytes: 1 << 20, check: false }
    }

    /// Someone has a snapshot still, and redb panicked before it let go of the file.
    #[test]
    fn a_file_that_redb_does_not_close_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let (location, fault_signal) = (location(&directory), FaultState::new().fault_signal());
        let Recovered { database, force_close, state, .. } =
            Recovered::open_or_create(&location, &fault_signal, 0).unwrap();
        std::mem::forget(database);
        let again = || Recovered::reopen(&location, &fault_signal, 0, &state);
        assert!(matches!(again(), Err(Error::InUse)));
        let force_close = force_close.unwrap();
        force_close.close();
        force_close.close();
        assert_eq!(again().unwrap().seqno, 0);
    }

    #[test]
    fn what_was_shown_is_not_replaced_by_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let (location, fault_signal) = (location(&directory), FaultState::new().fault_signal());
        let Recovered { database, state, .. } =
            Recovered::open_or_create(&location, &fault_signal, 0).unwrap();
        database.close().unwrap();
        fs::rename(&location.path, directory.path().join("elsewhere")).unwrap();
        let missing = Recovered::reopen(&location, &fault_signal, 0, &state).err().unwrap();
        assert_eq!(missing.io_kind(), std::io::ErrorKind::NotFound);
        assert!(!location.path.exists(), "an empty store is no answer");
        Recovered::open_or_create(&location, &fault_signal, 0).unwrap().database.close().unwrap();
        let other = Recovered::reopen(&location, &fault_signal, 0, &state).err().unwrap();
        assert!(matches!(other, Error::NotAStore(_)), "{other:?}");
        fs::rename(directory.path().join("elsewhere"), &location.path).unwrap();
        assert!(Recovered::reopen(&location, &fault_signal, 0, &state).is_ok());
    }
}
