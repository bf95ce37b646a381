//! Recovery: opens the database and replays the WAL into the memtables.

use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase};

use crate::encoding::index_term::Fingerprinter;
use crate::engine::redb_commit::begin_two_phase;
use crate::engine::store_file::{self, StoreFile, StoreLocation, read_before_drop};
use crate::engine::upgrade;
use crate::error::{Error, Result, from_redb};
use crate::io::fault::FaultSignal;
use crate::kv::catch_panic::catch_redb_panic;
use crate::options::{CommitMode, Durability};
use crate::tables::Tables;
use crate::tables::epochs::Epochs;
use crate::tables::meta;
use crate::tables::state::CommittedState;
use crate::wal::reader::WalFiles;
use crate::wal::writer::Wal;
use crate::wal::{self, WalPosition};

/// A store's files after recovery: what the tables contain, and above it what only the WAL
/// contains.
pub(crate) struct Recovered {
    pub(crate) file: StoreFile,
    pub(crate) wal: Wal,
    pub(crate) tables: Tables,
    pub(crate) state: CommittedState,
    /// Bytes that were replayed from the WAL, and are not in the tables.
    pub(crate) replayed_bytes: usize,
}

impl Recovered {
    /// Opens the store at `location`, creating it where no file exists, and upgrades its format.
    pub(crate) fn open_or_create(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
    ) -> Result<Self> {
        store_file::create_if_missing(location)?;
        let file = store_file::open(location, fault_signal)?;
        catch_redb_panic(|| {
            upgrade::upgrade(&file.database, location)?;
            if location.without_wal { give_up_wal(&file.database, location) } else { Ok(()) }
        })?;
        let (wal, tables, replayed_bytes, state) = read_before_drop(&file.database, |read| {
            let tables = Tables::open(read)?;
            let (wal, tables, replayed_bytes) = replay(location, &file, read, tables)?;
            let seqno = wal.position().seqno;
            let state = CommittedState::open_ended(read, tables.clone(), seqno)?;
            Ok((wal, tables, replayed_bytes, state))
        })?;
        Ok(Self { file, wal, tables, state, replayed_bytes })
    }

    /// Reopens the store at `location`, whose `published` state readers have seen.
    ///
    /// # Errors
    /// [`Error::NotAStore`] if the file is a different store or an older copy, and [`Error::Io`] if
    /// it is missing: what readers have seen is never replaced by another or an empty store.
    pub(crate) fn reopen(
        location: &StoreLocation,
        fault_signal: &Arc<FaultSignal>,
        mode: CommitMode,
        published: &CommittedState,
    ) -> Result<Self> {
        let file = store_file::open(location, fault_signal)?;
        let (wal, tables, replayed_bytes, state) = read_before_drop(&file.database, |read| {
            if *published.fingerprinter() != Fingerprinter::new(meta::secrets(read)?.fingerprints) {
                let why = "a different store has replaced the file";
                return Err(Error::NotAStore(why.to_owned()));
            }
            let tables = Tables::open(read)?;
            let tables = tables.counted_by(published.tables.metrics().clone());
            let (wal, tables, replayed_bytes) = replay(location, &file, read, tables)?;
            let seqno = wal.position().seqno;
            let deferred = mode.durability == Durability::Deferred;
            let state = match published.epochs().is_open() && !deferred {
                true => CommittedState::open(read, tables.clone(), seqno)?,
                false => CommittedState::open_ended(read, tables.clone(), seqno)?,
            };
            if !deferred && !state.contains(published.version()) {
                return Err(Error::NotAStore("an older copy has replaced the store".to_owned()));
            }
            Ok((wal, tables, replayed_bytes, state))
        })?;
        Ok(Self { file, wal, tables, state, replayed_bytes })
    }
}

/// Replays the WAL into the memtables. Returns the WAL, the tables, and the bytes replayed.
fn replay(
    location: &StoreLocation,
    file: &StoreFile,
    read: &ReadTransaction,
    mut tables: Tables,
) -> Result<(Wal, Tables, usize)> {
    let seed = meta::secrets(read)?.wal_seed();
    let flushed = meta::wal_position(read)?;
    let files = WalFiles { vfs: &*location.vfs, store: &location.path, seed };
    let mut replayed_bytes = 0;
    let position = files.replay(flushed, |record| {
        replayed_bytes += record.len();
        tables.replay(record)
    })?;
    tables.end_checkpoint(read)?;
    tables.change_all_users(position.seqno);
    if position.seqno > flushed.seqno {
        let groups = position.seqno - flushed.seqno;
        tracing::info!(groups, bytes = replayed_bytes, "replayed the write-ahead log");
    }
    let mut wal = Wal::new(file.guard.clone(), seed, position);
    let is_left_over =
        flushed.chain.is_none() && !wal::segments(files.vfs, files.store)?.is_empty();
    if is_left_over && let Err(error) = wal.remove_all() {
        // A crash left it after the store was closed. It contains nothing that is missing.
        tracing::warn!(%error, "cannot remove the write-ahead log of a closed store");
    }
    Ok((wal, tables, replayed_bytes))
}

