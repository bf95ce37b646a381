//! From the formats of older versions to this one's. Each step is one transaction, after one that makes
//! its empty tables, so a crash leaves the older store or the newer one, whole; what the log holds is
//! carried into the tables with it.

use std::collections::BTreeSet;

use redb::{Database, ReadableDatabase};

use crate::engine::redb_commit::begin_two_phase;
use crate::engine::store_file::StoreLocation;
use crate::error::{Error, Result};
use crate::kv::bulk_insert::bulk_insert;
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::counters::{self, CounterDeltas};
use crate::tables::schema::{self, names};
use crate::tables::{meta, sequences};
use crate::wal;

/// Brings the store at its place to the format of this version, if it has an older one. Format 2 adds
/// up the counters of format 1: a second for some millions of them.
pub(crate) fn migrate(database: &Database, location: &StoreLocation) -> Result<()> {
    match meta::check_format(&database.begin_read()?)? {
        1 => to_format_2(database, location),
        _ => Ok(()),
    }
}

/// Format 2 has coarser counters beside those of days, and the tables of changes and answers. Nobody
/// knows what changed before, so the feed of each owner begins with something forgotten.
fn to_format_2(database: &Database, location: &StoreLocation) -> Result<()> {
    let write = begin_two_phase(database)?;
    meta::make_tables(&write)?;
    write.commit()?;

    let read = database.begin_read()?;
    let mut tables = Tables::open(&read, 0)?;
    let stored = meta::wal_seqno(&read)?;
    let seed = meta::secrets(&read)?.wal_seed();
    let replay = |bytes: &[u8]| tables.replay_format_1(bytes);
    let seqno = wal::replay(&*location.vfs, &location.path, seed, stored, replay)?;
    let mut coarse = CounterDeltas::default();
    let mut owners = BTreeSet::new();
    for entry in tables.counters.iter()? {
        let (key, record) = entry?;
        let count = counters::decode(key, record.value())?;
        for key in counters::rollups(key)
            .ok_or(Error::Corrupted { table: names::COUNTERS, what: "a counter is of no day" })?
        {
            coarse.count(key, &count)?;
        }
        owners.insert(key.owner);
    }
    for owner in owners {
        forget_the_past(&mut tables, owner);
    }
    let write = begin_two_phase(database)?;
    tables.flush(&write)?;
    bulk_insert(
        &mut write.open_table(schema::COUNTERS)?,
        coarse.on_top_of(&tables.counters),
        Vec::as_slice,
    )?;
    meta::put_wal_seqno(&write, seqno)?;
    meta::put_format(&write)?;
    Ok(write.commit()?)
}

/// One change that nobody knows of was the first.
fn forget_the_past(tables: &mut Tables, owner: UserId) {
    sequences::put_last_change(tables, owner, 1);
    sequences::put_last_forgotten(tables, owner, 1);
}
