//! What all readers share until the next commit: one committed state with its tables open.

use std::sync::Arc;

use redb::ReadTransaction;

use crate::encoding::term::Fingerprinter;
use crate::error::Result;
use crate::meter::Lease;
use crate::query::cursor::Sealer;
use crate::storage::meta;
use crate::storage::tables::Tables;

/// One committed state. Readers hold it by reference count; a commit puts a new one in its place.
pub(crate) struct View {
    pub(crate) tables: Tables,
    keys: Arc<Keys>,
    _lease: Lease,
}

/// What is made from the store's secrets, which hardly ever change.
struct Keys {
    fingerprinter: Fingerprinter,
    sealer: Sealer,
}

impl View {
    /// The state `tables`, with the secrets that `read` has.
    pub(crate) fn open(read: &ReadTransaction, tables: Tables) -> Result<Self> {
        let secrets = meta::secrets(read)?;
        let keys = Keys {
            fingerprinter: Fingerprinter::new(secrets.fingerprints),
            sealer: Sealer::new(secrets.cursors),
        };
        let lease = tables.meter().show();
        Ok(Self { tables, keys: Arc::new(keys), _lease: lease })
    }

    /// The state `tables`, where no secret changed since this one.
    pub(crate) fn with(&self, tables: Tables) -> Self {
        let lease = tables.meter().show();
        Self { tables, keys: self.keys.clone(), _lease: lease }
    }

    pub(crate) fn fingerprinter(&self) -> &Fingerprinter {
        &self.keys.fingerprinter
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.keys.sealer
    }
}
