//! Ordered table: a redb table and the memtable above it, as of one commit.
//!
//! Writes go into the memtable; a checkpoint flushes it into redb. The writer applies writes in
//! *groups*: all writes of a group share one commit and one sync.

use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use crate::encoding::key::FixedKey;
use crate::encoding::record;
use crate::error::{Error, Result, from_redb};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::catch_panic::catch_read_fault;
use crate::kv::cursor::{Gap, MergeCursor, ScanDirection};
use crate::kv::memtable::Memtable;
use crate::kv::redb_key::RedbKey;
use crate::kv::value::{Slot, TableValue, ValueRef};
use crate::model::id::UserId;

/// The declaration of a table: its name on disk, its types, and whether its values are records.
pub(crate) struct TableSpec<K: FixedKey, V: TableValue> {
    pub(crate) name: &'static str,
    /// Whether its values are records, each with a checksum.
    checksummed: bool,
    definition: TableDefinition<'static, RedbKey<K>, V>,
}

impl<K: FixedKey, V: TableValue> TableSpec<K, V> {
    /// A table whose values are records.
    pub(crate) const fn records(name: &'static str) -> Self {
        Self { name, checksummed: true, definition: TableDefinition::new(name) }
    }

    /// A table whose values have no checksum.
    pub(crate) const fn plain(name: &'static str) -> Self {
        Self { name, checksummed: false, definition: TableDefinition::new(name) }
    }

    /// Opens the redb table for writing. Creates it if it does not exist.
    pub(crate) fn open_for_write<'txn>(
        &self,
        write: &'txn WriteTransaction,
    ) -> Result<redb::Table<'txn, RedbKey<K>, V>> {
        write.open_table(self.definition).map_err(from_redb)
    }

    /// [`Error::Corrupted`] for an entry of this table.
    pub(crate) const fn corrupted(&self, what: &'static str) -> Error {
        Error::Corrupted { table: self.name, what }
    }
}

impl<K: FixedKey, V: TableValue> Clone for TableSpec<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: FixedKey, V: TableValue> Copy for TableSpec<K, V> {}

/// One table as of one commit: entries stored in redb, and above them the newer ones of a memtable.
///
/// A slot of the memtable, a value or a tombstone, hides the stored entry of its key. Readers see
/// one ordered table. If the memtable is empty, it costs them one comparison.
///
/// The writer's copy also has a journal of the current group, which serves to roll back one write
/// or the whole group and to encode the group for the WAL. A clone has the same entries and an
/// empty journal.
pub(crate) struct Table<K: FixedKey, V: TableValue> {
    spec: TableSpec<K, V>,
    stored: Arc<ReadOnlyTable<RedbKey<K>, V>>,
    memtable: Memtable<K, Slot<V>>,
    journal: Journal<K, V>,
}

/// The writer's undo and redo journal of a table.
struct Journal<K: FixedKey, V: TableValue> {
    /// The changes of the current group, in order.
    changes: Vec<Change<K, V>>,
    /// The number of changes before the savepoint. A rollback of the current write leaves these.
    savepoint_at: usize,
    /// The changes committed since a checkpoint began to flush the memtable; `None` while no
    /// checkpoint runs.
    since: Option<Memtable<K, Slot<V>>>,
}

struct Change<K: FixedKey, V: TableValue> {
    key: K,
    /// The slot before the change; `None` if the memtable had none.
    before: Option<Slot<V>>,
    after: Slot<V>,
}

impl<K: FixedKey, V: TableValue> Default for Journal<K, V> {
    fn default() -> Self {
        Self { changes: Vec::new(), savepoint_at: 0, since: None }
    }
}

impl<K: FixedKey, V: TableValue> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            spec: self.spec,
            stored: self.stored.clone(),
            memtable: self.memtable.clone(),
            journal: Journal::default(),
        }
    }
}

impl<K: FixedKey, V: TableValue> Table<K, V> {
    pub(crate) fn open(read: &ReadTransaction, spec: TableSpec<K, V>) -> Result<Self> {
        let stored = Arc::new(read.open_table(spec.definition).map_err(from_redb)?);
        Ok(Self { spec, stored, memtable: Memtable::default(), journal: Journal::default() })
    }

