//! Ordered table: a redb table and the memtable above it, as of one commit.
//!
//! Writes go into the memtable; a checkpoint flushes it into redb. The writer applies writes in
//! *groups*: all writes of a group share one commit and one sync.

use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction,
};

use crate::encoding::key::{FixedKey, user_at_start};
use crate::encoding::record;
use crate::error::{Result, from_redb};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::catch_panic::catch_read_fault;
use crate::kv::cursor::{MergeCursor, neighbours};
use crate::kv::gap::{Gap, ScanDirection};
use crate::kv::memtable::{Memtable, Neighbours, Undo};
use crate::kv::persistent_map::PersistentMap;
use crate::kv::redb_key::{LocatedKey, RedbKey};
use crate::kv::table_spec::TableSpec;
use crate::kv::value::{Slot, TableValue, ValueRef};
use crate::model::id::UserId;

/// One table as of one commit: entries stored in redb, and above them the changes of a memtable.
///
/// An entry of the memtable replaces the stored entry of its key, and the memtable hides those that
/// are removed. Readers see one ordered table. If the memtable is empty, it costs them two
/// comparisons.
///
/// The writer's copy also has a journal of the current group, which serves to roll back one write
/// or the whole group and to encode the group for the WAL. A clone has the same entries and an
/// empty journal.
pub(crate) struct Table<K: FixedKey, V: TableValue> {
    spec: TableSpec<K, V>,
    stored: Arc<ReadOnlyTable<RedbKey<K>, V>>,
    /// The same, for [`Table::audit`].
    located: Arc<ReadOnlyTable<LocatedKey<K>, V>>,
    memtable: Memtable<K, V::Owned>,
    journal: Journal<K, V>,
}

/// The writer's undo and redo journal of a table.
struct Journal<K: FixedKey, V: TableValue> {
    /// The changes of the current group, in order.
    changes: Vec<Change<K, V>>,
    /// The number of changes before the savepoint. A rollback of the current write leaves these.
    savepoint_at: usize,
    /// What was committed since a checkpoint began to flush the memtable, or replayed from the WAL.
    /// The next memtable is made of it.
    since: Option<Committed<K, V::Owned>>,
    /// Memory for the next record.
    buffer: Vec<u8>,
}

struct Change<K: FixedKey, V: TableValue> {
    after: Slot<V>,
    undo: Undo<K, V::Owned>,
}

/// Committed changes, above a stored table that is yet to be opened.
struct Committed<K, T> {
    put: PersistentMap<K, T>,
    removed: PersistentMap<K, ()>,
}

impl<K, T> Default for Committed<K, T> {
    fn default() -> Self {
        Self { put: PersistentMap::default(), removed: PersistentMap::default() }
    }
}

impl<K: Ord + Copy, T: Clone> Committed<K, T> {
    fn add(&mut self, key: K, after: Option<T>) {
        match after {
            Some(value) => {
                self.removed.take(&key);
                self.put.put(key, value);
            }
            None => {
                self.put.take(&key);
                self.removed.put(key, ());
            }
        }
    }
}

impl<K: FixedKey, V: TableValue> Default for Journal<K, V> {
    fn default() -> Self {
        Self { changes: Vec::new(), savepoint_at: 0, since: None, buffer: Vec::new() }
    }
}

impl<K: FixedKey, V: TableValue> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            spec: self.spec,
            stored: self.stored.clone(),
            located: self.located.clone(),
            memtable: self.memtable.clone(),
            journal: Journal::default(),
        }
    }
}

impl<K: FixedKey, V: TableValue> Table<K, V> {
    pub(crate) fn open(read: &ReadTransaction, spec: TableSpec<K, V>) -> Result<Self> {
        let (stored, located) = spec.open(read)?;
        let (memtable, journal) = (Memtable::default(), Journal::default());
        Ok(Self { spec, stored, located, memtable, journal })
    }

    pub(super) fn located(&self) -> &ReadOnlyTable<LocatedKey<K>, V> {
        &self.located
    }

