//! Set hashes: whether rows, ids and index entries agree, from one pass over each table.
//!
//! Ids and index entries have no checksum. But the record of a row has one, and determines which id
//! and entries must exist. The expected ones and the stored ones are hashed and summed for each
//! table: if the sums are equal, so are the sets, except for a chance of about 2^-64 of accidental
//! damage. Needs no lookup.
//!
//! Memory: two sums for each table. A row costs its decoding, its fingerprints and a hash for each
//! entry.

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::index_term::{Field, Fingerprinter, Fingerprints};
use crate::encoding::key::{ActivityKey, FixedKey, IndexKey, RowKey, UuidKey};
use crate::error::{Error, Result};
use crate::model::conversation::ConversationRef;
use crate::model::index_family::IndexFamily;
use crate::tables::activity_index::{self, Activity};
use crate::tables::families::Families;
use crate::tables::schema::{self, CONVERSATION_IDS, CONVERSATIONS, INDEX_ACTIVITY};
use crate::tables::{conversations, indexes};

/// The number of tables with a sum: the ids first, then each index, then that by last activity.
const SUMMED: usize = 2 + Field::ALL.len();

/// A table with a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SummedTable {
    Ids,
    Index(Field),
    Activity,
}

impl SummedTable {
    /// All of them, in the order of the sums.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Ids].into_iter().chain(Field::ALL.map(Self::Index)).chain([Self::Activity])
    }

    /// The table's name on disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ids => CONVERSATION_IDS.name,
            Self::Index(leading) => schema::index(leading).name,
            Self::Activity => INDEX_ACTIVITY.name,
        }
    }

    const fn number(self) -> usize {
        match self {
            Self::Ids => 0,
            Self::Index(leading) => 1 + leading as usize,
            Self::Activity => 1 + Field::ALL.len(),
        }
    }
}

/// The sums of the ids and index entries of one state.
pub(crate) struct SetHash<'a> {
    fingerprinter: &'a Fingerprinter,
    families: &'a Families,
    /// The sums of what the rows require.
    expected: [u64; SUMMED],
    /// The sums of what is stored.
    stored: [u64; SUMMED],
    /// Whether a lookup did not find what a scan had found.
    distrusted: [bool; SUMMED],
}

impl<'a> SetHash<'a> {
    pub(crate) const fn new(fingerprinter: &'a Fingerprinter, families: &'a Families) -> Self {
        let (expected, stored) = ([0; SUMMED], [0; SUMMED]);
        Self { fingerprinter, families, expected, stored, distrusted: [false; SUMMED] }
    }

    /// Adds an entry of any table.
    ///
    /// # Errors
    /// [`Error::Corrupted`] for a row that does not decode.
    pub(crate) fn add(&mut self, table: &'static str, key: &[u8], value: &[u8]) -> Result<()> {
        if table == CONVERSATIONS.name {
            let key = RowKey::decode(key);
            let _ = self.expect(key, &conversations::decode(key, value)?);
        } else if let Some(summed) = SummedTable::all().find(|summed| summed.name() == table) {
            self.store(summed, key, value);
        }
        Ok(())
    }

    /// Adds a stored entry, unless its index family is not complete up to its row.
    pub(crate) fn store(&mut self, table: SummedTable, key: &[u8], value: &[u8]) {
        let is_covered = match table {
            SummedTable::Ids => true,
            SummedTable::Index(leading) => {
                self.families.covers_entry(leading, IndexKey::decode(key))
            }
            SummedTable::Activity => {
                let row = ActivityKey::decode(key).row();
                self.families.covers(IndexFamily::LastActivity, row)
            }
        };
        if !is_covered {
            return;
        }
        add(&mut self.stored[table.number()], key, value);
    }

    /// Notes that a lookup did not find a stored entry.
    pub(crate) fn distrust(&mut self, table: SummedTable) {
        self.distrusted[table.number()] = true;
    }

    /// Adds what a row requires, and returns the fingerprints of its fields.
    pub(crate) fn expect(&mut self, key: RowKey, row: &ConversationRef<'_>) -> Fingerprints {
        let id = UuidKey { user: key.user, uuid: row.id.uuid() };
        let position = key.position.bits().to_be_bytes();
        add(&mut self.expected[0], id.encode().as_ref(), &position);
        let all = self.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
        let fingerprints = self.families.expected(key, all);
        for (leading, entry) in indexes::entries(key, &fingerprints) {
            let number = SummedTable::Index(leading).number();
            add(&mut self.expected[number], entry.encode().as_ref(), &[]);
        }
        if self.families.must_have(IndexFamily::LastActivity, key) {
            let activity = Activity { fingerprints: &fingerprints, at: row.updated_at };
            for entry in activity_index::entries(key, activity) {
                let number = SummedTable::Activity.number();
                add(&mut self.expected[number], entry.encode().as_ref(), &[]);
            }
        }
        all
    }

    /// Adds the sums of another part of the same state.
    pub(crate) fn merge(&mut self, other: &Self) {
        for number in 0..SUMMED {
            self.expected[number] = self.expected[number].wrapping_add(other.expected[number]);
            self.stored[number] = self.stored[number].wrapping_add(other.stored[number]);
            self.distrusted[number] |= other.distrusted[number];
        }
    }

    /// The tables that differ from what the rows require.
    pub(crate) fn differing(&self) -> impl Iterator<Item = SummedTable> {
        SummedTable::all().filter(|table| {
            let number = table.number();
            self.expected[number] != self.stored[number] || self.distrusted[number]
        })
    }

    /// Checks that ids and entries agree with the rows.
    ///
    /// # Errors
    /// [`Error::Corrupted`] with the first table that differs from what the rows require.
    pub(crate) fn check(&self) -> Result<()> {
        match self.differing().next() {
            Some(table) => {
                let what = "entries differ from what the rows require; run verify for details";
                Err(Error::Corrupted { table: table.name(), what })
            }
            None => Ok(()),
        }
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
        let families = tables.families;
        let mut set_hash = SetHash::new(&store.fingerprinter, &families);
        let other = RawStore::new();
        other.write(|write| {
            tables.copy(write, |table, key, value| set_hash.add(table, key, value))
        })?;
        set_hash.check()
    }

    #[test]
    fn a_missing_extra_or_wrong_entry_is_found_in_its_table() {
        let store = RawStore::with_rows();
        let user = store.user;
        check(&store, |_| {}).unwrap();
        let table_of = |change: &dyn Fn(&mut Tables)| match check(&store, |tables| change(tables)) {
            Err(Error::Corrupted { table, .. }) => table,
            other => panic!("{other:?}"),
        };
        let first = |tables: &Tables| {
            let entry = tables.indexes.get(Field::Customer).iter().unwrap().next().unwrap();
            entry.unwrap().0
        };
        let removed = |tables: &mut Tables| {
            let entry = first(tables);
            tables.indexes.get_mut(Field::Customer).remove(entry).unwrap();
        };
        assert_eq!(table_of(&removed), "index_customer.v1");
        let added = |tables: &mut Tables| {
            let term = Term::from_bits(7);
            let entry = IndexKey { user, term, position: Position::from_bits(9) };
            tables.indexes.get_mut(Field::Kind).put(entry, ());
        };
        assert_eq!(table_of(&added), "index_type.v1");
        let moved = |tables: &mut Tables| {
            let key = UuidKey { user, uuid: id(1).uuid() };
            tables.conversations.ids.put(key, &77_u64.to_be_bytes());
        };
        assert_eq!(table_of(&moved), CONVERSATION_IDS.name);
    }
}
