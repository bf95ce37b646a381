//! The five index tables: which entries a row has, and the one way they change.
//!
//! A filter's fields, once implied ones are dropped, form one of eleven shapes (and the empty one,
//! which is the rows themselves). Each shape lives in the table of its leading field:
//!
//! | table | shapes | T type, A assistant |
//! |---|---|---|
//! | `index_type` | T | S sender, C customer |
//! | `index_assistant` | A, TA | E external identifier |
//! | `index_sender` | S, SA | |
//! | `index_customer` | C, CA, CS, CSA | |
//! | `index_external` | E, EA | |
//!
//! A row has an entry for each shape whose fields it all has: 3 (test, widget), 5 (api with an
//! identifier) or 9 (whatsapp with both phones). Every list a filter can ask for is then one range.

use redb::WriteTransaction;

use crate::encoding::key::{IndexKey, RowKey};
use crate::encoding::term::{Field, Fingerprints, Shape};
use crate::error::Result;
use crate::storage::schema;
use crate::storage::sorted::insert_sorted;

/// The shapes that have entries.
pub(crate) const LATTICE: [Shape; 11] = [
    Shape::of(&[Field::Kind]),
    Shape::of(&[Field::Assistant]),
    Shape::of(&[Field::Assistant, Field::Kind]),
    Shape::of(&[Field::Sender]),
    Shape::of(&[Field::Sender, Field::Assistant]),
    Shape::of(&[Field::Customer]),
    Shape::of(&[Field::Customer, Field::Assistant]),
    Shape::of(&[Field::Customer, Field::Sender]),
    Shape::of(&[Field::Customer, Field::Sender, Field::Assistant]),
    Shape::of(&[Field::External]),
    Shape::of(&[Field::External, Field::Assistant]),
];

/// The entries of the row `key`, each with the field that names its table.
pub(crate) fn entries(
    key: RowKey,
    row: &Fingerprints,
) -> impl Iterator<Item = (Field, IndexKey)> + '_ {
    LATTICE.into_iter().filter(|shape| shape.is_subset_of(row.shape())).filter_map(move |shape| {
        let (leading, term) = row.term(shape)?;
        Some((leading, IndexKey { owner: key.owner, term, position: key.position }))
    })
}

/// Changes of index entries, gathered over a group of writes and applied in key order: entries of
/// one group that fall on one leaf then cost one visit of it.
#[derive(Default)]
pub(crate) struct IndexChanges {
    changes: Vec<Change>,
}

#[derive(Clone, Copy)]
struct Change {
    leading: Field,
    key: IndexKey,
    put: bool,
}

impl IndexChanges {
    /// Gathers what takes the row's entries from those of `old` to those of `new`: an insert is
    /// (none, new), an update (old, new), a delete (old, none). Entries of both stay untouched.
    pub(crate) fn apply(
        &mut self,
        key: RowKey,
        old: Option<&Fingerprints>,
        new: Option<&Fingerprints>,
    ) {
        let has = |row: Option<&Fingerprints>, entry: &(Field, IndexKey)| {
            row.is_some_and(|row| entries(key, row).any(|other| other == *entry))
        };
        for (row, other, put) in [(old, new, false), (new, old, true)] {
            let Some(row) = row else { continue };
            let changed = entries(key, row).filter(|entry| !has(other, entry));
            self.changes.extend(changed.map(|(leading, key)| Change { leading, key, put }));
        }
    }

    /// How many changes are gathered: what [`IndexChanges::truncate`] takes.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Forgets the changes gathered since there were `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.changes.truncate(len);
    }

    /// Applies all changes, table by table in key order; of several of one entry the last holds.
    pub(crate) fn flush(&mut self, write: &WriteTransaction) -> Result<()> {
        self.changes.sort_by_key(|change| (change.leading, change.key));
        for changes in self.changes.chunk_by(|a, b| a.leading == b.leading) {
            let Some(first) = changes.first() else {
                continue;
            };
            let mut table = write.open_table(schema::index(first.leading))?;
            let last_of = |same: &[Change]| same.last().copied();
            let finals = || changes.chunk_by(|a, b| a.key == b.key).filter_map(last_of);
            for change in finals().filter(|change| !change.put) {
                table.remove(change.key)?;
            }
            let put = finals().filter(|change| change.put).map(|change| Ok((change.key, ())));
            insert_sorted(&mut table, put, |()| ())?;
        }
        self.changes.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::term::Fingerprint;
    use crate::model::id::UserId;
    use crate::model::position::Position;

    fn row(fields: &[Field]) -> Fingerprints {
        let mut row = Fingerprints::default();
        for field in fields {
            row.set(*field, Fingerprint::from_bits(field.name().len() as u64));
        }
        row
    }

    fn key() -> RowKey {
        RowKey::new(UserId::new(1), Position::from_bits(9))
    }

    #[test]
    fn a_row_has_the_entries_of_its_fields() {
        use Field::{Assistant, Customer, External, Kind, Sender};
        let count = |fields: &[Field]| entries(key(), &row(fields)).count();
        assert_eq!(count(&[Kind, Assistant]), 3);
        assert_eq!(count(&[Kind, Assistant, External]), 5);
        assert_eq!(count(&[Kind, Assistant, Sender]), 5);
        assert_eq!(count(&[Kind, Assistant, Customer]), 5);
        assert_eq!(count(&[Kind, Assistant, Sender, Customer]), 9);
    }

    #[test]
    fn an_update_touches_only_what_differs() {
        let old = row(&[Field::Kind, Field::Assistant, Field::External]);
        let mut new = old;
        let mut changes = IndexChanges::default();
        changes.apply(key(), Some(&old), Some(&new));
        assert_eq!(changes.len(), 0);

        new.set(Field::External, Fingerprint::from_bits(77));
        changes.apply(key(), Some(&old), Some(&new));
        assert_eq!(changes.len(), 4, "E and EA of the old and of the new identifier");
        changes.truncate(0);
        changes.apply(key(), None, Some(&new));
        assert_eq!(changes.len(), 5);
    }
}
