//! A committed state: all tables as of one commit, with what `meta` contains.

use std::sync::Arc;

use redb::ReadTransaction;

use crate::encoding::index_term::Fingerprinter;
use crate::encoding::token::Sealer;
use crate::error::Result;
use crate::metrics::SnapshotGuard;
use crate::model::id::UserId;
use crate::model::version::StoreVersion;
use crate::tables::Tables;
use crate::tables::epochs::Epochs;
use crate::tables::meta::{self, Meta};

/// One committed state. Immutable, shared by all snapshots of that commit.
pub(crate) struct CommittedState {
    pub(crate) tables: Tables,
    /// The sequence number of the last group of writes.
    seqno: u64,
    metadata: Arc<Metadata>,
    _guard: SnapshotGuard,
}

/// What `meta` contains. It changes only when an epoch begins or the cursor key is rotated.
struct Metadata {
    fingerprinter: Fingerprinter,
    sealer: Sealer,
    epochs: Epochs,
    /// The `meta` table they were read from.
    meta: Meta,
}

impl CommittedState {
    /// The state `tables` after group `seqno`, with the metadata in `read`.
    pub(crate) fn open(read: &ReadTransaction, tables: Tables, seqno: u64) -> Result<Self> {
        Self::with_epochs(read, tables, seqno, meta::epochs(read)?)
    }

    /// The state `tables` after group `seqno`, with the metadata in `read`, after the state `before`,
    /// whose last epoch may have ended.
    pub(crate) fn open_after(
        read: &ReadTransaction,
        tables: Tables,
        seqno: u64,
        before: &Self,
    ) -> Result<Self> {
        let mut epochs = meta::epochs(read)?;
        epochs.end_as(before.epochs());
        Self::with_epochs(read, tables, seqno, epochs)
    }

    /// The state `tables` after group `seqno`, which begins no epoch of its own: with it ends the
    /// last epoch in `read`.
    pub(crate) fn open_ended(read: &ReadTransaction, tables: Tables, seqno: u64) -> Result<Self> {
        let mut epochs = meta::epochs(read)?;
        epochs.end(seqno);
        Self::with_epochs(read, tables, seqno, epochs)
    }

    fn with_epochs(
        read: &ReadTransaction,
        tables: Tables,
        seqno: u64,
        epochs: Epochs,
    ) -> Result<Self> {
        let stored = meta::secrets(read)?;
        let metadata = Arc::new(Metadata {
            fingerprinter: Fingerprinter::new(stored.fingerprints),
            sealer: Sealer::new(stored.cursors),
            epochs,
            meta: meta::open(read)?,
        });
        let guard = tables.metrics().track_snapshot();
        Ok(Self { tables, seqno, metadata, _guard: guard })
    }

    /// The state `tables` after group `seqno`, with the metadata of this state.
    pub(crate) fn with(&self, tables: Tables, seqno: u64) -> Self {
        let guard = tables.metrics().track_snapshot();
        Self { tables, seqno, metadata: self.metadata.clone(), _guard: guard }
    }

    pub(crate) fn fingerprinter(&self) -> &Fingerprinter {
        &self.metadata.fingerprinter
    }

    /// The `meta` table as of the last checkpoint; the memtables never change it.
    pub(crate) fn meta(&self) -> &Meta {
        &self.metadata.meta
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.metadata.sealer
    }

    pub(crate) fn epochs(&self) -> &Epochs {
        &self.metadata.epochs
    }

    pub(crate) const fn seqno(&self) -> u64 {
        self.seqno
    }

    /// The version of this state.
    pub(crate) fn version(&self) -> StoreVersion {
        self.epochs().version(self.seqno)
    }

    /// The version of this history in which what belongs to the user last changed, or a later one.
    pub(crate) fn user_version(&self, user: UserId) -> StoreVersion {
        self.epochs().version(self.tables.user_version(user))
    }

    /// Whether `version` is part of the history that led to this state.
    pub(crate) fn contains(&self, version: StoreVersion) -> bool {
        self.epochs().contain(version, self.seqno)
    }
}
