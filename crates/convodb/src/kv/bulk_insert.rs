//! Bulk insertion of entries in key order into a redb table.
//!
//! A run of entries that fits between two neighbouring keys of the table is written through a redb
//! cursor, which fills leaves completely. Where runs are short, single inserts are cheaper; they
//! still visit the leaves in order.

use std::iter::Peekable;
use std::ops::Bound;

use redb::{CursorError, Table, Value};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result, from_redb};
use crate::kv::redb_key::RedbKey;

/// Shortest run that is worth its cursor.
const MIN_RUN: usize = 8;
/// Number of single inserts after a shorter run, before a cursor is tried again.
const SINGLE_INSERTS: usize = 64;

/// Inserts entries that arrive in ascending key order. An entry replaces the stored one of its key.
/// `value` borrows the table's value from an entry.
pub(crate) fn bulk_insert<K: FixedKey, V: Value + 'static, H>(
    table: &mut Table<'_, RedbKey<K>, V>,
    entries: impl Iterator<Item = Result<(K, H)>>,
    value: impl Fn(&H) -> V::SelfType<'_> + Copy,
) -> Result<()> {
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        if insert_run(table, &mut entries, value)? < MIN_RUN {
            for entry in entries.by_ref().take(SINGLE_INSERTS) {
                let (key, entry) = entry?;
                table.insert(key, value(&entry)).map_err(from_redb)?;
            }
        }
    }
    Ok(())
}

/// Inserts entries up to the next key that the table has, and returns how many it inserted.
fn insert_run<K: FixedKey, V: Value + 'static, H>(
    table: &mut Table<'_, RedbKey<K>, V>,
    entries: &mut Peekable<impl Iterator<Item = Result<(K, H)>>>,
    value: impl Fn(&H) -> V::SelfType<'_>,
) -> Result<usize> {
    let Some(Ok((first, _))) = entries.peek() else { return Ok(0) };
    let mut cursor = table.lower_bound_mut(Bound::Included(*first)).map_err(from_redb)?;
    let mut inserted = 0;
    while let Some(Ok((key, entry))) = entries.peek() {
        match cursor.insert_before(*key, value(entry)) {
            Ok(()) => inserted += 1,
            Err(CursorError::UnorderedKey) => break,
            Err(CursorError::Storage(error)) => return Err(from_redb(error)),
            Err(error) => return Err(Error::Storage(error.to_string())),
        }
        entries.next();
    }
    cursor.close().map_err(from_redb)?;
    Ok(inserted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::key::NumberKey;
    use crate::model::id::UserId;
    use crate::tables::schema::ASSISTANT_NUMBERS;
    use crate::testing::RawStore;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Several insertions whose keys interleave and repeat have the result of a map.
        #[test]
        fn interleaved_runs_equal_a_map(
            runs in prop::collection::vec(prop::collection::btree_map(0..500_u32, any::<u8>(), 0..300), 1..4),
        ) {
            let store = RawStore::new();
            let mut expected = BTreeMap::new();
            let user = UserId::new(77);
            for run in runs {
                store.write(|write| {
                    let mut table = ASSISTANT_NUMBERS.open_for_write(write).unwrap();
                    let values: Vec<(u32, [u8; 1])> = run.iter().map(|(n, v)| (*n, [*v])).collect();
                    let entries = values
                        .iter()
                        .map(|(number, value)| Ok((NumberKey { user, number: *number }, value)));
                    bulk_insert(&mut table, entries, |value| value.as_slice()).unwrap();
                });
                expected.extend(run);
            }
            let tables = store.tables();
            let first = NumberKey { user, number: 0 };
            let stored: BTreeMap<u32, u8> = tables
                .accounts
                .assistant_numbers
                .range(first..=NumberKey { number: u32::MAX, ..first })
                .unwrap()
                .map(|entry| {
                    let (key, value) = entry.unwrap();
                    (key.number, value.value()[0])
                })
                .collect();
            prop_assert_eq!(stored, expected);
        }
    }
}
