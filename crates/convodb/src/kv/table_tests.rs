//! Tests of a table with its memtable as one ordered map: puts, removals, checkpoints, rollbacks and
//! replay, and what a cursor reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::ReadableDatabase;

use crate::encoding::key::NumberKey;
use crate::error::Error;
use crate::kv::gap::{Gap, ScanDirection};
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

/// Checks a cursor from every gap in both directions, and the key before each gap. It may read one
/// hidden entry before each entry, the end, and the key before the gap.
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
                assert!(cursor.hidden_read() <= visited.len() + 2);
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

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u8),
    Remove(u32),
    Savepoint,
    RollbackToSavepoint,
    Rollback,
    Commit,
    BeginCheckpoint,
    EndCheckpoint,
    /// The process ends without a checkpoint, and another one replays the WAL.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_u32, 1..9_u8).prop_map(|(number, value)| Step::Put(number, value)),
        12 => (0..40_u32).prop_map(Step::Remove),
        1 => Just(Step::Savepoint),
        1 => Just(Step::RollbackToSavepoint),
        1 => Just(Step::Rollback),
        3 => Just(Step::Commit),
        1 => Just(Step::BeginCheckpoint),
        2 => Just(Step::EndCheckpoint),
        1 => Just(Step::Reopen),
    ]
}

/// A store with its writer's tables, and what they must contain.
struct Machine {
    store: RawStore,
    tables: Tables,
    map: BTreeMap<u32, u8>,
    at_savepoint: BTreeMap<u32, u8>,
    committed: BTreeMap<u32, u8>,
    /// The records of the groups that the stored tables lack.
    wal: Vec<Vec<u8>>,
    /// The tables that the running checkpoint flushes, and the number of their groups in the WAL.
    frozen: Option<(Tables, usize)>,
}

impl Machine {
    fn new(stored: &BTreeMap<u32, u8>) -> Self {
        let store = RawStore::new();
        store.write(|write| {
            let mut table = ASSISTANT_NUMBERS.open_for_write(write).unwrap();
            for (number, value) in stored {
                table.insert(key(*number), [*value].as_slice()).unwrap();
            }
        });
        let (tables, map) = (store.tables(), stored.clone());
        let (at_savepoint, committed) = (map.clone(), map.clone());
        Self { store, tables, map, at_savepoint, committed, wal: Vec::new(), frozen: None }
    }

    fn run(&mut self, step: &Step) {
        let table = &mut self.tables.accounts.assistant_numbers;
        match *step {
            Step::Put(number, value) => change(table, &mut self.map, number, value),
            Step::Remove(number) => change(table, &mut self.map, number, 0),
            Step::Savepoint => {
                self.tables.savepoint();
                self.at_savepoint = self.map.clone();
            }
            Step::RollbackToSavepoint => {
                self.tables.rollback_to_savepoint();
                self.map = self.at_savepoint.clone();
            }
            Step::Rollback => {
                self.tables.rollback();
                (self.map, self.at_savepoint) = (self.committed.clone(), self.committed.clone());
            }
            Step::Commit => self.commit(),
            Step::BeginCheckpoint => {
                self.commit();
                if self.frozen.is_none() {
                    self.tables.begin_checkpoint();
                    self.frozen = Some((self.tables.clone(), self.wal.len()));
                }
            }
            Step::EndCheckpoint => {
                if let Some((frozen, groups)) = self.frozen.take() {
                    self.store.write(|write| frozen.flush(write).unwrap());
                    self.tables.end_checkpoint(&self.store.read()).unwrap();
                    self.wal.drain(..groups);
                }
            }
            Step::Reopen => {
                self.tables = self.store.tables();
                self.wal.iter().for_each(|group| self.tables.replay(group).unwrap());
                self.tables.end_checkpoint(&self.store.read()).unwrap();
                self.frozen = None;
                (self.map, self.at_savepoint) = (self.committed.clone(), self.committed.clone());
            }
        }
    }

    fn commit(&mut self) {
        let mut record = Vec::new();
        self.tables.encode(&mut record);
        self.wal.push(record);
        self.tables.commit(self.wal.len() as u64);
        (self.committed, self.at_savepoint) = (self.map.clone(), self.map.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written, undone, flushed beside later writes and replayed: the table is the map,
    /// a cursor reads no more than it may, and a snapshot does not change.
    #[test]
    fn checkpoints_rollbacks_and_replay_keep_the_table(
        stored in prop::collection::btree_map(0..40_u32, 1..9_u8, 0..40),
        steps in prop::collection::vec(step(), 0..100),
        snapshot_at in 0..100_usize,
    ) {
        let mut machine = Machine::new(&stored);
        let mut snapshot = None;
        for (at, step) in steps.iter().enumerate() {
            machine.run(step);
            prop_assert_eq!(&all(&machine.tables.accounts.assistant_numbers), &machine.map);
            if at == snapshot_at {
                snapshot = Some((machine.tables.clone(), machine.map.clone()));
            }
        }
        check_cursors(&machine.tables.accounts.assistant_numbers, &machine.map);
        if let Some((tables, map)) = snapshot {
            check_cursors(&tables.accounts.assistant_numbers, &map);
        }
    }
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
    let mut puts = Vec::new();
    tables.encode(&mut puts);
    change(&mut tables.accounts.assistant_numbers, &mut map, 2, 0);
    let mut bytes = Vec::new();
    tables.encode(&mut bytes);
    assert!(bytes.starts_with(&puts), "a group without removals has nothing about them");
    let mut replayed = store.tables();
    replayed.replay(&bytes).unwrap();
    replayed.end_checkpoint(&store.read()).unwrap();
    assert_eq!(all(&replayed.accounts.assistant_numbers), map);
    for cut in (0..bytes.len()).filter(|cut| *cut != puts.len()) {
        assert!(store.tables().replay(&bytes[..cut]).is_none(), "cut at {cut}");
    }
    bytes.push(0);
    assert!(store.tables().replay(&bytes).is_none());
}