    /// The value of a key. One B-tree lookup if the memtable has no slot for it.
    pub(crate) fn get(&self, key: K) -> Result<Option<ValueRef<'_, V>>> {
        match self.memtable.get(&key) {
            Some(slot) => Ok(slot.as_ref().map(ValueRef::Memtable)),
            None => catch_read_fault(|| {
                let stored = ReadableTable::get(&*self.stored, key).map_err(from_redb)?;
                Ok(stored.map(|guard| ValueRef::Stored(guard).validated()))
            }),
        }
    }

    /// The memtable's slot of a key, if it has one.
    pub(crate) fn slot(&self, key: K) -> Option<&Slot<V>> {
        self.memtable.get(&key)
    }

    /// The keys that the current group has changed, in order of the changes.
    pub(crate) fn changed_keys(&self) -> impl Iterator<Item = K> {
        self.journal.changes.iter().map(|change| change.key)
    }

    /// The keys of the memtable, tombstones included.
    pub(crate) fn memtable_keys(&self) -> impl Iterator<Item = K> {
        self.memtable.iter().map(|(key, _)| *key)
    }

    /// Opens a merge cursor at a gap. The caller wraps its use in `catch_read_fault`. One B-tree
    /// lookup.
    pub(crate) fn cursor(
        &self,
        gap: Gap<K>,
        direction: ScanDirection,
    ) -> Result<MergeCursor<'_, K, V>> {
        MergeCursor::new(&self.stored, &self.memtable, gap, direction)
    }

    /// The entries of a range, in ascending order. One B-tree lookup, then a step for each entry.
    pub(crate) fn range(
        &self,
        range: RangeInclusive<K>,
    ) -> Result<impl Iterator<Item = Result<(K, ValueRef<'_, V>)>>> {
        let (first, last) = range.into_inner();
        let entries = self.entries(Gap::Before(first))?;
        Ok(entries.take_while(move |entry| !matches!(entry, Ok((key, _)) if *key > last)))
    }

    /// The last entry of a range. One B-tree lookup.
    pub(crate) fn last(&self, range: RangeInclusive<K>) -> Result<Option<(K, ValueRef<'_, V>)>> {
        let (first, last) = range.into_inner();
        let entry = catch_read_fault(|| {
            validated(self.cursor(Gap::After(last), ScanDirection::Descending)?.step()?)
        })?;
        Ok(entry.filter(|(key, _)| *key >= first))
    }

    /// All entries, in ascending order.
    pub(crate) fn iter(&self) -> Result<impl Iterator<Item = Result<(K, ValueRef<'_, V>)>>> {
        self.entries(Gap::Before(K::decode(&[])))
    }

    fn entries(&self, from: Gap<K>) -> Result<impl Iterator<Item = Result<(K, ValueRef<'_, V>)>>> {
        let mut cursor = catch_read_fault(|| self.cursor(from, ScanDirection::Ascending))?;
        Ok(std::iter::from_fn(move || catch_read_fault(|| validated(cursor.step()?)).transpose()))
    }

    /// An upper bound of the number of entries: a memtable slot counts in addition to the stored
    /// entry that it hides. Reads the whole memtable.
    pub(crate) fn estimate(&self) -> Result<u64> {
        let stored = catch_read_fault(|| self.stored.len().map_err(from_redb))?;
        Ok(stored + self.memtable.iter().count() as u64)
    }

    /// The number of entries, from what redb has counted of the stored ones. One B-tree lookup for
    /// each slot of the memtable.
    fn len(&self) -> Result<u64> {
        let mut len = catch_read_fault(|| self.stored.len().map_err(from_redb))?;
        for (key, slot) in self.memtable.iter() {
            let is_stored = catch_read_fault(|| {
                ReadableTable::get(&*self.stored, *key)
                    .map_err(from_redb)
                    .map(|found| found.is_some())
            })?;
            match (is_stored, slot) {
                (true, None) => len = len.saturating_sub(1),
                (false, Some(_)) => len += 1,
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(len)
    }

    pub(crate) fn put(&mut self, key: K, value: V::SelfType<'_>) {
        self.change(key, Some(V::to_owned_value(value)));
    }

    /// Removes a key if the table contains it. One B-tree lookup if the memtable has no slot for
    /// it.
    pub(crate) fn remove(&mut self, key: K) -> Result<()> {
        if self.get(key)?.is_some() {
            self.change(key, None);
        }
        Ok(())
    }

    fn change(&mut self, key: K, after: Slot<V>) {
        let before = self.memtable.put(key, after.clone());
        self.journal.changes.push(Change { key, before, after });
    }
}

type Entry<'t, K, V> = Option<(K, ValueRef<'t, V>)>;

