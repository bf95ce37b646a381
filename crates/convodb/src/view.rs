//! What all readers share until the next commit: one committed state with its tables open.

use std::sync::Arc;

use redb::ReadTransaction;

use crate::encoding::term::Fingerprinter;
use crate::error::Result;
use crate::query::cursor::Sealer;
use crate::storage::meta::{self, Meta};
use crate::storage::tables::Tables;

/// One committed state. Readers hold it by reference count; a commit puts a new one in its place.
pub(crate) struct View {
    pub(crate) tables: Tables,
    keys: Arc<Keys>,
}

/// What is made from the store's secrets, which hardly ever change.
struct Keys {
    fingerprinter: Fingerprinter,
    sealer: Sealer,
    /// What they are made from, and all else that the store knows of itself.
    meta: Meta,
}

impl View {
    /// The state `tables`, with the secrets that `read` has.
    pub(crate) fn open(read: &ReadTransaction, tables: Tables) -> Result<Self> {
        let secrets = meta::secrets(read)?;
        let keys = Keys {
            fingerprinter: Fingerprinter::new(secrets.fingerprints),
            sealer: Sealer::new(secrets.cursors),
            meta: meta::open(read)?,
        };
        Ok(Self { tables, keys: Arc::new(keys) })
    }

    /// The state `tables`, where no secret changed since this one.
    pub(crate) fn with(&self, tables: Tables) -> Self {
        Self { tables, keys: self.keys.clone() }
    }

    pub(crate) fn fingerprinter(&self) -> &Fingerprinter {
        &self.keys.fingerprinter
    }

    /// What the store knew of itself when its tables last changed; the tail adds nothing to that.
    pub(crate) fn meta(&self) -> &Meta {
        &self.keys.meta
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.keys.sealer
    }
}
