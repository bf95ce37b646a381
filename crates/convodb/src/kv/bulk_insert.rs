//! Inserting entries that come in key order. A stretch of them that falls between two neighbours in
//! the table is written through a cursor, which fills its leaves; where stretches are short, single
//! inserts are cheaper, and their leaves are still visited in order.

use std::iter::Peekable;
use std::ops::Bound;

use redb::{CursorError, Table, Value};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result};
use crate::kv::redb_key::RedbKey;

/// A stretch this short does not pay for its cursor.
const SHORT: usize = 8;
/// How many entries are inserted singly after a short stretch, before a cursor is tried again.
const SINGLES: usize = 64;

/// Inserts entries in ascending key order. An entry whose key is there replaces it. `value` shows
/// what is held as the value that the table takes.
pub(crate) fn bulk_insert<K: FixedKey, V: Value + 'static, H>(
    table: &mut Table<'_, RedbKey<K>, V>,
    entries: impl Iterator<Item = Result<(K, H)>>,
    value: impl Fn(&H) -> V::SelfType<'_> + Copy,
) -> Result<()> {
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        if insert_run(table, &mut entries, value)? < SHORT {
            for entry in entries.by_ref().take(SINGLES) {
                let (key, held) = entry?;
                table.insert(key, value(&held))?;
            }
        }
    }
    Ok(())
}

/// Inserts the entries up to the next neighbour in the table, and tells how many they were.
fn insert_run<K: FixedKey, V: Value + 'static, H>(
    table: &mut Table<'_, RedbKey<K>, V>,
    entries: &mut Peekable<impl Iterator<Item = Result<(K, H)>>>,
    value: impl Fn(&H) -> V::SelfType<'_>,
) -> Result<usize> {
    let Some(Ok((first, _))) = entries.peek() else { return Ok(0) };
    let mut cursor = table.lower_bound_mut(Bound::Included(*first))?;
    let mut inserted = 0;
    while let Some(Ok((key, held))) = entries.peek() {
        match cursor.insert_before(*key, value(held)) {
            Ok(()) => inserted += 1,
            Err(CursorError::UnorderedKey) => break,
            Err(CursorError::Storage(error)) => return Err(error.into()),
            Err(error) => return Err(Error::Storage(error.to_string())),
        }
        entries.next();
    }
    cursor.close()?;
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

        /// Several runs, interleaved with each other and repeating keys, end as a map would.
        #[test]
        fn runs_are_merged_as_a_map_would(
            runs in prop::collection::vec(prop::collection::btree_map(0..500_u32, any::<u8>(), 0..300), 1..4),
        ) {
            let store = RawStore::new();
            let mut expected = BTreeMap::new();
            let owner = UserId::new(77);
            for run in runs {
                store.write(|write| {
                    let mut table = write.open_table(ASSISTANT_NUMBERS).unwrap();
                    let values: Vec<(u32, [u8; 1])> = run.iter().map(|(n, v)| (*n, [*v])).collect();
                    let entries = values
                        .iter()
                        .map(|(number, value)| Ok((NumberKey { owner, number: *number }, value)));
                    bulk_insert(&mut table, entries, |value| value.as_slice()).unwrap();
                });
                expected.extend(run);
            }
            let tables = store.tables();
            let first = NumberKey { owner, number: 0 };
            let stored: BTreeMap<u32, u8> = tables
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