fn validated<K, V: TableValue>(entry: Entry<'_, K, V>) -> Result<Entry<'_, K, V>> {
    Ok(entry.map(|(key, value)| (key, value.validated())))
}

/// A [`Table`] of any key and value type: the operations that the writer and maintenance run on
/// every table.
pub(crate) trait AnyTable {
    /// The table's name on disk.
    fn name(&self) -> &'static str;
    /// Whether the memtable is empty, so that redb has every entry.
    fn is_flushed(&self) -> bool;
    /// Sets the savepoint after the changes of the group so far.
    fn savepoint(&mut self);
    /// Undoes the changes since the last [`AnyTable::savepoint`].
    fn rollback_to_savepoint(&mut self);
    /// Undoes all changes of the group.
    fn rollback(&mut self);
    /// The size of the group's changes. Reads each of them.
    fn pending(&self) -> PendingWrites;
    /// The number of the group's changes.
    fn changes(&self) -> usize;
    /// Appends the puts of the group in the encoding of the WAL. Removals are not encoded: a group
    /// that removes keys does not go through the WAL.
    fn encode(&self, out: &mut Vec<u8>);
    /// Applies the puts that [`AnyTable::encode`] appended; `None` if `bytes` is invalid.
    fn replay(&mut self, bytes: &mut &[u8]) -> Option<()>;
    /// Ends the group: its changes can no longer be rolled back.
    fn commit(&mut self);
    /// Begins a checkpoint: from now on, committed changes are also recorded for its end.
    fn begin_checkpoint(&mut self);
    /// Ends a checkpoint: reads the redb table as of `read`, which contains the flushed entries,
    /// and reduces the memtable to the changes since the checkpoint began; empties it if none
    /// began.
    fn end_checkpoint(&mut self, read: &ReadTransaction) -> Result<()>;
    /// Writes the memtable into the redb table.
    fn flush(&self, write: &WriteTransaction) -> Result<()>;
    /// The approximate number of entries, as of [`Table::estimate`].
    fn count(&self) -> Result<u64>;
    /// The size of the redb table. Reads every page.
    fn measure(&self) -> Result<Extent>;
    /// Writes every entry into another database in key order. Verifies the checksum of each record,
    /// passes each entry to `seen` before it writes the entry, and compares their number with what
    /// redb has counted: a damaged page can lose entries without damaging any.
    fn copy(&self, write: &WriteTransaction, seen: Seen<'_>) -> Result<()>;
    /// Removes at most `limit` entries whose key begins with the user's number, and returns what it
    /// removed.
    fn remove_of_user(&mut self, user: UserId, limit: usize) -> Result<Removed>;
}

/// What [`AnyTable::remove_of_user`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) entries: usize,
    /// Bytes of their keys and values.
    pub(crate) bytes: u64,
}

/// A callback for an entry: key and value as bytes on disk.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// The size of a table in redb, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of keys and values.
    pub(crate) content: u64,
    /// Bytes of the pages.
    pub(crate) pages: u64,
}

/// The size of the changes of a group: see [`AnyTable::pending`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingWrites {
    /// Bytes of the keys and values that are put.
    pub(crate) bytes: usize,
    /// The number of puts and removals.
    pub(crate) changes: usize,
    /// The number of removals.
    pub(crate) removals: usize,
}

