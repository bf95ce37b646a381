//! LMDB writer: one synced transaction per write, serialized by LMDB's own lock.

use std::ops::Bound::Included;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use convodb_bench::filter::Field;
use convodb_bench::row::{Row, created_at_millis};
use heed::{Env, PutFlags, RoTxn, RwTxn, WithTls};
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

/// The position of a user's conversation and its row.
fn find(tables: &Tables, read: &RoTxn<'_>, user: u32, id: Uuid) -> Result<(u64, Row)> {
    let position = tables.ids.get(read, &id_key(user, id))?.context("conversation not found")?;
    let position = position_of(position);
    let stored = tables.rows.get(read, &row_key(user, position))?;
    let stored = stored.context("no row at the position of the id")?;
    Ok((position, record::decode(user, position, stored)?))
}

/// Sorted changes of index entries: in key order, as convodb makes them, entries of one leaf cost
/// one visit.
#[derive(Default)]
struct Entries {
    by_creation: Vec<(Field, [u8; 20])>,
    by_activity: Vec<[u8; 26]>,
}

impl Entries {
    fn add(&mut self, user: u32, position: u64, row: &Row) {
        self.by_creation.extend(entries_of(user, position, row));
        self.by_activity.extend(activity_entries(user, position, row));
    }

    /// Adds the entries of a row that it has not with other values.
    fn add_changed(&mut self, user: u32, position: u64, row: &Row, other: &Row) {
        let kept: Vec<_> = entries_of(user, position, other).collect();
        let changed = entries_of(user, position, row).filter(|entry| !kept.contains(entry));
        self.by_creation.extend(changed);
        let kept: Vec<_> = activity_entries(user, position, other).collect();
        let changed = activity_entries(user, position, row).filter(|entry| !kept.contains(entry));
        self.by_activity.extend(changed);
    }

    fn put(mut self, tables: &Tables, write: &mut RwTxn<'_>) -> Result<()> {
        self.by_creation.sort_unstable();
        for (field, key) in self.by_creation {
            tables.entries[field as usize].put(write, &key, &[])?;
        }
        self.by_activity.sort_unstable();
        for key in self.by_activity {
            tables.activity.put(write, &key, &[])?;
        }
        Ok(())
    }

    fn delete(mut self, tables: &Tables, write: &mut RwTxn<'_>) -> Result<()> {
        self.by_creation.sort_unstable();
        for (field, key) in self.by_creation {
            tables.entries[field as usize].delete(write, &key)?;
        }
        self.by_activity.sort_unstable();
        for key in self.by_activity {
            tables.activity.delete(write, &key)?;
        }
        Ok(())
    }
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
        let Tables { rows: table, ids, .. } = &self.tables;
        let mut write = self.env.write_txn()?;
        let mut entries = Entries::default();
        let mut record = Vec::new();
        for NewRow { user, row, .. } in rows {
            let position = free_position(table, &write, *user, row.created_at)?;
            ensure!(
                created_at_millis(position) == row.created_at,
                "no free position in the millisecond"
            );
            record.clear();
            record::encode(*user, position, row, &mut record)?;
            let id = id_key(*user, row.id);
            // Fails if the id exists.
            let flags = PutFlags::NO_OVERWRITE;
            ids.put_with_flags(&mut write, flags, &id, &position.to_be_bytes())?;
            table.put(&mut write, &row_key(*user, position), &record)?;
            entries.add(*user, position, row);
        }
        entries.put(&self.tables, &mut write)?;
        Ok(write.commit()?)
    }

    fn append(&self, user: u32, id: Uuid, content: &str, at: u64) -> Result<()> {
        let Tables { rows, messages, activity, .. } = &self.tables;
        let mut write = self.env.write_txn()?;
        let (position, mut row) = find(&self.tables, &write, user, id)?;
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
        rows.put(&mut write, &row_key(user, position), &record)?;
        Ok(write.commit()?)
    }

    fn delete(&self, user: u32, ids: &[Uuid]) -> Result<()> {
        let mut write = self.env.write_txn()?;
        let mut entries = Entries::default();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let (position, row) = find(&self.tables, &write, user, *id)?;
            entries.add(user, position, &row);
            found.push((position, *id));
        }
        found.sort_unstable();
        for (position, id) in found {
            self.tables.rows.delete(&mut write, &row_key(user, position))?;
            self.tables.ids.delete(&mut write, &id_key(user, id))?;
            let (first, last) =
                (message_key(user, position, 0), message_key(user, position, u32::MAX));
            let range = (Included(first.as_slice()), Included(last.as_slice()));
            self.tables.messages.delete_range(&mut write, &range)?;
        }
        entries.delete(&self.tables, &mut write)?;
        Ok(write.commit()?)
    }

    fn reassign(&self, user: u32, ids: &[Uuid], assistant: Uuid) -> Result<()> {
        let mut write = self.env.write_txn()?;
        let (mut old, mut new) = (Entries::default(), Entries::default());
        let mut changed = Vec::with_capacity(ids.len());
        for id in ids {
            let (position, before) = find(&self.tables, &write, user, *id)?;
            let row = Row { assistant, ..before.clone() };
            old.add_changed(user, position, &before, &row);
            new.add_changed(user, position, &row, &before);
            changed.push((position, row));
        }
        changed.sort_unstable_by_key(|(position, _)| *position);
        let mut record = Vec::new();
        for (position, row) in changed {
            record.clear();
            record::encode(user, position, &row, &mut record)?;
            self.tables.rows.put(&mut write, &row_key(user, position), &record)?;
        }
        old.delete(&self.tables, &mut write)?;
        new.put(&self.tables, &mut write)?;
        Ok(write.commit()?)
    }
}
