//! Secondary indexes: which entries a row has, and the one way they change.
//!
//! The fields of a filter, without implied ones, form one of fifteen shapes, or the empty shape,
//! which the table of rows serves. The index table of its leading field has the entries of a shape:
//!
//! | table | shapes | T type, A assistant |
//! |---|---|---|
//! | `index_type` | T | S sender, C customer |
//! | `index_assistant` | A, TA | E external identifier |
//! | `index_sender` | S, SA | |
//! | `index_customer` | C, CA, CS, CSA | |
//! | `index_external` | E, EA | O AI off |
//! | `index_ai_off` | O, OT, OA, OTA | |
//!
//! A row has an entry for each shape whose fields it has: 3 (test, widget), 5 (api with an
//! identifier) or 9 (whatsapp with both phones). So the list of any filter is one range. A row whose
//! AI is off has 4 more, in a store with that index family.

use crate::encoding::index_term::{Field, Fingerprinter, Fingerprints, Shape, Term};
use crate::encoding::key::{IndexKey, RowKey};
use crate::error::Result;
use crate::model::id::{AssistantId, UserId};
use crate::tables::schema::{IndexTable, Indexes};

/// The shapes that have entries.
pub(crate) const LATTICE: [Shape; 15] = [
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
    Shape::of(&[Field::AiOff]),
    Shape::of(&[Field::AiOff, Field::Kind]),
    Shape::of(&[Field::AiOff, Field::Assistant]),
    Shape::of(&[Field::AiOff, Field::Assistant, Field::Kind]),
];

/// The entries of the row `key`, each with its leading field.
pub(crate) fn entries(
    key: RowKey,
    row: &Fingerprints,
) -> impl Iterator<Item = (Field, IndexKey)> + '_ {
    LATTICE.into_iter().filter(|shape| shape.is_subset_of(row.shape())).filter_map(move |shape| {
        let (leading, term) = row.term(shape)?;
        Some((leading, IndexKey { user: key.user, term, position: key.position }))
    })
}

/// The entries that the first state of a row has and the second lacks. Allocates nothing: a row has a
/// few entries, which are derived again for each comparison.
pub(crate) fn only_first<R: Copy, I: Iterator<Item: PartialEq>>(
    first: Option<R>,
    second: Option<R>,
    entries: impl Fn(R) -> I,
) -> impl Iterator<Item = I::Item> {
    let of_first = first.map(&entries);
    of_first.into_iter().flatten().filter(move |entry| {
        second.is_none_or(|second| !entries(second).any(|other| other == *entry))
    })
}

impl Indexes {
    /// The index table of a leading field.
    pub(crate) const fn get(&self, leading: Field) -> &IndexTable {
        match leading {
            Field::Kind => &self.kind,
            Field::Assistant => &self.assistant,
            Field::Sender => &self.sender,
            Field::Customer => &self.customer,
            Field::External => &self.external,
            Field::AiOff => &self.ai_off,
        }
    }

    /// The index table of a leading field, for writing.
    pub(crate) const fn get_mut(&mut self, leading: Field) -> &mut IndexTable {
        match leading {
            Field::Kind => &mut self.kind,
            Field::Assistant => &mut self.assistant,
            Field::Sender => &mut self.sender,
            Field::Customer => &mut self.customer,
            Field::External => &mut self.external,
            Field::AiOff => &mut self.ai_off,
        }
    }

    /// Changes the entries of a row from those of `old` to those of `new`: an insert is (none,
    /// new), an update (old, new), a delete (old, none). Does not touch entries of both.
    pub(crate) fn apply(
        &mut self,
        key: RowKey,
        old: Option<&Fingerprints>,
        new: Option<&Fingerprints>,
    ) -> Result<()> {
        for (leading, entry) in only_first(old, new, |row| entries(key, row)) {
            self.get_mut(leading).remove(entry)?;
        }
        for (leading, entry) in only_first(new, old, |row| entries(key, row)) {
            self.get_mut(leading).put(entry, ());
        }
        Ok(())
    }

    /// Whether the user's assistant has a conversation. One B-tree lookup.
    pub(crate) fn assistant_has_conversations(
        &self,
        fingerprinter: &Fingerprinter,
        user: UserId,
        assistant: AssistantId,
    ) -> Result<bool> {
        let mut fingerprints = Fingerprints::default();
        fingerprints.set(Field::Assistant, fingerprinter.assistant(assistant));
        let Some((leading, term)) = fingerprints.term(fingerprints.shape()) else {
            return Ok(false);
        };
        Ok(self.get(leading).last(IndexKey::all_of(user, term))?.is_some())
    }

    /// The number of entries of a list, or `limit` if it has more. One B-tree lookup, then a step for
    /// each entry.
    pub(crate) fn len_up_to(
        &self,
        leading: Field,
        user: UserId,
        term: Term,
        limit: usize,
    ) -> Result<usize> {
        let entries = self.get(leading).range(IndexKey::all_of(user, term))?;
        entries.take(limit).try_fold(0, |len, entry| entry.map(|_| len + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::index_term::Fingerprint;
    use crate::kv::table::PendingWrites;
    use crate::model::position::Position;
    use crate::tables::Tables;
    use crate::testing::RawStore;

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
        use Field::{AiOff, Assistant, Customer, External, Kind, Sender};
        let count = |fields: &[Field]| entries(key(), &row(fields)).count();
        assert_eq!(count(&[Kind, Assistant]), 3);
        assert_eq!(count(&[Kind, Assistant, External]), 5);
        assert_eq!(count(&[Kind, Assistant, Sender]), 5);
        assert_eq!(count(&[Kind, Assistant, Customer]), 5);
        assert_eq!(count(&[Kind, Assistant, Sender, Customer]), 9);
        assert_eq!(count(&[Kind, Assistant, AiOff]), 7);
    }

    #[test]
    fn an_update_touches_only_what_differs() {
        let old = row(&[Field::Kind, Field::Assistant, Field::External]);
        let mut new = old;
        let mut tables = RawStore::new().tables();
        let changes = |tables: &mut Tables, old: Option<&_>, new: Option<&_>| {
            tables.commit(1);
            tables.indexes.apply(key(), old, new).unwrap();
            let PendingWrites { changes, removals, .. } = tables.pending();
            (changes, removals)
        };
        assert_eq!(changes(&mut tables, None, Some(&old)), (5, 0));
        assert_eq!(changes(&mut tables, Some(&old), Some(&new)), (0, 0));
        new.set(Field::External, Fingerprint::from_bits(77));
        let e_and_ea_of_both = (4, 2);
        assert_eq!(changes(&mut tables, Some(&old), Some(&new)), e_and_ea_of_both);
        assert_eq!(changes(&mut tables, Some(&new), None), (5, 5));
    }
}