    /// The value of a key. One B-tree lookup unless the memtable has or hides it.
    pub(crate) fn get(&self, key: K) -> Result<Option<ValueRef<'_, V>>> {
        match self.memtable.get(&key) {
            Some(slot) => Ok(slot.map(ValueRef::Memtable)),
            None => catch_read_fault(|| {
                let stored = ReadableTable::get(&*self.stored, key).map_err(from_redb)?;
                Ok(stored.map(|guard| ValueRef::Stored(guard).validated()))
            }),
        }
    }

    /// What the memtable says about a key: its value, `Some(None)` if it is hidden, or `None`.
    pub(crate) fn in_memtable(&self, key: K) -> Option<Option<&V::Owned>> {
        self.memtable.get(&key)
    }

    /// The keys that the current group has changed, in order of the changes.
    pub(crate) fn changed_keys(&self) -> impl Iterator<Item = K> {
        self.journal.changes.iter().map(|change| change.undo.key)
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

    /// An upper bound of the number of entries: an entry of the memtable counts in addition to the
    /// visible stored one that it replaces. Reads the whole memtable.
    pub(crate) fn estimate(&self) -> Result<u64> {
        let stored = catch_read_fault(|| self.stored.len().map_err(from_redb))?;
        let stored = stored.saturating_sub(self.memtable.hidden());
        Ok(stored + self.memtable.entries().iter().count() as u64)
    }

    /// The number of entries, from what redb has counted of the stored ones. One B-tree lookup for
    /// each entry of the memtable.
    fn len(&self) -> Result<u64> {
        let stored = catch_read_fault(|| self.stored.len().map_err(from_redb))?;
        let mut len = stored.saturating_sub(self.memtable.hidden());
        for (key, _) in self.memtable.entries().iter() {
            let replaces_a_stored_one = !self.memtable.hides(key)
                && catch_read_fault(|| {
                    let found = ReadableTable::get(&*self.stored, *key).map_err(from_redb)?;
                    Ok(found.is_some())
                })?;
            len += u64::from(!replaces_a_stored_one);
        }
        Ok(len)
    }

    pub(crate) fn put(&mut self, key: K, value: V::SelfType<'_>) {
        let after = V::to_owned_value(value);
        let undo = self.memtable.put(key, after.clone());
        self.journal.changes.push(Change { after: Some(after), undo });
    }

    /// Removes a key if the table contains it. One B-tree lookup unless it is already hidden.
    pub(crate) fn remove(&mut self, key: K) -> Result<()> {
        let undo = self.remove_from_memtable(key)?;
        if !undo.is_empty() {
            self.journal.changes.push(Change { after: None, undo });
        }
        Ok(())
    }

    fn remove_from_memtable(&mut self, key: K) -> Result<Undo<K, V::Owned>> {
        let stored = match self.memtable.hides(&key) {
            true => None,
            false => catch_read_fault(|| neighbours(&self.stored, key))?,
        };
        Ok(self.memtable.remove(key, stored))
    }
}

