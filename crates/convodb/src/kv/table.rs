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
use crate::kv::bulk_insert::insert_sorted;
use crate::kv::catch_panic::unharmed;
use crate::kv::cursor::{Gap, Travel, Walk};
use crate::kv::memtable::Recent;
use crate::kv::redb_key::Stored;
use crate::kv::value::{Content, Found, Newer};
use crate::model::id::UserId;
use crate::tables::schema;

/// See the head of this file.
pub(crate) struct Table<K: FixedKey, V: Content> {
    definition: TableDefinition<'static, Stored<K>, V>,
    stored: Arc<ReadOnlyTable<Stored<K>, V>>,
    recent: Recent<K, Newer<V>>,
    journal: Journal<K, V>,
}

/// What the writer remembers of a table.
struct Journal<K: FixedKey, V: Content> {
    /// The changes of the group in hand, in order.
    changes: Vec<Change<K, V>>,
    /// How many of them are kept, whatever the write in hand comes to.
    kept: usize,
    /// What changed since a checkpoint began to carry the tail into the table.
    since: Option<Recent<K, Newer<V>>>,
}

struct Change<K: FixedKey, V: Content> {
    key: K,
    /// What the tail held.
    before: Option<Newer<V>>,
    after: Newer<V>,
}

impl<K: FixedKey, V: Content> Default for Journal<K, V> {
    fn default() -> Self {
        Self { changes: Vec::new(), kept: 0, since: None }
    }
}

impl<K: FixedKey, V: Content> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            definition: self.definition,
            stored: self.stored.clone(),
            recent: self.recent.clone(),
            journal: Journal::default(),
        }
    }
}

impl<K: FixedKey, V: Content> Table<K, V> {
    pub(crate) fn open(
        read: &ReadTransaction,
        definition: TableDefinition<'static, Stored<K>, V>,
    ) -> Result<Self> {
        let stored = Arc::new(read.open_table(definition)?);
        Ok(Self { definition, stored, recent: Recent::default(), journal: Journal::default() })
    }

    /// The value of a key. One descent, if the tail does not hold it.
    pub(crate) fn get(&self, key: K) -> Result<Option<Found<'_, V>>> {
        match self.recent.get(&key) {
            Some(newer) => Ok(newer.as_ref().map(Found::Recent)),
            None => unharmed(|| {
                let found = ReadableTable::get(&*self.stored, key)?;
                Ok(found.map(|guard| Found::Stored(guard).looked_at()))
            }),
        }
    }

    /// What the tail holds of a key, if anything.
    pub(crate) fn newer(&self, key: K) -> Option<&Newer<V>> {
        self.recent.get(&key)
    }

    /// The keys of the tail.
    pub(crate) fn newer_keys(&self) -> impl Iterator<Item = K> {
        self.recent.iter().map(|(key, _)| *key)
    }

    /// A walk from a gap, for who is prepared for panics of redb. One descent.
    pub(crate) fn walk(&self, gap: Gap<K>, travel: Travel) -> Result<Walk<'_, K, V>> {
        Walk::new(&self.stored, &self.recent, gap, travel)
    }

    /// The entries of a range, in order. One descent, then a step each.
    pub(crate) fn range(
        &self,
        range: RangeInclusive<K>,
    ) -> Result<impl Iterator<Item = Result<(K, Found<'_, V>)>>> {
        let (first, last) = range.into_inner();
        let entries = self.entries(Gap::Before(first))?;
        Ok(entries.take_while(move |entry| !matches!(entry, Ok((key, _)) if *key > last)))
    }

    /// The last entry of a range. One descent.
    pub(crate) fn last(&self, range: RangeInclusive<K>) -> Result<Option<(K, Found<'_, V>)>> {
        let (first, last) = range.into_inner();
        let found = unharmed(|| looked_at(self.walk(Gap::After(last), Travel::Down)?.step()?))?;
        Ok(found.filter(|(key, _)| *key >= first))
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> Result<impl Iterator<Item = Result<(K, Found<'_, V>)>>> {
        self.entries(Gap::Before(K::decode(&[])))
    }

    fn entries(&self, from: Gap<K>) -> Result<impl Iterator<Item = Result<(K, Found<'_, V>)>>> {
        let mut walk = unharmed(|| self.walk(from, Travel::Up))?;
        Ok(std::iter::from_fn(move || unharmed(|| looked_at(walk.step()?)).transpose()))
    }

    /// About how many entries there are.
    pub(crate) fn estimate(&self) -> Result<u64> {
        Ok(self.stored.len()? + self.recent.iter().count() as u64)
    }

    pub(crate) fn put(&mut self, key: K, value: V::SelfType<'_>) {
        self.change(key, Some(V::hold(value)));
    }

    /// Removes a key, if it is there.
    pub(crate) fn remove(&mut self, key: K) -> Result<()> {
        if self.get(key)?.is_some() {
            self.change(key, None);
        }
        Ok(())
    }

    fn change(&mut self, key: K, after: Newer<V>) {
        let before = self.recent.put(key, after.clone());
        self.journal.changes.push(Change { key, before, after });
    }
}

