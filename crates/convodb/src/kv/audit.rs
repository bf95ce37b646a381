//! Audit of a table: its entries in key order, and which of them need a lookup.
//!
//! A scan steps from leaf to leaf. A lookup compares its key with the separators of the branches
//! above them, so a damaged separator hides entries from lookups that a scan returns. Lookups of the
//! first and the last key of a leaf that find them have compared the same separators with the same
//! results, and so does each key between the two. Within a leaf a lookup finds each key, because the
//! keys ascend, which the scan checks. So two lookups a leaf confirm all of its entries.
//!
//! redb does not tell where a leaf ends, but the addresses of keys do: those of a leaf follow each
//! other in memory. If redb changes that, more lookups are made than necessary.

use std::ops::{Bound, RangeInclusive};

use redb::ReadableTable;

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result, from_redb};
use crate::kv::catch_panic::catch_read_fault;
use crate::kv::redb_key::{Located, LocatedKey};
use crate::kv::table::{AnyTable, Table};
use crate::kv::value::{TableValue, ValueRef};

/// An entry of [`Table::audit`].
pub(crate) struct AuditedEntry<'t, K, V: TableValue> {
    pub(crate) key: K,
    pub(crate) value: ValueRef<'t, V>,
    /// Whether a lookup may miss the entry although those of all other entries find theirs: it is
    /// the first or the last of its leaf, or the table has a memtable.
    pub(crate) needs_lookup: bool,
}

type AuditedEntries<'t, K, V> = Box<dyn Iterator<Item = Result<AuditedEntry<'t, K, V>>> + 't>;

impl<K: FixedKey, V: TableValue> Table<K, V> {
    /// All entries, in ascending order. One B-tree lookup, then a step for each entry.
    pub(crate) fn audit(&self) -> Result<AuditedEntries<'_, K, V>> {
        self.audit_range(K::decode(&[])..=K::decode(&vec![u8::MAX; K::WIDTH]))
    }

    /// The entries of a range, in ascending order. One B-tree lookup, then a step for each entry.
    pub(crate) fn audit_range(&self, range: RangeInclusive<K>) -> Result<AuditedEntries<'_, K, V>> {
        if !self.is_flushed() {
            let entries = self.range(range)?.map(|entry| {
                let (key, value) = entry?;
                Ok(AuditedEntry { key, value, needs_lookup: true })
            });
            return Ok(Box::new(entries));
        }
        let (first, last) = range.into_inner();
        let first = Bound::Included(Located { key: first, address: 0 });
        let cursor = catch_read_fault(|| self.located().lower_bound(first).map_err(from_redb))?;
        let scan = Scan { cursor, last: None, ahead: None, begins_leaf: true };
        Ok(Box::new(scan.take_while(move |entry| match entry {
            Ok(entry) => entry.key <= last,
            Err(_) => true,
        })))
    }
}

/// A scan that reads one entry ahead, so that it knows where leaves end.
struct Scan<'t, K: FixedKey, V: TableValue> {
    cursor: redb::Cursor<'t, LocatedKey<K>, V>,
    /// The key that was read last.
    last: Option<K>,
    /// The entry after the one that was returned last, if it was read.
    ahead: Option<Option<Result<Stored<'t, K, V>>>>,
    /// Whether the next entry is the first of its leaf.
    begins_leaf: bool,
}

/// A stored entry. Its guard keeps the page in memory, so no other page has the same addresses.
struct Stored<'t, K: FixedKey, V: TableValue> {
    _page: redb::AccessGuard<'t, LocatedKey<K>>,
    at: Located<K>,
    value: ValueRef<'t, V>,
}

impl<'t, K: FixedKey, V: TableValue> Scan<'t, K, V> {
    fn step(&mut self) -> Option<Result<Stored<'t, K, V>>> {
        let Self { cursor, last, .. } = self;
        let step = || {
            let Some((page, value)) = cursor.next().map_err(from_redb)? else { return Ok(None) };
            let at = page.value();
            if last.replace(at.key).is_some_and(|last| last >= at.key) {
                return Err(Error::Corrupted { table: "redb", what: "keys are out of order" });
            }
            Ok(Some(Stored { _page: page, at, value: ValueRef::Stored(value).validated() }))
        };
        catch_read_fault(step).transpose()
    }
}

