//! Format upgrades: converts a store of an older format at opening.
//!
//! Each step is one transaction, after one that creates its empty tables, so a crash leaves the
//! store complete in the older or in the newer format. The step replays the WAL of the older format
//! too.

use std::collections::BTreeSet;

use redb::{Database, ReadableDatabase};

use crate::engine::redb_commit::begin_two_phase;
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result, from_redb};
use crate::kv::bulk_insert::bulk_insert;
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::counters::{self, CounterDeltas};
use crate::tables::meta;
use crate::tables::schema;
use crate::wal::reader;

/// Upgrades the store at `location` to the current format. Reads all counters of a store of format
/// 1: about a second for some million counters.
pub(crate) fn upgrade(database: &Database, location: &StoreLocation) -> Result<()> {
    let found = meta::check_format(&database.begin_read().map_err(from_redb)?)?;
    if found == schema::FORMAT {
        return Ok(());
    }
    tracing::info!(from = found, to = schema::FORMAT, "upgrading the file format");
    match found {
        1 => to_format_2(database, location)?,
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
    let mut tables = Tables::open(&read, 0)?;
    let flushed = meta::wal_seqno(&read)?;
    let seed = meta::secrets(&read)?.wal_seed();
    let replay = |bytes: &[u8]| tables.replay_format_1(bytes);
    let seqno = reader::replay(&*location.vfs, &location.path, seed, flushed, replay)?;
    let mut deltas = CounterDeltas::default();
    let mut users = BTreeSet::new();
    for entry in tables.counters.table.iter()? {
        let (key, record) = entry?;
        let count = counters::decode(key, record.value())?;
        let what = "a counter of format 1 does not span a day";
        let rollups = counters::rollups(key);
        for key in rollups.ok_or(schema::COUNTERS.corrupted(what))? {
            deltas.count(key, &count)?;
        }
        users.insert(key.user);
    }
    for user in users {
        trim_unknown_past(&mut tables, user);
    }
    let write = begin_two_phase(database)?;
    tables.flush(&write)?;
    let deltas = deltas.on_top_of(&tables.counters);
    bulk_insert(&mut schema::COUNTERS.open_for_write(&write)?, deltas, Vec::as_slice)?;
    meta::put_wal_seqno(&write, seqno)?;
    meta::put_format(&write)?;
    write.commit().map_err(from_redb)
}

/// Records one change as trimmed, so that a reader that starts at the beginning learns that it has
/// missed changes.
fn trim_unknown_past(tables: &mut Tables, user: UserId) {
    tables.sequences.put_last_change(user, 1);
    tables.sequences.put_last_trimmed(user, 1);
}
