//! Index by last activity: which entries a row has, and the one way they change.
//!
//! The last activity of a conversation is its `updated_at`: the time of its newest message or of its
//! last change. A row has an entry for each of six shapes whose fields it has, sorted by that time
//! and then by position: 4 (test, widget, api) to 6 (whatsapp with both phones).
//!
//! A write that changes `updated_at` moves the entries: it removes the old keys and puts new ones,
//! both in the memtable. A key that was put since the last checkpoint leaves nothing behind, so any
//! number of moves between two checkpoints cost each list one removed and one put key.

use crate::encoding::index_term::{Field, Fingerprints, Shape};
use crate::encoding::key::{ActivityKey, RowKey};
use crate::error::Result;
use crate::model::position::SortKey;
use crate::model::timestamp::Timestamp;
use crate::tables::indexes::only_first;
use crate::tables::schema::ActivityIndex;

/// The shapes that have entries.
pub(crate) const SHAPES: [Shape; 6] = [
    Shape::EMPTY,
    Shape::of(&[Field::Kind]),
    Shape::of(&[Field::Assistant]),
    Shape::of(&[Field::Assistant, Field::Kind]),
    Shape::of(&[Field::Sender]),
    Shape::of(&[Field::Customer]),
];

/// What determines the entries of a row, apart from its key.
#[derive(Clone, Copy)]
pub(crate) struct Activity<'a> {
    pub(crate) fingerprints: &'a Fingerprints,
    /// The time of the last activity.
    pub(crate) at: Timestamp,
}

/// The entries of the row `key`.
pub(crate) fn entries(key: RowKey, row: Activity<'_>) -> impl Iterator<Item = ActivityKey> + '_ {
    let at = SortKey::of_activity(row.at.millis(), key.position);
    let shapes =
        SHAPES.into_iter().filter(move |shape| shape.is_subset_of(row.fingerprints.shape()));
    let term = move |shape| row.fingerprints.list_term(shape);
    shapes.map(move |shape| ActivityKey { user: key.user, term: term(shape), at })
}

impl ActivityIndex {
    /// Changes the entries of a row from those of `old` to those of `new`: an insert is (none,
    /// new), an update (old, new), a delete (old, none). Does not touch entries of both.
    pub(crate) fn apply(
        &mut self,
        key: RowKey,
        old: Option<Activity<'_>>,
        new: Option<Activity<'_>>,
    ) -> Result<()> {
        for entry in only_first(old, new, |row| entries(key, row)) {
            self.table.remove(entry)?;
        }
        for entry in only_first(new, old, |row| entries(key, row)) {
            self.table.put(entry, ());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::index_term::{Fingerprint, Term};
    use crate::kv::gap::{Gap, ScanDirection};
    use crate::model::id::UserId;
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

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn a_row_has_an_entry_for_each_list_of_its_fields() {
        use Field::{Assistant, Customer, External, Kind, Sender};
        let count = |fields: &[Field]| {
            let fingerprints = row(fields);
            let activity = Activity { fingerprints: &fingerprints, at: at(7) };
            entries(key(), activity).count()
        };
        assert_eq!(count(&[Kind, Assistant]), 4);
        assert_eq!(count(&[Kind, Assistant, External]), 4);
        assert_eq!(count(&[Kind, Assistant, Sender]), 5);
        assert_eq!(count(&[Kind, Assistant, Sender, Customer]), 6);
    }

    /// The entries of the memtable, and the runs of removed entries that a scan of all lists meets.
    fn changed(tables: &Tables) -> (usize, usize) {
        let table = &tables.activity.table;
        let at = SortKey::of_activity(0, Position::from_bits(0));
        let zero = ActivityKey { user: UserId::new(0), term: Term::OF_ALL, at };
        let mut cursor = table.cursor(Gap::Before(zero), ScanDirection::Ascending).unwrap();
        while cursor.step().unwrap().is_some() {}
        let keys = table.iter().unwrap().map(|entry| entry.unwrap().0);
        let put = keys.filter(|key| matches!(table.in_memtable(*key), Some(Some(_))));
        (put.count(), cursor.hidden_read())
    }

    #[test]
    fn any_number_of_moves_cost_each_list_one_entry_at_the_checkpoint() {
        let store = RawStore::new();
        let fingerprints = row(&[Field::Kind, Field::Assistant]);
        let activity = |millis| Some(Activity { fingerprints: &fingerprints, at: at(millis) });
        let lists = 4;
        let mut tables = store.tables();
        let rows = [8, 9, 10].map(|bits| RowKey::new(UserId::new(1), Position::from_bits(bits)));
        for row in rows {
            tables.activity.apply(row, None, activity(1)).unwrap();
        }
        store.write(|write| tables.flush(write).unwrap());

        let mut tables = store.tables();
        assert_eq!(changed(&tables), (0, 0));
        for millis in 1..1_000 {
            let (old, new) = (activity(millis), activity(millis + 1));
            // The entries of the other rows separate its removed ones into a run each.
            tables.activity.apply(rows[1], old, new).unwrap();
            assert_eq!(tables.pending().changes, 2 * lists, "each move removes and puts");
            tables.commit(millis);
            assert_eq!(changed(&tables), (lists, lists));
        }
        store.write(|write| tables.flush(write).unwrap());
        let stored = store.tables();
        assert_eq!(changed(&stored), (0, 0));
        assert_eq!(stored.activity.table.iter().unwrap().count(), 3 * lists);
    }

    #[test]
    fn entries_of_both_states_are_not_touched() {
        let mut tables = RawStore::new().tables();
        let key = key();
        let [one, two] = [77, 78].map(Fingerprint::from_bits);
        let without = row(&[Field::Kind]);
        let [of_one, of_two] = [one, two].map(|sender| {
            let mut row = without;
            row.set(Field::Sender, sender);
            row
        });
        let of = |fingerprints| Some(Activity { fingerprints, at: at(5) });
        let mut changes = |old, new| {
            tables.commit(1);
            tables.activity.apply(key, old, new).unwrap();
            (tables.pending().changes, tables.pending().removals)
        };
        assert_eq!(changes(None, of(&of_one)), (3, 0));
        assert_eq!(changes(of(&of_one), of(&of_one)), (0, 0));
        assert_eq!(changes(of(&of_one), of(&of_two)), (2, 1), "of the list by sender alone");
        assert_eq!(changes(of(&of_two), of(&without)), (1, 1));
        assert_eq!(changes(of(&without), None), (2, 2));
    }
}
