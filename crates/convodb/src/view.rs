//! What all readers share until the next commit: one committed state with its tables open.

use crate::encoding::term::Fingerprinter;
use crate::error::Result;
use crate::query::cursor::Sealer;
use crate::storage::meta;
use crate::storage::tables::ReadTables;

/// One committed state. Readers hold it by reference count; a commit puts a new one in its place.
pub(crate) struct View {
    pub(crate) tables: ReadTables,
    pub(crate) fingerprinter: Fingerprinter,
    pub(crate) sealer: Sealer,
}

impl View {
    pub(crate) fn open(database: &impl redb::ReadableDatabase) -> Result<Self> {
        let read = database.begin_read()?;
        let secrets = meta::secrets(&read)?;
        Ok(Self {
            tables: ReadTables::open(&read)?,
            fingerprinter: Fingerprinter::new(secrets.fingerprints),
            sealer: Sealer::new(secrets.cursors),
        })
    }
}
