//! Whether rows, ids and index entries agree, told while each table is read once, from its first
//! key to its last, without a look-up. Ids and entries have no checksum of their own; but a row's
//! record has, and tells which ones it must have. Those that rows must have and those that are
//! there are summed up, each as a hash: where the sums of a table are equal, so are the sets, but
//! for a chance of some 2^-64 of damage that nobody aimed.
//!
//! Memory: a sum for each table. A row costs its decoding, its fingerprints and a hash for each entry.

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::{FixedKey, RowKey, UuidKey};
use crate::error::{Error, Result};
use crate::tables::schema::{INDEX_NAMES, names};
use crate::tables::{conversations, indexes};

/// The table of ids, and those of entries.
const SUMMED: usize = 1 + Field::ALL.len();

/// See the head of this file.
pub(crate) struct SetHash<'a> {
    fingerprinter: &'a Fingerprinter,
    /// What the rows must have.
    expected: [u64; SUMMED],
    /// What is there.
    found: [u64; SUMMED],
}

impl<'a> SetHash<'a> {
    pub(crate) const fn new(fingerprinter: &'a Fingerprinter) -> Self {
        Self { fingerprinter, expected: [0; SUMMED], found: [0; SUMMED] }
    }

    /// Takes an entry of any table.
    ///
    /// # Errors
    /// [`Error::Corrupted`] for a row that does not decode.
    pub(crate) fn add(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<()> {
        if table == names::CONVERSATIONS {
            return self.row(RowKey::decode(key), value);
        }
        let at = match INDEX_NAMES.iter().position(|name| *name == table) {
            Some(at) => 1 + at,
            None if table == names::CONVERSATION_IDS => 0,
            None => return Ok(()),
        };
        add(&mut self.found[at], key, value);
        Ok(())
    }

    fn row(&mut self, key: RowKey, record: &[u8]) -> Result<()> {
        let row = conversations::decode(key, record)?;
        let id = UuidKey { user: key.user, uuid: row.id.uuid() };
        let position = key.position.bits().to_be_bytes();
        add(&mut self.expected[0], id.encode().as_ref(), &position);
        let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
        for (leading, entry) in indexes::entries(key, &fingerprints) {
            add(&mut self.expected[1 + leading as usize], entry.encode().as_ref(), &[]);
        }
        Ok(())
    }

    /// Whether all that was taken agrees.
    ///
    /// # Errors
    /// [`Error::Corrupted`] with the first table that has other entries than the rows must have.
    pub(crate) fn check(&self) -> Result<()> {
        let tables = [names::CONVERSATION_IDS].into_iter().chain(INDEX_NAMES);
        for ((table, expected), found) in tables.zip(self.expected).zip(self.found) {
            if expected != found {
                let what = "its entries are not those of the rows; `verify` tells which";
                return Err(Error::Corrupted { table, what });
            }
        }
        Ok(())
    }
}

fn add(sum: &mut u64, key: &[u8], value: &[u8]) {
    let hash = xxh3_64(key) ^ xxh3_64(value).rotate_left(1);
    *sum = sum.wrapping_add(hash);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::index_term::Term;
    use crate::encoding::key::IndexKey;
    use crate::model::position::Position;
    use crate::tables::Tables;
    use crate::testing::{RawStore, id};

    fn check(store: &RawStore, change: impl FnOnce(&mut Tables)) -> Result<()> {
        let mut tables = store.tables();
        change(&mut tables);
        let mut set_hash = SetHash::new(&store.fingerprinter);
        let other = RawStore::new();
        other.write(|write| {
            tables.copy(write, |table, key, value| set_hash.add(table, key, value))
        })?;
        set_hash.check()
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        let store = RawStore::with_rows();
        let user = store.user;
        check(&store, |_| {}).unwrap();
        let table_of = |change: &dyn Fn(&mut Tables)| match check(&store, |tables| change(tables)) {
            Err(Error::Corrupted { table, .. }) => table,
            other => panic!("{other:?}"),
        };
        let first = |tables: &Tables| {
            let entry = tables.index(Field::Customer).iter().unwrap().next().unwrap();
            entry.unwrap().0
        };
        let removed = |tables: &mut Tables| {
            let entry = first(tables);
            tables.index_mut(Field::Customer).remove(entry).unwrap();
        };
        assert_eq!(table_of(&removed), "index_customer.v1");
        let added = |tables: &mut Tables| {
            let term = Term::from_bits(7);
            let entry = IndexKey { user, term, position: Position::from_bits(9) };
            tables.index_mut(Field::Kind).put(entry, ());
        };
        assert_eq!(table_of(&added), "index_type.v1");
        let moved = |tables: &mut Tables| {
            let key = UuidKey { user, uuid: id(1).uuid() };
            tables.ids.put(key, &77_u64.to_be_bytes());
        };
        assert_eq!(table_of(&moved), names::CONVERSATION_IDS);
    }
}
