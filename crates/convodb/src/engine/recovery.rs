//! What the files of a store hold when they are opened: the tables, and above them, as the tail, what
//! only the log has.

use std::sync::Arc;
use std::time::Instant;

use redb::{Database, ReadableDatabase};

use crate::encoding::index_term::Fingerprinter;
use crate::engine::store_file::{self, Place};
use crate::engine::upgrade;
use crate::error::{Error, Result};
use crate::io::fault::Alarm;
use crate::io::redb_backend::Shutter;
use crate::tables::Tables;
use crate::tables::meta;
use crate::tables::state::View;
use crate::wal::{self, Log};

/// See the head of this file.
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// None for a store in memory, which has no log either.
    pub(crate) shutter: Option<Shutter>,
    pub(crate) log: Option<Log>,
    pub(crate) tables: Tables,
    pub(crate) view: View,
    /// The last group.
    pub(crate) group: u64,
    pub(crate) tail: Tail,
}

/// How much the tables do not hold yet, and since when.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tail {
    pub(crate) bytes: usize,
    pub(crate) since: Option<Instant>,
}

impl Opened {
    /// A new store in memory.
    pub(crate) fn in_memory(cache_bytes: usize, row_cache_bytes: usize) -> Result<Self> {
        let database = store_file::in_memory(cache_bytes)?;
        let read = database.begin_read()?;
        let tables = Tables::open(&read, row_cache_bytes)?;
        let view = View::open(&read, tables.clone())?;
        let (shutter, log, group, tail) = (None, None, 0, Tail::default());
        Ok(Self { database, shutter, log, tables, view, group, tail })
    }

    /// The store at `place`, which is made where there is none, and brought to this version's format.
    pub(crate) fn first(place: &Place, alarm: &Arc<Alarm>, row_cache_bytes: usize) -> Result<Self> {
        store_file::make(place)?;
        let (database, shutter) = store_file::open(place, alarm)?;
        upgrade::migrate(&database, place)?;
        let tables = Tables::open(&database.begin_read()?, row_cache_bytes)?;
        Self::read(place, database, shutter, tables)
    }

    /// The store at `place` once more, of which `shown` was seen.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where it is another one, and [`Error::Io`] where there is none: what
    /// readers have seen is not replaced by something else.
    pub(crate) fn again(
        place: &Place,
        alarm: &Arc<Alarm>,
        row_cache_bytes: usize,
        shown: &View,
    ) -> Result<Self> {
        let (database, shutter) = store_file::open(place, alarm)?;
        let read = database.begin_read()?;
        if *shown.fingerprinter() != Fingerprinter::new(meta::secrets(&read)?.fingerprints) {
            return Err(Error::NotAStore("another store has taken its place".to_owned()));
        }
        let tables = Tables::open(&read, row_cache_bytes)?;
        let tables = tables.counted_by(shown.tables.meter().clone());
        Self::read(place, database, shutter, tables)
    }

    /// Reads the log.
    fn read(
        place: &Place,
        database: Database,
        shutter: Shutter,
        mut tables: Tables,
    ) -> Result<Self> {
        let Place { disk, path, .. } = place;
        let read = database.begin_read()?;
        let seed = meta::secrets(&read)?.log_seed();
        let mut tail = Tail::default();
        let group = wal::read(&**disk, path, seed, meta::log_group(&read)?, |record| {
            tail.bytes += record.len();
            tail.since.get_or_insert_with(Instant::now);
            tables.replay(record)
        })?;
        let view = View::open(&read, tables.clone())?;
        let log = Some(Log::new(disk.clone(), path.clone(), seed));
        Ok(Self { database, shutter: Some(shutter), log, tables, view, group, tail })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::fault::Health;
    use crate::io::system::SystemDisk;

    fn place(directory: &tempfile::TempDir) -> Place {
        let path = directory.path().join("store");
        Place { disk: Arc::new(SystemDisk), path, cache_bytes: 1 << 20, check: false }
    }

    /// Someone has a snapshot still, and redb panicked before it let go of the file.
    #[test]
    fn a_file_that_redb_does_not_close_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let (place, alarm) = (place(&directory), Health::new().alarm());
        let Opened { database, shutter, view, .. } = Opened::first(&place, &alarm, 0).unwrap();
        std::mem::forget(database);
        let again = || Opened::again(&place, &alarm, 0, &view);
        assert!(matches!(again(), Err(Error::InUse)));
        let shutter = shutter.unwrap();
        shutter.shut();
        shutter.shut();
        assert_eq!(again().unwrap().group, 0);
    }

    #[test]
    fn what_was_shown_is_not_replaced_by_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let (place, alarm) = (place(&directory), Health::new().alarm());
        let Opened { database, view, .. } = Opened::first(&place, &alarm, 0).unwrap();
        database.close().unwrap();
        fs::rename(&place.path, directory.path().join("elsewhere")).unwrap();
        let missing = Opened::again(&place, &alarm, 0, &view).err().unwrap();
        assert_eq!(missing.io_kind(), std::io::ErrorKind::NotFound);
        assert!(!place.path.exists(), "an empty store is no answer");
        Opened::first(&place, &alarm, 0).unwrap().database.close().unwrap();
        let other = Opened::again(&place, &alarm, 0, &view).err().unwrap();
        assert!(matches!(other, Error::NotAStore(_)), "{other:?}");
        fs::rename(directory.path().join("elsewhere"), &place.path).unwrap();
        assert!(Opened::again(&place, &alarm, 0, &view).is_ok());
    }
}
