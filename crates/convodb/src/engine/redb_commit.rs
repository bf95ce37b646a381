//! A commit of the tables: how it is begun, and the one that carries the tail into them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use redb::{Database, WriteTransaction};

use crate::error::{Error, Result};
use crate::kv::catch_panic::{call_user_code, catch_redb_panic};
use crate::metrics::LatencyHistogram;
use crate::options::{CommitMode, Durability};
use crate::tables::Tables;
use crate::tables::meta;

/// Writes the tail of `tables`, which ends with `group`, into the database.
pub(crate) fn flush(
    database: &Database,
    tables: &mut Tables,
    seqno: u64,
    mode: CommitMode,
) -> Result<()> {
    let _timer = LatencyHistogram::begin(tables.metrics(), |metrics| &metrics.checkpoints);
    commit_with(database, mode, seqno, |write| tables.flush(write))?
}

/// Runs `work` in a commit, after which the tables hold all groups up to `group`.
///
/// # Errors
/// The outer one is a fault of the commit; the inner one is what `work` failed with, and nothing of
/// it is there.
pub(crate) fn commit_with<T>(
    database: &Database,
    mode: CommitMode,
    seqno: u64,
    work: impl FnOnce(&WriteTransaction) -> Result<T>,
) -> Result<Result<T>> {
    catch_redb_panic(|| {
        let write = begin(database, mode)?;
        // Unwinding ends before the transaction is let go of: else redb does not take it back, and the
        // file has to be repaired when it is opened. Over damage taking it back may panic once more.
        let done = catch_unwind(AssertUnwindSafe(|| catch_redb_panic(|| work(&write))));
        match done {
            Ok(Ok(done)) => {
                meta::put_wal_seqno(&write, seqno)?;
                write.commit()?;
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

/// Begins a commit.
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

/// Begins a commit in two phases, as all are of a store that has its name. In one phase, what a failed
/// sync left in the system's memory would be taken for durable: of that commit, and of the next.
pub(crate) fn begin_two_phase(database: &Database) -> Result<WriteTransaction> {
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    Ok(write)
}
