//! Format upgrades: converts a store of an older format at opening.
//!
//! Each step is one transaction, after one that creates its empty tables, so a crash leaves the
//! store complete in the older or in the newer format. The step replays the WAL of the older format
//! too.

use std::collections::BTreeSet;

use redb::{Database, ReadTransaction, ReadableDatabase, TableHandle};

use crate::encoding::key::{FixedKey, MessageKey, UuidKey};
use crate::engine::redb_commit::begin_two_phase;
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result, from_redb};
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::epochs::Epochs;
use crate::tables::meta;
use crate::tables::old_counters;
use crate::tables::quotas::CountedUsage;
use crate::tables::schema;
use crate::wal::reader::WalFiles;
use crate::wal::{WalPosition, format_1};

/// Upgrades the store at `location` to the current format. Reads all counters, and all conversations
/// and messages of a store that does not know what its users store: some seconds for a million
/// conversations.
pub(crate) fn upgrade(database: &Database, location: &StoreLocation) -> Result<()> {
    let found = meta::check_format(&database.begin_read().map_err(from_redb)?)?;
    if found == schema::FORMAT {
        return Ok(());
    }
    tracing::info!(from = found, to = schema::FORMAT, "upgrading the file format");
    match found {
        1 => {
            to_format_2(database, location)?;
            to_format_5(database, location, 2)?;
        }
        2..=4 => to_format_5(database, location, found)?,
        _ => return Err(Error::NotAStore(format!("unknown format {found}"))),
    }
    tracing::info!(format = schema::FORMAT, "upgraded the file format");
    Ok(())
}

/// Format 2 adds rollups to the counters of single days, and the tables of changes and idempotency
/// records. Earlier changes are unknown, so every user's feed starts with one change that is
/// trimmed.
fn to_format_2(database: &Database, location: &StoreLocation) -> Result<()> {
    let write = begin_two_phase(database)?;
    schema::create_missing(&write)?;
    write.commit().map_err(from_redb)?;

    let read = database.begin_read().map_err(from_redb)?;
    let mut tables = Tables::open(&read)?;
    let lacking: Vec<&str> = schema::lacking(1).collect();
    let seqno = replay_log(&read, location, |record| tables.replay_without(&lacking, record))?;
    tables.end_checkpoint(&read)?;
    for user in old_counters::add_rollups(&mut tables.counters)? {
        trim_unknown_past(&mut tables, user);
    }
    let write = begin_two_phase(database)?;
    tables.flush(&write)?;
    meta::put_wal_position(&write, WalPosition { seqno, chain: None })?;
    meta::put_format(&write, 2)?;
    write.commit().map_err(from_redb)
}

/// Format 3 added the epochs and the chain of the WAL, and what each user's data takes; some stores
/// of format 3 lack the latter and staged inserts. Format 4 adds optional indexes, and has the
/// counters of all types, and of all days of a week, in one record. Format 5 adds counters of lists.
/// The tables receive the WAL of the older format, which is then removed. Reads all counters of a
/// store of format 2 or 3, and all conversations and messages of a store without usage of its users.
fn to_format_5(database: &Database, location: &StoreLocation, found: u32) -> Result<()> {
    let lacking = lacking_tables(&database.begin_read().map_err(from_redb)?, found)?;
    let lacking: Vec<&str> = lacking.iter().map(String::as_str).collect();
    let write = begin_two_phase(database)?;
    meta::put_lacking(&write, &lacking)?;
    schema::create_missing(&write)?;
    write.commit().map_err(from_redb)?;

    let vfs = &*location.vfs;
    let read = database.begin_read().map_err(from_redb)?;
    let mut tables = Tables::open(&read)?;
    let apply = |record: &[u8]| tables.replay_without(&lacking, record);
    let seqno = match found {
        3.. => replay_chained_log(&read, location, apply)?,
        _ => replay_log(&read, location, apply)?,
    };
    tables.end_checkpoint(&read)?;
    if lacking.contains(&schema::QUOTAS.name) {
        for (user, usage) in counted_usage(&tables)?.all() {
            tables.quotas.put_usage(user, usage)?;
        }
    }
    if found < 4 {
        old_counters::convert(&mut tables.counters)?;
    }
    let write = begin_two_phase(database)?;
    tables.flush(&write)?;
    meta::put_wal_position(&write, WalPosition { seqno, chain: None })?;
    if found < 3 {
        meta::put_epochs(&write, &Epochs::new(meta::fresh_number(vfs)?))?;
    }
    meta::remove_lacking(&write)?;
    meta::put_format(&write, 5)?;
    write.commit().map_err(from_redb)
}

/// The tables that a store of format `found`, and therefore its WAL, lacked before its upgrade began.
fn lacking_tables(read: &ReadTransaction, found: u32) -> Result<Vec<String>> {
    if found < 3 {
        return Ok(schema::lacking(found).map(str::to_owned).collect());
    }
    if let Some(recorded) = meta::lacking(read)? {
        return Ok(recorded);
    }
    let tables = read.list_tables().map_err(from_redb)?;
    let present: BTreeSet<String> = tables.map(|table| table.name().to_owned()).collect();
    let lacking = schema::lacking(2).filter(|name| !present.contains(*name));
    Ok(lacking.map(str::to_owned).collect())
}

/// What the data of all users takes.
fn counted_usage(tables: &Tables) -> Result<CountedUsage> {
    let mut counted = CountedUsage::default();
    for entry in tables.conversations.rows.iter()? {
        let (key, record) = entry?;
        counted.add_conversation(key.user, record.value().len());
    }
    for entry in tables.messages.table.iter()? {
        let (key, record) = entry?;
        counted.add(key.user, MessageKey::WIDTH, record.value().len());
    }
    for table in [&tables.accounts.assistants, &tables.idempotency.table] {
        for entry in table.iter()? {
            let (key, record) = entry?;
            counted.add(key.user, UuidKey::WIDTH, record.value().len());
        }
    }
    Ok(counted)
}

/// Passes the groups that the tables of format 1 or 2 lack to `apply`, and returns the sequence
/// number of the last one. Recovery removes the log when the tables have the current format.
fn replay_log(
    read: &ReadTransaction,
    location: &StoreLocation,
    apply: impl FnMut(&[u8]) -> Option<()>,
) -> Result<u64> {
    let seed = meta::secrets(read)?.wal_seed();
    let flushed = meta::wal_position(read)?.seqno;
    format_1::replay(&*location.vfs, &location.path, seed, flushed, apply)
}

/// [`replay_log`] of a store of format 3 or 4, unless it gives up its WAL.
fn replay_chained_log(
    read: &ReadTransaction,
    location: &StoreLocation,
    apply: impl FnMut(&[u8]) -> Option<()>,
) -> Result<u64> {
    let flushed = meta::wal_position(read)?;
    if location.without_wal {
        return Ok(flushed.seqno);
    }
    let seed = meta::secrets(read)?.wal_seed();
    let files = WalFiles { vfs: &*location.vfs, store: &location.path, seed };
    files.replay(flushed, apply).map(|position| position.seqno)
}

/// Records one change as trimmed, so that a reader that starts at the beginning learns that it has
/// missed changes.
fn trim_unknown_past(tables: &mut Tables, user: UserId) {
    tables.sequences.put_last_change(user, 1);
    tables.sequences.put_last_trimmed(user, 1);
}
