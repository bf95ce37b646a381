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
    unharmed(|| tables.store(&write))?;
    end(write, group)
}

/// Ends a commit, after which the tables hold all groups up to `group`.
pub(crate) fn end(write: WriteTransaction, group: u64) -> Result<()> {
    unharmed(|| {
        meta::put_log_group(&write, group)?;
        Ok(write.commit()?)
    })
}

/// Begins a commit.
pub(crate) fn begin(database: &Database, mode: CommitMode) -> Result<WriteTransaction> {
    let mut write = begin_two_phase(database)?;
    write.set_quick_repair(mode.fast_recovery);
    let durability = match mode.durability {
        Durability::Immediate => redb::Durability::Immediate,
        Durability::Deferred => redb::Durability::None,
    };
    write.set_durability(durability).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(write)
}

/// Begins a commit in two phases, as all are of a store that has its name. In one phase, what a failed
/// sync left in the system's memory would be taken for durable: of that commit, and of the next.
pub(crate) fn begin_two_phase(database: &Database) -> Result<WriteTransaction> {
    let mut write = unharmed(|| Ok(database.begin_write()?))?;
    write.set_two_phase_commit(true);
    Ok(write)
}