impl<'t, K: FixedKey, V: TableValue> Iterator for Scan<'t, K, V> {
    type Item = Result<AuditedEntry<'t, K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match self.ahead.take() {
            Some(entry) => entry,
            None => self.step(),
        };
        let Stored { _page, at, value } = match entry? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let ahead = self.step();
        let is_in_leaf = |next: &Stored<'_, K, V>| next.at.address == at.address + K::WIDTH;
        let ends_leaf = !matches!(&ahead, Some(Ok(next)) if is_in_leaf(next));
        self.ahead = Some(ahead);
        let begins_leaf = std::mem::replace(&mut self.begins_leaf, ends_leaf);
        Some(Ok(AuditedEntry { key: at.key, value, needs_lookup: begins_leaf || ends_leaf }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::key::NumberKey;
    use crate::kv::catch_panic::catch_redb_panic;
    use crate::model::id::UserId;
    use crate::tables::schema::ASSISTANT_NUMBERS;
    use crate::testing::RawStore;
    use redb::{Database, ReadOnlyDatabase, ReadableDatabase};
    use std::path::Path;

    const ENTRIES: u32 = 20_000;

    fn key(number: u32) -> NumberKey {
        NumberKey { user: UserId::new(9), number }
    }

    /// How many entries and lookups an audit of some keys takes, which are all found.
    fn audited(store: &RawStore, range: RangeInclusive<NumberKey>) -> (Vec<u32>, usize) {
        let tables = store.tables();
        let table = &tables.accounts.assistant_numbers;
        let (mut numbers, mut lookups) = (Vec::new(), 0);
        for entry in table.audit_range(range).unwrap() {
            let AuditedEntry { key, value, needs_lookup } = entry.unwrap();
            assert_eq!(value.value(), key.number.to_be_bytes());
            numbers.push(key.number);
            lookups += usize::from(needs_lookup);
        }
        (numbers, lookups)
    }

    #[test]
    fn an_audit_returns_each_entry_and_needs_two_lookups_a_leaf() {
        let store = RawStore::new();
        store.write(|write| {
            let mut tables = store.tables();
            for number in 0..ENTRIES {
                tables.accounts.assistant_numbers.put(key(number), &number.to_be_bytes());
            }
            tables.flush(write).unwrap();
        });
        let (all, lookups) = audited(&store, key(0)..=key(u32::MAX));
        assert!(all.into_iter().eq(0..ENTRIES));
        // A leaf has 4 KiB, and an entry 12 bytes.
        assert!((2 * 12 * 20_000 / 4096..1_000).contains(&lookups), "{lookups}");
        let (some, lookups) = audited(&store, key(777)..=key(780));
        assert_eq!(some, [777, 778, 779, 780]);
        assert!((1..=4).contains(&lookups), "the first is looked up: {lookups}");
    }

    #[test]
    fn each_entry_of_a_table_with_a_memtable_needs_a_lookup() {
        let store = RawStore::new();
        let mut tables = store.tables();
        let table = &mut tables.accounts.assistant_numbers;
        table.put(key(7), &[7]);
        table.put(key(8), &[8]);
        let found: Vec<_> = table.audit().unwrap().map(|entry| entry.unwrap()).collect();
        let found = found.iter().filter(|entry| entry.key.user == UserId::new(9));
        let found: Vec<_> = found.map(|entry| (entry.key.number, entry.needs_lookup)).collect();
        assert_eq!(found, [(7, true), (8, true)]);
    }

    const PAGE: usize = 4096;
    /// The entries of a file with one branch above its leaves, and the bytes that the branch uses.
    const BELOW_ONE_BRANCH: u32 = 4_000;
    const USED_BYTES: usize = 1024;
    /// The first byte of a page of redb that is a branch.
    const BRANCH: u8 = 2;

    fn write_file(path: &Path) {
        let database = Database::create(path).unwrap();
        let write = database.begin_write().unwrap();
        let mut table = ASSISTANT_NUMBERS.open_for_write(&write).unwrap();
        for number in 0..BELOW_ONE_BRANCH {
            table.insert(key(3 * number), number.to_be_bytes().as_slice()).unwrap();
        }
        drop(table);
        write.commit().unwrap();
        database.close().unwrap();
    }

    /// Whether the lookups of an audit find all entries, and whether those of all entries do.
    fn findings(path: &Path) -> Result<(bool, bool)> {
        let open = || ReadOnlyDatabase::open(path).map_err(from_redb);
        let database = catch_redb_panic(open)?;
        catch_redb_panic(|| {
            let read = database.begin_read().map_err(from_redb)?;
            let table = Table::open(&read, ASSISTANT_NUMBERS)?;
            let (mut by_audit, mut by_all) = (true, true);
            for entry in table.audit()? {
                let AuditedEntry { key, needs_lookup, .. } = entry?;
                let is_found = table.get(key)?.is_some();
                by_all &= is_found;
                by_audit &= is_found || !needs_lookup;
            }
            Ok((by_audit, by_all))
        })
    }

    #[test]
    fn an_audit_finds_each_damage_of_branches_that_looking_up_every_entry_finds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tables");
        write_file(&path);
        assert!(matches!(findings(&path), Ok((true, true))));
        let intact = std::fs::read(&path).unwrap();
        let branches = (PAGE..intact.len()).step_by(PAGE).filter(|at| intact[*at] == BRANCH);
        let branches: Vec<usize> = branches.collect();
        assert!(!branches.is_empty());
        let (mut random, mut hidden) = (0x9e37_79b9_7f4a_7c15_u64, 0);
        for _ in 0..600 {
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let number = usize::try_from(random >> 32).unwrap();
            let branch = branches[number % branches.len()];
            let mut damaged = intact.clone();
            damaged[branch + number / 64 % USED_BYTES] ^= 1 << (random % 8);
            std::fs::write(&path, damaged).unwrap();
            let Ok((by_audit, by_all)) = findings(&path) else { continue };
            assert_eq!(by_audit, by_all, "bit {} of byte {}", random % 8, number / 64 % USED_BYTES);
            hidden += usize::from(!by_all);
        }
        assert!(hidden > 10, "only {hidden} damages hid an entry from lookups");
    }
}