type Entry<'t, K, V> = Option<(K, Found<'t, V>)>;

fn looked_at<K, V: Content>(entry: Entry<'_, K, V>) -> Result<Entry<'_, K, V>> {
    Ok(entry.map(|(key, found)| (key, found.looked_at())))
}

/// What the writer does with each table, whatever its keys and values are.
pub(crate) trait Layer {
    /// Whether the tail holds nothing.
    fn is_stored(&self) -> bool;
    /// Keeps all changes of the group so far.
    fn keep(&mut self);
    /// Takes back what was changed since the last [`Layer::keep`].
    fn roll_back(&mut self);
    /// Takes back the whole group.
    fn undo(&mut self);
    /// How much the group changes.
    fn weigh(&self) -> Weight;
    /// Appends what the group put, for the log.
    fn encode(&self, out: &mut Vec<u8>);
    /// Puts again what [`Layer::encode`] appended; `None` for other bytes.
    fn replay(&mut self, bytes: &mut &[u8]) -> Option<()>;
    /// Ends the group: what it changed stays.
    fn settle(&mut self);
    /// A checkpoint begins: remembers what changes from now on.
    fn freeze(&mut self);
    /// A checkpoint is done: what was in the tail when it began is stored.
    fn thaw(&mut self, read: &ReadTransaction) -> Result<()>;
    /// Writes the tail into the stored table.
    fn store(&self, write: &WriteTransaction) -> Result<()>;
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

/// See [`Layer::weigh`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Bytes of the keys and values that it puts.
    pub(crate) bytes: usize,
    pub(crate) changes: usize,
    /// How many of the changes remove a key.
    pub(crate) removals: usize,
}

impl<K: FixedKey, V: Content> Layer for Table<K, V> {
    fn is_stored(&self) -> bool {
        self.recent.is_empty()
    }

    fn keep(&mut self) {
        self.journal.kept = self.journal.changes.len();
    }

    fn roll_back(&mut self) {
        while self.journal.changes.len() > self.journal.kept {
            match self.journal.changes.pop() {
                Some(Change { key, before: Some(newer), .. }) => {
                    self.recent.put(key, newer);
                }
                Some(Change { key, before: None, .. }) => self.recent.take(&key),
                None => {}
            }
        }
    }

    fn undo(&mut self) {
        self.journal.kept = 0;
        self.roll_back();
    }

    fn weigh(&self) -> Weight {
        let bytes = |held: &V::Held| K::WIDTH + V::weigh(held);
        let changes = &self.journal.changes;
        Weight {
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
            self.recent.put(K::decode(key), Some(V::decode(bytes)?));
        }
        Some(())
    }

    fn settle(&mut self) {
        let changes = self.journal.changes.drain(..);
        if let Some(since) = &mut self.journal.since {
            for change in changes {
                since.put(change.key, change.after);
            }
        }
        self.journal.kept = 0;
    }

    fn freeze(&mut self) {
        self.journal.since = Some(Recent::default());
    }

    fn thaw(&mut self, read: &ReadTransaction) -> Result<()> {
        self.stored = Arc::new(read.open_table(self.definition)?);
        self.recent = self.journal.since.take().unwrap_or_default();
        // The group in hand stands above what was settled.
        for change in &mut self.journal.changes {
            change.before = self.recent.put(change.key, change.after.clone());
        }
        Ok(())
    }

    fn store(&self, write: &WriteTransaction) -> Result<()> {
        if self.recent.is_empty() {
            return Ok(());
        }
        let mut table = write.open_table(self.definition)?;
        for (key, _) in self.recent.iter().filter(|(_, newer)| newer.is_none()) {
            table.remove(*key)?;
        }
        let puts = self.recent.iter().filter_map(|(key, newer)| Some(Ok((*key, newer.as_ref()?))));
        insert_sorted(&mut table, puts, |held| V::show(held))
    }

    fn count(&self) -> Result<u64> {
        self.estimate()
    }

    fn measure(&self) -> Result<Extent> {
        let stats = unharmed(|| Ok(self.stored.stats()?))?;
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
        insert_sorted(&mut table, entries, |found| found.value())
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
