//! Tests of a table with its memtable as one ordered map: puts, removals, flush and rollback.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::ReadableDatabase;

use crate::encoding::key::NumberKey;
use crate::error::Error;
use crate::kv::cursor::{Gap, ScanDirection};
use crate::kv::table::{AnyTable, Table};
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::schema::{ASSISTANT_NUMBERS, BytesTable};
use crate::testing::RawStore;

const USER: UserId = UserId::new(77);

const fn key(number: u32) -> NumberKey {
    NumberKey { user: USER, number }
}

fn change(table: &mut BytesTable<NumberKey>, map: &mut BTreeMap<u32, u8>, number: u32, to: u8) {
    if to == 0 {
        table.remove(key(number)).unwrap();
        map.remove(&number);
    } else {
        table.put(key(number), &[to]);
        map.insert(number, to);
    }
}

fn all(table: &BytesTable<NumberKey>) -> BTreeMap<u32, u8> {
    let entries = table.range(key(0)..=key(u32::MAX)).unwrap().map(Result::unwrap);
    entries.map(|(key, value)| (key.number, value.value()[0])).collect()
}

/// Checks a cursor from every gap in both directions, and the key before each gap.
fn check_cursors(table: &BytesTable<NumberKey>, map: &BTreeMap<u32, u8>) {
    let numbers = |range: Vec<u32>, direction| match direction {
        ScanDirection::Ascending => range,
        ScanDirection::Descending => range.into_iter().rev().collect(),
    };
    for number in 0..42 {
        let below: Vec<u32> = map.range(..number).map(|(number, _)| *number).collect();
        let above: Vec<u32> = map.range(number..).map(|(number, _)| *number).collect();
        for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
            let (ahead, behind) = match direction {
                ScanDirection::Ascending => (above.clone(), below.last()),
                ScanDirection::Descending => (below.clone(), above.first()),
            };
            let gaps =
                [Some(Gap::Before(key(number))), number.checked_sub(1).map(|n| Gap::After(key(n)))];
            for gap in gaps.into_iter().flatten() {
                let mut cursor = table.cursor(gap, direction).unwrap();
                let before = cursor.before().unwrap().filter(|key| key.user == USER);
                assert_eq!(before.map(|key| key.number).as_ref(), behind);
                let steps = std::iter::from_fn(|| cursor.step().unwrap()).map(|(key, _)| key);
                let visited: Vec<u32> =
                    steps.filter(|key| key.user == USER).map(|key| key.number).collect();
                assert_eq!(visited, numbers(ahead.clone(), direction));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Stored entries with any puts and removals above them read as one ordered map, before and
    /// after a flush.
    #[test]
    fn the_memtable_and_stored_entries_read_as_one_table(
        stored in prop::collection::btree_map(0..40_u32, 1..9_u8, 0..40),
        changes in prop::collection::vec((0..40_u32, 0..9_u8), 0..40),
    ) {
        let store = RawStore::new();
        store.write(|write| {
            let mut table = ASSISTANT_NUMBERS.open_for_write(write).unwrap();
            for (number, value) in &stored {
                table.insert(key(*number), [*value].as_slice()).unwrap();
            }
        });
        let mut table = store.tables().accounts.assistant_numbers;
        let mut map = stored.clone();
        for (number, to) in changes {
            change(&mut table, &mut map, number, to);
        }
        prop_assert_eq!(all(&table), map.clone());
        check_cursors(&table, &map);
        for number in 0..41 {
            let value = table.get(key(number)).unwrap().map(|value| value.value()[0]);
            prop_assert_eq!(value, map.get(&number).copied());
            let last = table.last(key(3)..=key(number.max(3))).unwrap().map(|(key, _)| key.number);
            prop_assert_eq!(last, map.range(3..=number.max(3)).next_back().map(|(n, _)| *n));
        }
        store.write(|write| table.flush(write).unwrap());
        prop_assert_eq!(all(&store.tables().accounts.assistant_numbers), map);
        table.rollback();
        prop_assert_eq!(all(&table), stored);
    }
}

/// A checkpoint ends in the middle of a group: what was committed before it began is stored,
/// everything later stays in the memtable, and the changes of the group can still be rolled back.
#[test]
fn the_current_group_can_be_rolled_back_after_a_checkpoint() {
    let store = RawStore::new();
    let mut tables = store.tables();
    let put =
        |tables: &mut Tables, number| tables.accounts.assistant_numbers.put(key(number), &[1]);
    put(&mut tables, 1);
    tables.commit();
    tables.begin_checkpoint();
    let frozen = tables.clone();
    put(&mut tables, 2);
    tables.commit();
    put(&mut tables, 3);
    store.write(|write| frozen.flush(write).unwrap());
    tables.accounts.assistant_numbers.end_checkpoint(&store.read()).unwrap();

    let numbers =
        |tables: &Tables| all(&tables.accounts.assistant_numbers).into_keys().collect::<Vec<_>>();
    assert_eq!(numbers(&tables), [1, 2, 3]);
    assert_eq!(numbers(&store.tables()), [1]);
    tables.rollback();
    assert_eq!(numbers(&tables), [1, 2]);
}

/// A copy is compared with the number of entries that redb has counted, in the stored table and
/// with puts and removals above it.
#[test]
fn a_copy_that_lacks_entries_is_refused() {
    const ENTRIES: u32 = 31_337;
    let copy = |table: &BytesTable<NumberKey>| {
        let backend = redb::backends::InMemoryBackend::new();
        let other = redb::Database::builder().create_with_backend(backend).unwrap();
        table.copy(&other.begin_write().unwrap(), &mut |_, _| Ok(()))
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("entries.redb");
    let database = redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    let mut stored = ASSISTANT_NUMBERS.open_for_write(&write).unwrap();
    (0..ENTRIES).for_each(|number| drop(stored.insert(key(number), [1].as_slice()).unwrap()));
    drop(stored);
    write.commit().unwrap();
    let open = |database: &redb::Database| {
        let mut table = Table::open(&database.begin_read().unwrap(), ASSISTANT_NUMBERS).unwrap();
        table.remove(key(3)).unwrap();
        table.put(key(4), &[2]);
        table.put(key(ENTRIES), &[2]);
        table.put(key(ENTRIES + 1), &[2]);
        table.remove(key(ENTRIES + 1)).unwrap();
        table
    };
    copy(&open(&database)).unwrap();
    drop(database);

    // The count of a table is in its header, so one more counted is one entry too few.
    let count = u64::from(ENTRIES).to_le_bytes();
    let mut bytes = std::fs::read(&path).unwrap();
    let headers: Vec<usize> =
        (0..bytes.len() - 8).filter(|at| bytes[*at..].starts_with(&count)).collect();
    assert!(!headers.is_empty());
    for header in headers {
        bytes[header..header + 8].copy_from_slice(&u64::from(ENTRIES + 1).to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let error = copy(&open(&redb::Database::open(&path).unwrap())).unwrap_err();
    assert!(
        matches!(error, Error::Corrupted { table: "assistant_numbers.v1", what } if what == "entries are missing"),
        "{error}"
    );
}

#[test]
fn an_encoded_group_is_replayed_and_truncated_bytes_are_refused() {
    let store = RawStore::new();
    let mut tables = store.tables();
    let mut map = BTreeMap::new();
    for (number, to) in [(3, 1), (2, 2), (3, 4)] {
        change(&mut tables.accounts.assistant_numbers, &mut map, number, to);
    }
    let mut bytes = Vec::new();
    tables.encode(&mut bytes);
    let mut replayed = store.tables();
    replayed.replay(&bytes).unwrap();
    assert_eq!(all(&replayed.accounts.assistant_numbers), map);
    for cut in 0..bytes.len() {
        assert!(store.tables().replay(&bytes[..cut]).is_none(), "cut at {cut}");
    }
    bytes.push(0);
    assert!(store.tables().replay(&bytes).is_none());
}
