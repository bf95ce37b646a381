//! What all readers share until the next commit: one committed state with its tables open.

use std::sync::Arc;

use crate::encoding::term::Fingerprinter;
use crate::error::Result;
use crate::query::cursor::Sealer;
use crate::storage::meta;
use crate::storage::tables::ReadTables;

/// One committed state. Readers hold it by reference count; a commit puts a new one in its place.
pub(crate) struct View {
    pub(crate) tables: ReadTables,
    keys: Arc<Keys>,
}

/// What is made from the store's secrets, which hardly ever change.
struct Keys {
    fingerprinter: Fingerprinter,
    sealer: Sealer,
}

impl View {
    /// The state of the last commit.
    pub(crate) fn open(database: &impl redb::ReadableDatabase) -> Result<Self> {
        let read = database.begin_read()?;
        let secrets = meta::secrets(&read)?;
        let keys = Keys {
            fingerprinter: Fingerprinter::new(secrets.fingerprints),
            sealer: Sealer::new(secrets.cursors),
        };
        Ok(Self { tables: ReadTables::open(&read)?, keys: Arc::new(keys) })
    }

    /// The state of the last commit, where no secret changed since this one.
    pub(crate) fn next(&self, database: &impl redb::ReadableDatabase) -> Result<Self> {
        let tables = ReadTables::open(&database.begin_read()?)?;
        Ok(Self { tables, keys: self.keys.clone() })
    }

    pub(crate) fn fingerprinter(&self) -> &Fingerprinter {
        &self.keys.fingerprinter
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.keys.sealer
    }
}
