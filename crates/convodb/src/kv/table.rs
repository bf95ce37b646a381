//! One table as of one commit: what is stored in redb, and above it what is newer and still in
//! memory, its part of the *tail*. Readers see one ordered table; where the tail holds nothing, that
//! costs them one comparison.
//!
//! The writer's own copy also keeps a journal of the group in hand, so that a write of it can be
//! taken back, and the group be put into the log. A clone is the table as it is, without journal.

use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use crate::encoding::key::FixedKey;
use crate::encoding::record;
use crate::error::{Error, Result};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::catch_panic::catch_redb_panic;
use crate::kv::cursor::{Gap, MergeCursor, ScanDirection};
use crate::kv::memtable::Memtable;
use crate::kv::redb_key::RedbKey;
use crate::kv::value::{Slot, TableValue, ValueRef};
use crate::model::id::UserId;
use crate::tables::schema;

/// See the head of this file.
pub(crate) struct Table<K: FixedKey, V: TableValue> {
    definition: TableDefinition<'static, RedbKey<K>, V>,
    stored: Arc<ReadOnlyTable<RedbKey<K>, V>>,
    memtable: Memtable<K, Slot<V>>,
    journal: Journal<K, V>,
}

/// What the writer remembers of a table.
struct Journal<K: FixedKey, V: TableValue> {
    /// The changes of the group in hand, in order.
    changes: Vec<Change<K, V>>,
    /// How many of them are kept, whatever the write in hand comes to.
    savepoint_at: usize,
    /// What changed since a checkpoint began to carry the tail into the table.
    since: Option<Memtable<K, Slot<V>>>,
}

struct Change<K: FixedKey, V: TableValue> {
    key: K,
    /// What the tail held.
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
            definition: self.definition,
            stored: self.stored.clone(),
            memtable: self.memtable.clone(),
            journal: Journal::default(),
        }
    }
}

impl<K: FixedKey, V: TableValue> Table<K, V> {
    pub(crate) fn open(
        read: &ReadTransaction,
        definition: TableDefinition<'static, RedbKey<K>, V>,
    ) -> Result<Self> {
        let stored = Arc::new(read.open_table(definition)?);
        Ok(Self { definition, stored, memtable: Memtable::default(), journal: Journal::default() })
    }

    /// The value of a key. One descent, if the tail does not hold it.
    pub(crate) fn get(&self, key: K) -> Result<Option<ValueRef<'_, V>>> {
        match self.memtable.get(&key) {
            Some(slot) => Ok(slot.as_ref().map(ValueRef::Memtable)),
            None => catch_redb_panic(|| {
                let found = ReadableTable::get(&*self.stored, key)?;
                Ok(found.map(|guard| ValueRef::Stored(guard).validated()))
            }),
        }
    }

    /// What the tail holds of a key, if anything.
    pub(crate) fn slot(&self, key: K) -> Option<&Slot<V>> {
        self.memtable.get(&key)
    }

    /// The keys of the tail.
    pub(crate) fn memtable_keys(&self) -> impl Iterator<Item = K> {
        self.memtable.iter().map(|(key, _)| *key)
    }

    /// A walk from a gap, for who is prepared for panics of redb. One descent.
    pub(crate) fn cursor(
        &self,
        gap: Gap<K>,
        direction: ScanDirection,
    ) -> Result<MergeCursor<'_, K, V>> {
        MergeCursor::new(&self.stored, &self.memtable, gap, direction)
    }

    /// The entries of a range, in order. One descent, then a step each.
    pub(crate) fn range(
        &self,
        range: RangeInclusive<K>,
    ) -> Result<impl Iterator<Item = Result<(K, ValueRef<'_, V>)>>> {
        let (first, last) = range.into_inner();
        let entries = self.entries(Gap::Before(first))?;
        Ok(entries.take_while(move |entry| !matches!(entry, Ok((key, _)) if *key > last)))
    }

    /// The last entry of a range. One descent.
    pub(crate) fn last(&self, range: RangeInclusive<K>) -> Result<Option<(K, ValueRef<'_, V>)>> {
        let (first, last) = range.into_inner();
        let found = catch_redb_panic(|| {
            validated(self.cursor(Gap::After(last), ScanDirection::Descending)?.step()?)
        })?;
        Ok(found.filter(|(key, _)| *key >= first))
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> Result<impl Iterator<Item = Result<(K, ValueRef<'_, V>)>>> {
        self.entries(Gap::Before(K::decode(&[])))
    }

    fn entries(&self, from: Gap<K>) -> Result<impl Iterator<Item = Result<(K, ValueRef<'_, V>)>>> {
        let mut cursor = catch_redb_panic(|| self.cursor(from, ScanDirection::Ascending))?;
        Ok(std::iter::from_fn(move || catch_redb_panic(|| validated(cursor.step()?)).transpose()))
    }

    /// About how many entries there are.
    pub(crate) fn estimate(&self) -> Result<u64> {
        Ok(self.stored.len()? + self.memtable.iter().count() as u64)
    }

    pub(crate) fn put(&mut self, key: K, value: V::SelfType<'_>) {
        self.change(key, Some(V::to_owned_value(value)));
    }

    /// Removes a key, if it is there.
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
    Ok(entry.map(|(key, found)| (key, found.validated())))
}

