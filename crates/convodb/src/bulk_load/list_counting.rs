//! Counters of lists that may be short, from the sorted entries of a bulk load.
//!
//! The entries of a list arrive together. A list that had counters gets those of its new entries; one
//! that is long now gets those of all its entries. A B-tree lookup for each list; memory for the
//! counters of the long ones.

use crate::encoding::index_term::{Field, Term};
use crate::encoding::key::{IndexKey, RowKey};
use crate::error::Result;
use crate::model::channel::ChannelKind;
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::list_counters::{LONG, ListCounts, kind_of_short};

/// The counting of the entries of one index.
pub(super) struct ListCounting<'a> {
    /// The tables before the load.
    tables: &'a Tables,
    leading: Field,
    /// The type of all rows, and the key before which they count; `None` if nothing is counted.
    counted: Option<(ChannelKind, RowKey)>,
    list: Option<List>,
    counts: ListCounts,
}

/// The list whose entries arrive.
struct List {
    user: UserId,
    term: Term,
    /// The number of its new entries.
    len: usize,
    counts: ListCounts,
}

impl<'a> ListCounting<'a> {
    pub(super) fn new(tables: &'a Tables, leading: Field) -> Self {
        let counted = kind_of_short(leading).zip(tables.families.counted_before());
        Self { tables, leading, counted, list: None, counts: ListCounts::default() }
    }

    /// Counts the next entry.
    pub(super) fn add(&mut self, key: IndexKey) -> Result<()> {
        let Some((kind, before)) = self.counted else { return Ok(()) };
        let IndexKey { user, term, position } = key;
        if self.list.as_ref().is_none_or(|list| (list.user, list.term) != (user, term)) {
            self.end_list()?;
        }
        let new = || List { user, term, len: 0, counts: ListCounts::default() };
        let list = self.list.get_or_insert_with(new);
        list.len += 1;
        if RowKey::new(user, position) < before {
            list.counts.add(user, term, position, kind);
        }
        Ok(())
    }

    /// The counters of the new entries, and of stored ones that had none.
    pub(super) fn finish(mut self) -> Result<ListCounts> {
        self.end_list()?;
        Ok(self.counts)
    }

    fn end_list(&mut self) -> Result<()> {
        let (Some(mut list), Some((kind, before))) = (self.list.take(), self.counted) else {
            return Ok(());
        };
        let List { user, term, len, .. } = list;
        let indexes = &self.tables.indexes;
        let stored = indexes.len_up_to(self.leading, user, term, LONG)?;
        let has_counters = stored > 0 && self.tables.list_counters.has(user, term)?;
        if !has_counters {
            if stored + len < LONG {
                return Ok(());
            }
            for entry in indexes.get(self.leading).range(IndexKey::all_of(user, term))? {
                let (key, _) = entry?;
                if RowKey::new(user, key.position) < before {
                    list.counts.add(user, term, key.position, kind);
                }
            }
        }
        self.counts.merge(list.counts);
        Ok(())
    }
}