impl<K: FixedKey> Table<K, &'static [u8]> {
    /// An empty buffer for a record, whose memory is reused if it is passed to
    /// [`Table::put_buffer`].
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.journal.buffer);
        buffer.clear();
        buffer
    }

    /// Puts a record that was written into [`Table::take_buffer`].
    pub(crate) fn put_buffer(&mut self, key: K, record: Vec<u8>) {
        self.put(key, &record);
        self.journal.buffer = record;
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
    /// Appends the users at the beginning of the keys that the group has changed, for a table of
    /// such keys. A user may be appended more than once.
    fn changed_users(&self, users: &mut Vec<UserId>);
    /// Whether the group removes an entry.
    fn removes(&self) -> bool;
    /// Appends the group's puts in the encoding of the WAL: the last one of each key.
    fn encode_puts(&self, out: &mut Vec<u8>);
    /// Appends the keys that the group leaves removed.
    fn encode_removals(&self, out: &mut Vec<u8>);
    /// Adds what [`AnyTable::encode_puts`] appended to the committed changes; `None` if `bytes` is
    /// invalid. Readers see them after [`AnyTable::end_checkpoint`].
    fn replay_puts(&mut self, bytes: &mut &[u8]) -> Option<()>;
    /// [`AnyTable::replay_puts`] for [`AnyTable::encode_removals`].
    fn replay_removals(&mut self, bytes: &mut &[u8]) -> Option<()>;
    /// Ends the group: its changes can no longer be rolled back.
    fn commit(&mut self);
    /// Begins a checkpoint: from now on, committed changes are also recorded for its end.
    fn begin_checkpoint(&mut self);
    /// Ends a checkpoint or a replay: reads the redb table as of `read`, which contains the flushed
    /// entries, and makes the memtable of the changes since the checkpoint began or that were
    /// replayed; empties it if there are none. One B-tree lookup for each removed key.
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
    /// Bytes of their keys and values, without the appendices of records.
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
    /// Bytes of the keys and values that are put, and of the keys that are removed.
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
        while self.journal.changes.len() > self.journal.savepoint_at
            && let Some(change) = self.journal.changes.pop()
        {
            self.memtable.undo(change.undo);
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
        let bytes = |change: &Change<K, V>| K::WIDTH + change.after.as_ref().map_or(0, V::byte_len);
        let changes = &self.journal.changes;
        PendingWrites {
            bytes: changes.iter().map(bytes).sum(),
            changes: changes.len(),
            removals: changes.iter().filter(|change| change.after.is_none()).count(),
        }
    }

    fn removes(&self) -> bool {
        self.journal.changes.iter().any(|change| change.after.is_none())
    }

    fn changed_users(&self, users: &mut Vec<UserId>) {
        for key in self.changed_keys() {
            let user = user_at_start(key.encode().as_ref());
            if users.last() != Some(&user) {
                users.push(user);
            }
        }
    }

    fn encode_puts(&self, out: &mut Vec<u8>) {
        let changes = self.journal.changes.iter();
        let puts = changes.filter_map(|change| Some((change.undo.key, change.after.as_ref()?)));
        let mut puts: Vec<(K, &V::Owned)> = puts.collect();
        // Writes of one group change the same counters: the last of them replaces the others.
        if self.journal.changes.iter().any(|change| change.undo.replaced()) {
            puts.sort_by_key(|(key, _)| *key);
            puts.reverse();
            puts.dedup_by_key(|(key, _)| *key);
        }
        encode_count(puts.len(), out);
        for (key, value) in puts {
            out.extend_from_slice(key.encode().as_ref());
            V::encode(value, out);
        }
    }

    fn encode_removals(&self, out: &mut Vec<u8>) {
        let removed = || {
            let removals = self.journal.changes.iter().filter(|change| change.after.is_none());
            let keys = removals.map(|change| change.undo.key);
            keys.filter(|key| self.memtable.entries().get(key).is_none())
        };
        encode_count(removed().count(), out);
        removed().for_each(|key| out.extend_from_slice(key.encode().as_ref()));
    }

    fn replay_puts(&mut self, bytes: &mut &[u8]) -> Option<()> {
        for _ in 0..decode_count(bytes)? {
            let key = decode_key(bytes)?;
            let value = V::decode(bytes)?;
            self.journal.since.get_or_insert_default().add(key, Some(value));
        }
        Some(())
    }

    fn replay_removals(&mut self, bytes: &mut &[u8]) -> Option<()> {
        for _ in 0..decode_count(bytes)? {
            let key = decode_key(bytes)?;
            self.journal.since.get_or_insert_default().add(key, None);
        }
        Some(())
    }

    fn commit(&mut self) {
        let changes = self.journal.changes.drain(..);
        if let Some(since) = &mut self.journal.since {
            for change in changes {
                since.add(change.undo.key, change.after);
            }
        }
        self.journal.savepoint_at = 0;
    }

    fn begin_checkpoint(&mut self) {
        self.journal.since = Some(Committed::default());
    }

    fn end_checkpoint(&mut self, read: &ReadTransaction) -> Result<()> {
        (self.stored, self.located) = self.spec.open(read)?;
        let Committed { put, removed } = self.journal.since.take().unwrap_or_default();
        self.memtable = Memtable::new(put);
        for (key, ()) in removed.iter() {
            if self.memtable.hides(key) {
                continue;
            }
            // A page that cannot be read must not keep the store from opening.
            let stored = catch_read_fault(|| neighbours(&self.stored, *key));
            self.memtable.remove(*key, stored.unwrap_or(Some(Neighbours::UNKNOWN)));
        }
        // Repeat the current group, and take its undo values from the new memtable.
        for mut change in std::mem::take(&mut self.journal.changes) {
            let key = change.undo.key;
            change.undo = match &change.after {
                Some(value) => self.memtable.put(key, value.clone()),
                None => self.remove_from_memtable(key)?,
            };
            self.journal.changes.push(change);
        }
        Ok(())
    }

    fn flush(&self, write: &WriteTransaction) -> Result<()> {
        if self.memtable.is_empty() {
            return Ok(());
        }
        let mut table = self.spec.open_for_write(write)?;
        for (first, last) in self.memtable.runs() {
            if first == last {
                table.remove(*first).map_err(from_redb)?;
            } else {
                table.retain_in(*first..=*last, |_, _| false).map_err(from_redb)?;
            }
        }
        let entries = self.memtable.entries().iter().map(|(key, value)| Ok((*key, value)));
        bulk_insert(&mut table, entries, |value| V::as_ref(value))
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
                    record::check(&key, bytes.as_ref()).map_err(corrupted)?;
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
            let value = stored.value();
            let bytes = V::as_bytes(&value);
            let bytes = bytes.as_ref();
            let own = if self.spec.checksummed { record::own(bytes) } else { bytes };
            Ok((key, own.len()))
        });
        let is_owned = |entry: &Result<(K, usize)>| match entry {
            Ok((key, _)) => key.encode().as_ref().starts_with(&number),
            Err(_) => true,
        };
        let owned: Vec<(K, usize)> =
            entries.take_while(is_owned).take(limit).collect::<Result<_>>()?;
        let mut removed = Removed::default();
        for (key, value) in owned {
            self.remove(key)?;
            removed.entries += 1;
            removed.bytes += (K::WIDTH + value) as u64;
        }
        Ok(removed)
    }
}

/// Memory limits a group to far fewer than 2^32 changes.
fn encode_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn decode_count(bytes: &mut &[u8]) -> Option<u32> {
    let (count, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*count))
}

fn decode_key<K: FixedKey>(bytes: &mut &[u8]) -> Option<K> {
    let (key, rest) = bytes.split_at_checked(K::WIDTH)?;
    *bytes = rest;
    Some(K::decode(key))
}
