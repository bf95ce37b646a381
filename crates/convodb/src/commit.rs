//! A commit of the tables: how it is begun, and the one that carries the tail into them.

use redb::{Database, WriteTransaction};

use crate::durability::{CommitMode, Durability};
use crate::error::{Error, Result};
use crate::meter::Times;
use crate::storage::meta;
use crate::storage::tables::Tables;
use crate::storage::unharmed::unharmed;

/// Writes the tail of `tables`, which ends with `group`, into the database.
pub(crate) fn store(
    database: &Database,
    tables: &mut Tables,
    group: u64,
    mode: CommitMode,
) -> Result<()> {
    let _timing = Times::begin(tables.meter(), |meter| &meter.checkpoints);
    let write = begin(database, mode)?;
    unharmed(|| {
        tables.store(&write)?;
        meta::put_log_group(&write, group)?;
        Ok(write.commit()?)
    })
}

/// Begins a commit.
pub(crate) fn begin(database: &Database, mode: CommitMode) -> Result<WriteTransaction> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(mode.fast_recovery);
    // In one phase, what a failed sync left in the system's memory would be taken for durable.
    write.set_two_phase_commit(true);
    let durability = match mode.durability {
        Durability::Immediate => redb::Durability::Immediate,
        Durability::Deferred => redb::Durability::None,
    };
    write.set_durability(durability).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(write)
}
