//! Explanation of a set hash that differs: the table is compared with the rows entry by entry, by
//! lookups, in both directions.

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::RowKey;
use crate::error::Result;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::index_family::IndexFamily;
use crate::tables::activity_index::{self, Activity};
use crate::tables::schema::{self, CONVERSATION_IDS, INDEX_ACTIVITY};
use crate::tables::{Tables, conversations, indexes};
use crate::verify::report::VerifyReport;
use crate::verify::set_hash::SummedTable;

/// Reports how a table differs from what the rows require.
pub(super) fn explain(
    table: SummedTable,
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    report: &mut VerifyReport,
) -> Result<()> {
    let mut explainer = Explainer { tables, fingerprinter, report };
    let before = explainer.report.finding_count;
    for entry in tables.conversations.rows.iter()? {
        let (key, record) = entry?;
        // The pass over the rows has reported the damaged ones.
        let Ok(row) = conversations::decode(key, record.value()) else { continue };
        match table {
            SummedTable::Ids => explainer.check_id_of(key, &row)?,
            SummedTable::Index(leading) => explainer.check_entries_of(leading, key, &row)?,
            SummedTable::Activity => explainer.check_activity_of(key, &row)?,
        }
    }
    match table {
        SummedTable::Ids => explainer.check_ids()?,
        SummedTable::Index(leading) => explainer.check_index(leading)?,
        SummedTable::Activity => explainer.check_activity()?,
    }
    if explainer.report.finding_count == before {
        let what = "entries differ from what the rows require";
        explainer.report.add_finding(table.name(), what, super::accounts::NOBODY);
    }
    Ok(())
}

struct Explainer<'a> {
    tables: &'a Tables,
    fingerprinter: &'a Fingerprinter,
    report: &'a mut VerifyReport,
}

impl Explainer<'_> {
    /// The id of a row leads to it.
    fn check_id_of(&mut self, key: RowKey, row: &ConversationRef<'_>) -> Result<()> {
        let position = self.tables.conversations.position(key.user, row.id);
        if self.report.found(position, key.user)? != Some(key.position) {
            let what = "a row's id does not lead to it";
            self.report.add_finding(CONVERSATION_IDS.name, what, key.user);
        }
        Ok(())
    }

    /// The entries of a row exist.
    fn check_entries_of(
        &mut self,
        leading: Field,
        key: RowKey,
        row: &ConversationRef<'_>,
    ) -> Result<()> {
        let index = self.tables.indexes.get(leading);
        let fingerprints = self.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
        let fingerprints = self.tables.families.expected(key, fingerprints);
        for (_, entry) in indexes::entries(key, &fingerprints).filter(|(of, _)| *of == leading) {
            if index.get(entry)?.is_none() {
                let table = schema::index(leading).name;
                self.report.add_finding(table, "a row's entry is missing", key.user);
            }
        }
        Ok(())
    }

    /// The entries of a row in the index by last activity exist.
    fn check_activity_of(&mut self, key: RowKey, row: &ConversationRef<'_>) -> Result<()> {
        if !self.tables.families.must_have(IndexFamily::LastActivity, key) {
            return Ok(());
        }
        let fingerprints = self.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
        let activity = Activity { fingerprints: &fingerprints, at: row.updated_at };
        for entry in activity_index::entries(key, activity) {
            if self.tables.activity.table.get(entry)?.is_none() {
                let what = "a row's entry is missing";
                self.report.add_finding(INDEX_ACTIVITY.name, what, key.user);
            }
        }
        Ok(())
    }

    /// Each id leads to a row with this id.
    fn check_ids(&mut self) -> Result<()> {
        for entry in self.tables.conversations.ids.iter()? {
            let (key, stored) = entry?;
            let row = match conversations::decode_position(stored.value()) {
                Ok(position) => self.row(RowKey::new(key.user, position))?,
                Err(_) => None,
            };
            if row.is_none_or(|row| row.id.uuid() != key.uuid) {
                let what = "an id leads to no row with this id";
                self.report.add_finding(CONVERSATION_IDS.name, what, key.user);
            }
        }
        Ok(())
    }

    /// Each entry of an index is one of its row.
    fn check_index(&mut self, leading: Field) -> Result<()> {
        let table = schema::index(leading).name;
        for entry in self.tables.indexes.get(leading).iter()? {
            let (key, _) = entry?;
            if !self.tables.families.covers_entry(leading, key) {
                continue;
            }
            let row_key = RowKey::new(key.user, key.position);
            let Some(row) = self.row(row_key)? else {
                self.report.add_finding(table, "an entry leads to no row", key.user);
                continue;
            };
            let fingerprints = self.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
            let fingerprints = self.tables.families.expected(row_key, fingerprints);
            let belongs = indexes::entries(row_key, &fingerprints).any(|own| own == (leading, key));
            if !belongs {
                self.report.add_finding(table, "an entry does not match its row", key.user);
            }
        }
        Ok(())
    }

    /// Each entry of the index by last activity is one of its row.
    fn check_activity(&mut self) -> Result<()> {
        for entry in self.tables.activity.table.iter()? {
            let (key, _) = entry?;
            let row_key = key.row();
            if !self.tables.families.covers(IndexFamily::LastActivity, row_key) {
                continue;
            }
            let Some(row) = self.row(row_key)? else {
                let what = "an entry leads to no row";
                self.report.add_finding(INDEX_ACTIVITY.name, what, key.user);
                continue;
            };
            let fingerprints = self.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
            let activity = Activity { fingerprints: &fingerprints, at: row.updated_at };
            if !activity_index::entries(row_key, activity).any(|own| own == key) {
                let what = "an entry does not match its row";
                self.report.add_finding(INDEX_ACTIVITY.name, what, key.user);
            }
        }
        Ok(())
    }

    /// The row with this key, if it exists and is not damaged.
    fn row(&self, key: RowKey) -> Result<Option<Conversation>> {
        let found = self.tables.conversations.rows.get(key)?;
        Ok(found.and_then(|record| {
            conversations::decode(key, record.value()).ok().map(|row| row.owned())
        }))
    }
}