impl<K: FixedKey, V: TableValue> AnyTable for Table<K, V> {
    fn name(&self) -> &'static str {
        self.spec.name
    }

    fn is_flushed(&self) -> bool {
        self.memtable.is_empty()
    }

    fn savepoint(&mut self) {
        self.journal.savepoint_at = self.journal.changes.len();
    }

    fn rollback_to_savepoint(&mut self) {
        while self.journal.changes.len() > self.journal.savepoint_at {
            match self.journal.changes.pop() {
                Some(Change { key, before: Some(slot), .. }) => {
                    self.memtable.put(key, slot);
                }
                Some(Change { key, before: None, .. }) => self.memtable.take(&key),
                None => {}
            }
        }
    }

    fn rollback(&mut self) {
        self.journal.savepoint_at = 0;
        self.rollback_to_savepoint();
    }

    fn changes(&self) -> usize {
        self.journal.changes.len()
    }

    fn pending(&self) -> PendingWrites {
        let bytes = |value: &V::Owned| K::WIDTH + V::byte_len(value);
        let changes = &self.journal.changes;
        PendingWrites {
            bytes: changes.iter().filter_map(|change| change.after.as_ref().map(bytes)).sum(),
            changes: changes.len(),
            removals: changes.iter().filter(|change| change.after.is_none()).count(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let puts = || {
            let changes = self.journal.changes.iter();
            changes.filter_map(|change| Some((change.key, change.after.as_ref()?)))
        };
        // Memory limits a group to far fewer than 2^32 puts.
        let count = u32::try_from(puts().count()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for (key, value) in puts() {
            out.extend_from_slice(key.encode().as_ref());
            V::encode(value, out);
        }
    }

    fn replay(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let (count, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        for _ in 0..u32::from_le_bytes(*count) {
            let (key, rest) = bytes.split_at_checked(K::WIDTH)?;
            *bytes = rest;
            self.memtable.put(K::decode(key), Some(V::decode(bytes)?));
        }
        Some(())
    }

    fn commit(&mut self) {
        let changes = self.journal.changes.drain(..);
        if let Some(since) = &mut self.journal.since {
            for change in changes {
                since.put(change.key, change.after);
            }
        }
        self.journal.savepoint_at = 0;
    }

    fn begin_checkpoint(&mut self) {
        self.journal.since = Some(Memtable::default());
    }

    fn end_checkpoint(&mut self, read: &ReadTransaction) -> Result<()> {
        self.stored = Arc::new(read.open_table(self.spec.definition).map_err(from_redb)?);
        self.memtable = self.journal.since.take().unwrap_or_default();
        // Reapply the current group, and take its undo values from the new memtable.
        for change in &mut self.journal.changes {
            change.before = self.memtable.put(change.key, change.after.clone());
        }
        Ok(())
    }

    fn flush(&self, write: &WriteTransaction) -> Result<()> {
        if self.memtable.is_empty() {
            return Ok(());
        }
        let mut table = self.spec.open_for_write(write)?;
        for (key, _) in self.memtable.iter().filter(|(_, slot)| slot.is_none()) {
            table.remove(*key).map_err(from_redb)?;
        }
        let puts = self.memtable.iter().filter_map(|(key, slot)| Some(Ok((*key, slot.as_ref()?))));
        bulk_insert(&mut table, puts, |value| V::as_ref(value))
    }

    fn count(&self) -> Result<u64> {
        self.estimate()
    }

    fn measure(&self) -> Result<Extent> {
        let stats = catch_read_fault(|| self.stored.stats().map_err(from_redb))?;
        let (content, of_keys) = (stats.stored_bytes(), stats.metadata_bytes());
        Ok(Extent { content, pages: content + of_keys + stats.fragmented_bytes() })
    }

    fn copy(&self, write: &WriteTransaction, seen: Seen<'_>) -> Result<()> {
        let mut table = self.spec.open_for_write(write)?;
        let entries = self.iter()?.map(|entry| {
            let (key, stored) = entry?;
            {
                let value = stored.value();
                let bytes = V::as_bytes(&value);
                if self.spec.checksummed {
                    let corrupted = |what| self.spec.corrupted(what);
                    record::open_any(&key, bytes.as_ref()).map_err(corrupted)?;
                }
                seen(key.encode().as_ref(), bytes.as_ref())?;
            }
            Ok((key, stored))
        });
        bulk_insert(&mut table, entries, |stored| stored.value())?;
        let written = table.len().map_err(from_redb)?;
        let is_complete = written == self.len()?;
        if is_complete { Ok(()) } else { Err(self.spec.corrupted("entries are missing")) }
    }

    fn remove_of_user(&mut self, user: UserId, limit: usize) -> Result<Removed> {
        let number = user.get().to_be_bytes();
        let mut first = vec![0; K::WIDTH];
        first[..number.len()].copy_from_slice(&number);
        let gap = Gap::Before(K::decode(&first));
        let entries = self.entries(gap)?.map(|entry| {
            let (key, stored) = entry?;
            Ok((key, V::as_bytes(&stored.value()).as_ref().len()))
        });
        let is_owned = |entry: &Result<(K, usize)>| match entry {
            Ok((key, _)) => key.encode().as_ref().starts_with(&number),
            Err(_) => true,
        };
        let owned: Vec<(K, usize)> =
            entries.take_while(is_owned).take(limit).collect::<Result<_>>()?;
        let mut removed = Removed::default();
        for (key, value) in owned {
            self.change(key, None);
            removed.entries += 1;
            removed.bytes += (K::WIDTH + value) as u64;
        }
        Ok(removed)
    }
}
