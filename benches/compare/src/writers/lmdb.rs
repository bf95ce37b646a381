//! LMDB writer: one synced transaction per write, serialized by LMDB's own lock.

use std::ops::Bound::Included;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use convodb_bench::row::created_at_millis;
use heed::{Env, PutFlags, RwTxn, WithTls};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::dataset::record::{self, position_of, row_key};
use crate::engines::lmdb::{self, Table, Tables, activity_entries, entries_of, id_key};
use crate::writers::{NewRow, Writer};

/// A store open for writes.
pub(crate) struct LmdbWriter {
    env: Env<WithTls>,
    tables: Tables,
}

impl LmdbWriter {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (env, tables) = lmdb::open(path)?;
        Ok(Self { env, tables })
    }
}

/// The last key between `first` and `last`, both included.
fn last_key<'t>(
    table: &Table,
    write: &'t RwTxn<'_>,
    first: &[u8],
    last: &[u8],
) -> Result<Option<&'t [u8]>> {
    let mut range = table.rev_range(write, &(Included(first), Included(last)))?;
    Ok(range.next().transpose()?.map(|(key, _)| key))
}

/// The first free position of a user in a millisecond.
fn free_position(rows: &Table, write: &RwTxn<'_>, user: u32, millis: u64) -> Result<u64> {
    let first = millis << 22;
    let (from, to) = (row_key(user, first), row_key(user, first + (1 << 22) - 1));
    Ok(last_key(rows, write, &from, &to)?.map_or(first, |key| position_of(key) + 1))
}

fn message_key(user: u32, position: u64, number: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..12].copy_from_slice(&row_key(user, position));
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Encodes role, cost, time and content, with a checksum.
fn message_record(key: &[u8], content: &str, at: u64) -> Vec<u8> {
    let mut record = vec![1, 0];
    record.extend_from_slice(&0u64.to_le_bytes());
    record.extend_from_slice(&at.to_le_bytes());
    record.extend_from_slice(content.as_bytes());
    let checksum = xxh3_64(&record) ^ xxh3_64(key);
    record.extend_from_slice(&checksum.to_le_bytes());
    record
}

impl Writer for LmdbWriter {
    fn insert(&self, rows: &[NewRow]) -> Result<()> {
        let Tables { rows: table, ids, entries, activity, .. } = &self.tables;
        let mut write = self.env.write_txn()?;
        let mut new_entries = Vec::with_capacity(rows.len() * 8);
        let mut new_activity = Vec::with_capacity(rows.len() * 6);
        let mut record = Vec::new();
        for NewRow { user, row, .. } in rows {
            let position = free_position(table, &write, *user, row.created_at)?;
            ensure!(
                created_at_millis(position) == row.created_at,
                "no free position in the millisecond"
            );
            record.clear();
            record::encode(*user, position, row, &mut record)?;
            let id = id_key(*user, row);
            // Fails if the id exists.
            let flags = PutFlags::NO_OVERWRITE;
            ids.put_with_flags(&mut write, flags, &id, &position.to_be_bytes())?;
            table.put(&mut write, &row_key(*user, position), &record)?;
            new_entries.extend(entries_of(*user, position, row));
            new_activity.extend(activity_entries(*user, position, row));
        }
        // Insert in key order, as convodb does, so that entries of one leaf cost one visit.
        new_entries.sort_unstable();
        for (field, key) in new_entries {
            entries[field as usize].put(&mut write, &key, &[])?;
        }
        new_activity.sort_unstable();
        for key in new_activity {
            activity.put(&mut write, &key, &[])?;
        }
        Ok(write.commit()?)
    }

    fn append(&self, user: u32, id: Uuid, content: &str, at: u64) -> Result<()> {
        let Tables { rows, ids, messages, activity, .. } = &self.tables;
        let mut write = self.env.write_txn()?;
        let mut id_key = [0; 20];
        id_key[..4].copy_from_slice(&user.to_be_bytes());
        id_key[4..].copy_from_slice(id.as_bytes());
        let position = position_of(ids.get(&write, &id_key)?.context("conversation not found")?);
        let key = row_key(user, position);
        let stored = rows.get(&write, &key)?.context("no row at the position of the id")?;
        let mut row = record::decode(user, position, stored)?;
        row.message_count += 1;
        if at > row.updated_at {
            for entry in activity_entries(user, position, &row) {
                activity.delete(&mut write, &entry)?;
            }
            row.updated_at = at;
            for entry in activity_entries(user, position, &row) {
                activity.put(&mut write, &entry, &[])?;
            }
        }
        let (first, last) = (message_key(user, position, 0), message_key(user, position, u32::MAX));
        let number = last_key(messages, &write, &first, &last)?
            .and_then(|key| key.last_chunk())
            .map_or(0, |number| u32::from_be_bytes(*number));
        let message = message_key(user, position, number + 1);
        messages.put(&mut write, &message, &message_record(&message, content, at))?;
        let mut record = Vec::new();
        record::encode(user, position, &row, &mut record)?;
        rows.put(&mut write, &key, &record)?;
        Ok(write.commit()?)
    }
}