/// What the writer does with each table, whatever its keys and values are.
pub(crate) trait AnyTable {
    /// Whether the tail holds nothing.
    fn is_stored(&self) -> bool;
    /// Keeps all changes of the group so far.
    fn savepoint(&mut self);
    /// Takes back what was changed since the last [`AnyTable::savepoint`].
    fn rollback_to_savepoint(&mut self);
    /// Takes back the whole group.
    fn rollback(&mut self);
    /// How much the group changes.
    fn pending(&self) -> PendingWrites;
    /// Appends what the group put, for the log.
    fn encode(&self, out: &mut Vec<u8>);
    /// Puts again what [`AnyTable::encode`] appended; `None` for other bytes.
    fn replay(&mut self, bytes: &mut &[u8]) -> Option<()>;
    /// Ends the group: what it changed stays.
    fn commit(&mut self);
    /// A checkpoint begins: remembers what changes from now on.
    fn begin_checkpoint(&mut self);
    /// A checkpoint is done: what was in the tail when it began is stored.
    fn end_checkpoint(&mut self, read: &ReadTransaction) -> Result<()>;
    /// Writes the tail into the stored table.
    fn flush(&self, write: &WriteTransaction) -> Result<()>;
    /// About how many entries there are.
    fn count(&self) -> Result<u64>;
    /// Reads every page of what is stored, and tells what they hold.
    fn measure(&self) -> Result<Extent>;
    /// Writes every entry into another database, in key order, after `seen` took it as bytes.
    /// Records are checked on the way.
    fn copy(&self, name: &'static str, write: &WriteTransaction, seen: Seen<'_>) -> Result<()>;
    /// Removes entries whose key begins with the owner's number, at most `limit`, and tells how
    /// many they were.
    fn remove_owned(&mut self, owner: UserId, limit: usize) -> Result<usize>;
}

/// Takes an entry, key and value as they are stored.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// What the pages of a table hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Keys and values.
    pub(crate) content: u64,
    /// Whole pages.
    pub(crate) pages: u64,
}

/// See [`AnyTable::weigh`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingWrites {
    /// Bytes of the keys and values that it puts.
    pub(crate) bytes: usize,
    pub(crate) changes: usize,
    /// How many of the changes remove a key.
    pub(crate) removals: usize,
}

impl<K: FixedKey, V: TableValue> AnyTable for Table<K, V> {
    fn is_stored(&self) -> bool {
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

    fn pending(&self) -> PendingWrites {
        let bytes = |held: &V::Owned| K::WIDTH + V::pending(held);
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
        // A group is bounded by memory, and so is far from four milliards of puts.
        let count = u32::try_from(puts().count()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for (key, held) in puts() {
            out.extend_from_slice(key.encode().as_ref());
            V::encode(held, out);
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
        self.stored = Arc::new(read.open_table(self.definition)?);
        self.memtable = self.journal.since.take().unwrap_or_default();
        // The group in hand stands above what was settled.
        for change in &mut self.journal.changes {
            change.before = self.memtable.put(change.key, change.after.clone());
        }
        Ok(())
    }

    fn flush(&self, write: &WriteTransaction) -> Result<()> {
        if self.memtable.is_empty() {
            return Ok(());
        }
        let mut table = write.open_table(self.definition)?;
        for (key, _) in self.memtable.iter().filter(|(_, slot)| slot.is_none()) {
            table.remove(*key)?;
        }
        let puts = self.memtable.iter().filter_map(|(key, slot)| Some(Ok((*key, slot.as_ref()?))));
        bulk_insert(&mut table, puts, |held| V::as_ref(held))
    }

    fn count(&self) -> Result<u64> {
        self.estimate()
    }

    fn measure(&self) -> Result<Extent> {
        let stats = catch_redb_panic(|| Ok(self.stored.stats()?))?;
        let (content, of_keys) = (stats.stored_bytes(), stats.metadata_bytes());
        Ok(Extent { content, pages: content + of_keys + stats.fragmented_bytes() })
    }

    fn copy(&self, name: &'static str, write: &WriteTransaction, seen: Seen<'_>) -> Result<()> {
        let mut table = write.open_table(self.definition)?;
        let sealed = schema::is_sealed(name);
        let entries = self.iter()?.map(|entry| {
            let (key, found) = entry?;
            {
                let value = found.value();
                let bytes = V::as_bytes(&value);
                if sealed {
                    let damaged = |what| Error::Corrupted { table: name, what };
                    record::open(&key, bytes.as_ref()).map_err(damaged)?;
                }
                seen(key.encode().as_ref(), bytes.as_ref())?;
            }
            Ok((key, found))
        });
        bulk_insert(&mut table, entries, |found| found.value())
    }

    fn remove_owned(&mut self, owner: UserId, limit: usize) -> Result<usize> {
        let number = owner.get().to_be_bytes();
        let mut first = vec![0; K::WIDTH];
        first[..number.len()].copy_from_slice(&number);
        let gap = Gap::Before(K::decode(&first));
        let keys = self.entries(gap)?.map(|entry| entry.map(|(key, _)| key));
        let is_owned = |key: &Result<K>| match key {
            Ok(key) => key.encode().as_ref().starts_with(&number),
            Err(_) => true,
        };
        let owned: Vec<K> = keys.take_while(is_owned).take(limit).collect::<Result<_>>()?;
        for key in &owned {
            self.change(*key, None);
        }
        Ok(owned.len())
    }
}
