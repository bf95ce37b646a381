//! Commits of redb: two-phase write transactions, and the flush of the memtables into the tables.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use redb::{Database, WriteTransaction};

use crate::error::{Error, Result, from_redb};
use crate::kv::catch_panic::{call_user_code, catch_redb_panic};
use crate::metrics::LatencyHistogram;
use crate::options::{CommitMode, Durability};
use crate::tables::{Tables, meta};
use crate::wal::WalPosition;

/// Writes the memtables of `tables`, which end with `position`, into the database, together with
/// what `more` writes.
pub(crate) fn flush(
    database: &Database,
    tables: &Tables,
    position: WalPosition,
    mode: CommitMode,
    more: impl FnOnce(&WriteTransaction) -> Result<()>,
) -> Result<()> {
    let _timer = LatencyHistogram::begin(tables.metrics(), |metrics| &metrics.checkpoints);
    commit_with(database, mode, position, |write| {
        tables.flush(write)?;
        more(write)
    })?
}

/// Runs `work` in a redb transaction and commits it, after which the tables contain every group up
/// to `position`.
///
/// # Errors
/// The outer error is a failed commit. The inner one is the error of `work`, after a rollback.
pub(crate) fn commit_with<T>(
    database: &Database,
    mode: CommitMode,
    position: WalPosition,
    work: impl FnOnce(&WriteTransaction) -> Result<T>,
) -> Result<Result<T>> {
    catch_redb_panic(|| {
        let write = begin(database, mode)?;
        // Stop unwinding before dropping the transaction: redb skips the rollback during a panic,
        // and the file would need a repair at the next opening. The rollback itself may panic over
        // a damaged page, which the outer call catches.
        let done = catch_unwind(AssertUnwindSafe(|| catch_redb_panic(|| work(&write))));
        match done {
            Ok(Ok(done)) => {
                meta::put_wal_position(&write, position)?;
                write.commit().map_err(from_redb)?;
                Ok(Ok(done))
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(panic) => {
                drop(write);
                call_user_code(|| resume_unwind(panic))
            }
        }
    })
}

fn begin(database: &Database, mode: CommitMode) -> Result<WriteTransaction> {
    let mut write = begin_two_phase(database)?;
    write.set_quick_repair(mode.fast_recovery);
    let durability = match mode.durability {
        Durability::Immediate => redb::Durability::Immediate,
        Durability::Deferred => redb::Durability::None,
    };
    write.set_durability(durability).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(write)
}

/// Begins a two-phase write transaction. In one phase, redb would take what a failed sync left in
/// the page cache of the system for durable: for that commit and for the next one.
pub(crate) fn begin_two_phase(database: &Database) -> Result<WriteTransaction> {
    let mut write = database.begin_write().map_err(from_redb)?;
    write.set_two_phase_commit(true);
    Ok(write)
}