/// Makes the tables a store of its own, without what only its WAL contains, and removes the WAL.
fn give_up_wal(database: &Database, location: &StoreLocation) -> Result<()> {
    let vfs = &*location.vfs;
    let position = meta::wal_position(&database.begin_read().map_err(from_redb)?)?;
    let write = begin_two_phase(database)?;
    meta::put_epochs(&write, &Epochs::new(meta::fresh_number(vfs)?))?;
    meta::put_wal_position(&write, WalPosition { chain: None, ..position })?;
    write.commit().map_err(from_redb)?;
    for (_, segment) in wal::segments(vfs, &location.path)? {
        tracing::warn!(segment = %segment.display(), "removing the write-ahead log, as requested");
        vfs.remove(&segment)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::system::SystemVfs;
    use crate::model::index_family::IndexFamilies;
    use crate::options::StoreOptions;

    fn location(directory: &tempfile::TempDir) -> StoreLocation {
        let path = directory.path().join("store");
        StoreLocation {
            vfs: Arc::new(SystemVfs),
            path,
            cache_bytes: 1 << 20,
            check: false,
            without_wal: false,
            indexes: IndexFamilies::NONE,
        }
    }

    fn mode() -> CommitMode {
        StoreOptions::new().commit_mode()
    }

    /// A snapshot is still alive, and redb panicked before it released the file.
    #[test]
    fn force_close_releases_a_file_that_redb_does_not_close() {
        let directory = tempfile::tempdir().unwrap();
        let (location, fault_signal) = (location(&directory), FaultSignal::detached());
        let Recovered { file, state, .. } =
            Recovered::open_or_create(&location, &fault_signal).unwrap();
        let StoreFile { database, force_close, .. } = file;
        std::mem::forget(database);
        let reopen = || Recovered::reopen(&location, &fault_signal, mode(), &state);
        let in_use = reopen().err().unwrap();
        assert!(matches!(&in_use, Error::InUse { path, .. } if *path == location.path));
        force_close.close();
        force_close.close();
        assert_eq!(reopen().unwrap().state.seqno(), 0);
    }

    #[test]
    fn reopening_never_replaces_the_published_store() {
        let directory = tempfile::tempdir().unwrap();
        let (location, fault_signal) = (location(&directory), FaultSignal::detached());
        let Recovered { file, state, .. } =
            Recovered::open_or_create(&location, &fault_signal).unwrap();
        file.database.close().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&location.path, &elsewhere).unwrap();
        let reopen = |state| Recovered::reopen(&location, &fault_signal, mode(), state);
        let missing = reopen(&state).err().unwrap();
        assert_eq!(missing.io_kind(), std::io::ErrorKind::NotFound);
        assert!(!location.path.exists(), "an empty store must not be created");
        let other = Recovered::open_or_create(&location, &fault_signal).unwrap();
        other.file.database.close().unwrap();
        let other = reopen(&state).err().unwrap();
        assert!(matches!(other, Error::NotAStore(_)), "{other:?}");
        fs::rename(elsewhere, &location.path).unwrap();
        let later = state.with(state.tables.clone(), state.seqno() + 1);
        let older = reopen(&later).err().unwrap().to_string();
        assert!(older.contains("an older copy"), "{older}");
        assert!(reopen(&state).is_ok());
    }

    #[test]
    fn files_that_are_not_stores_are_refused_with_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path: &std::path::Path| {
            let location = StoreLocation { path: path.to_owned(), ..location(&directory) };
            let opened = Recovered::open_or_create(&location, &FaultSignal::detached());
            opened.err().unwrap().to_string()
        };
        let empty = directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert_eq!(refused(&empty), "not a convodb store: the file is empty");
        #[cfg(unix)]
        assert_eq!(
            refused(std::path::Path::new("/dev/null")),
            "not a convodb store: the file is empty"
        );
        let text = directory.path().join("text");
        fs::write(&text, "some text").unwrap();
        assert!(refused(&text).starts_with("not a convodb store: "), "{}", refused(&text));
    }
}
