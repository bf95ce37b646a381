//! A committed state: all tables as of one commit, with the keys that seal its cursors.

use std::sync::Arc;

use redb::ReadTransaction;

use crate::encoding::index_term::Fingerprinter;
use crate::encoding::token::Sealer;
use crate::error::Result;
use crate::metrics::SnapshotGuard;
use crate::tables::Tables;
use crate::tables::meta::{self, Meta};

/// One committed state. Immutable, shared by all snapshots of that commit.
pub(crate) struct CommittedState {
    pub(crate) tables: Tables,
    secrets: Arc<Secrets>,
    _guard: SnapshotGuard,
}

/// The keys derived from the stored secrets, which change only when the cursor key is rotated.
struct Secrets {
    fingerprinter: Fingerprinter,
    sealer: Sealer,
    /// The `meta` table they were read from.
    meta: Meta,
}

impl CommittedState {
    /// The state `tables`, with the secrets in `read`.
    pub(crate) fn open(read: &ReadTransaction, tables: Tables) -> Result<Self> {
        let stored = meta::secrets(read)?;
        let secrets = Arc::new(Secrets {
            fingerprinter: Fingerprinter::new(stored.fingerprints),
            sealer: Sealer::new(stored.cursors),
            meta: meta::open(read)?,
        });
        let guard = tables.metrics().track_snapshot();
        Ok(Self { tables, secrets, _guard: guard })
    }

    /// The state `tables`, with the secrets of this state.
    pub(crate) fn with(&self, tables: Tables) -> Self {
        let guard = tables.metrics().track_snapshot();
        Self { tables, secrets: self.secrets.clone(), _guard: guard }
    }

    pub(crate) fn fingerprinter(&self) -> &Fingerprinter {
        &self.secrets.fingerprinter
    }

    /// The `meta` table as of the last checkpoint; the memtables never change it.
    pub(crate) fn meta(&self) -> &Meta {
        &self.secrets.meta
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.secrets.sealer
    }
}
