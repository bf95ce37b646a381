//! Verification of conversations: rows against ids, index entries, messages and counters.
//!
//! Each row has exactly its id, its entries and its share of the counters; each id, entry and
//! message has its row; and a lookup finds every row that a scan finds. Memory: all counters of the
//! store, once.

use std::collections::BTreeMap;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::{CounterKey, RowKey};
use crate::encoding::record::CounterV1;
use crate::encoding::row::StoredMessages;
use crate::error::Result;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::cost::Cost;
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::schema::{self, CONVERSATION_IDS, CONVERSATIONS, COUNTERS, MESSAGES};
use crate::tables::{conversations, counters, indexes, messages};
use crate::verify::report::{Progress, VerifyReport};

/// The verification of one committed state.
struct Verifier<'a, F> {
    tables: &'a Tables,
    fingerprinter: &'a Fingerprinter,
    report: &'a mut VerifyReport,
    progress: &'a mut Progress<F>,
    /// The counters of all rows so far.
    counted: BTreeMap<CounterKey, CounterV1>,
}

/// Verifies rows, ids, indexes, messages and counters.
pub(crate) fn verify<F: FnMut(u64, u64)>(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    report: &mut VerifyReport,
    progress: &mut Progress<F>,
) -> Result<()> {
    let counted = BTreeMap::new();
    let mut verifier = Verifier { tables, fingerprinter, report, progress, counted };
    verifier.check_rows()?;
    verifier.check_ids()?;
    for leading in Field::ALL {
        verifier.check_index(leading)?;
    }
    verifier.check_messages()?;
    verifier.check_counters()
}

impl<F: FnMut(u64, u64)> Verifier<'_, F> {
    /// Each row decodes and has its user.
    fn check_rows(&mut self) -> Result<()> {
        let mut last_user = None;
        for entry in self.tables.conversations.rows.iter()? {
            let (key, record) = entry?;
            self.progress.tick();
            self.report.conversations += 1;
            if last_user != Some(key.user) {
                last_user = Some(key.user);
                if !self.tables.accounts.has_user(key.user)? {
                    self.row_finding("a row's user does not exist", key.user);
                }
            }
            match conversations::decode_row(key, record.value()) {
                Ok((row, texts)) => {
                    self.check_row(key, &row.conversation(texts), row.stored_messages())?;
                }
                Err(_) => self.row_finding("a record is damaged", key.user),
            }
        }
        Ok(())
    }

    /// A lookup finds the row; its id, assistant and entries exist; and its messages are counted and
    /// as many as were stored.
    fn check_row(
        &mut self,
        key: RowKey,
        row: &ConversationRef<'_>,
        stored: StoredMessages,
    ) -> Result<()> {
        let (tables, user) = (self.tables, key.user);
        if tables.conversations.rows.get(key)?.is_none() {
            self.row_finding("a row is not found by its key", user);
        }
        let position = tables.conversations.position(user, row.id);
        if self.report.found(position, user)? != Some(key.position) {
            let what = "a row's id does not lead to it";
            self.report.add_finding(CONVERSATION_IDS.name, what, user);
        }
        if !tables.accounts.has_assistant(user, row.assistant)? {
            self.row_finding("a row's assistant does not exist", user);
        }
        let last = tables.messages.last_found(key)?;
        if last > row.message_count {
            self.row_finding("a row counts too few messages", user);
        } else if !stored.allows(last) {
            let what = "a row has not as many messages as were stored";
            self.report.add_finding(MESSAGES.name, what, user);
        }
        let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
        for (leading, entry) in indexes::entries(key, &fingerprints) {
            if tables.indexes.get(leading).get(entry)?.is_none() {
                let table = schema::index(leading).name;
                self.report.add_finding(table, "a row's entry is missing", user);
            }
        }
        for counted in counters::keys(key, row) {
            let counter = self.counted.entry(counted).or_default();
            if counter.add(&CounterV1::of(row), 1).is_none() {
                self.report.add_finding(COUNTERS.name, "a sum leaves its range", user);
            }
        }
        self.check_values(row, user);
        Ok(())
    }

    /// Warns of values of a row that an update refuses.
    fn check_values(&mut self, row: &ConversationRef<'_>, user: UserId) {
        if row.updated_at < row.created_at {
            let what = "updated_at is before created_at";
            self.report.add_warning(CONVERSATIONS.name, what, user);
        }
        if row.total_cost < Cost::ZERO {
            self.report.add_warning(CONVERSATIONS.name, "total_cost is negative", user);
        }
    }

    /// Each id leads to a row with this id.
    fn check_ids(&mut self) -> Result<()> {
        for entry in self.tables.conversations.ids.iter()? {
            let (key, stored) = entry?;
            self.progress.tick();
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
            self.progress.tick();
            self.report.entries += 1;
            let row_key = RowKey::new(key.user, key.position);
            let Some(row) = self.row(row_key)? else {
                self.report.add_finding(table, "an entry leads to no row", key.user);
                continue;
            };
            let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
            let belongs = indexes::entries(row_key, &fingerprints).any(|own| own == (leading, key));
            if !belongs {
                self.report.add_finding(table, "an entry does not match its row", key.user);
            }
        }
        Ok(())
    }

    /// Each message decodes, is found by a lookup and has its row, and the numbers of a row have no
    /// gap.
    fn check_messages(&mut self) -> Result<()> {
        let mut before: Option<(RowKey, u32)> = None;
        for entry in self.tables.messages.table.iter()? {
            let (key, record) = entry?;
            self.progress.tick();
            self.report.messages += 1;
            let mut finding = |what| self.report.add_finding(MESSAGES.name, what, key.user);
            if messages::decode(key, record.value()).is_err() {
                finding("a record is damaged");
            }
            if self.tables.messages.table.get(key)?.is_none() {
                finding("a message is not found by its key");
            }
            let expected = match before {
                Some((row, number)) if row == key.row() => number.wrapping_add(1),
                _ => {
                    if self.tables.conversations.rows.get(key.row())?.is_none() {
                        finding("a message has no row");
                    }
                    1
                }
            };
            if key.number != expected {
                finding("a message is missing");
            }
            before = Some((key.row(), key.number));
        }
        Ok(())
    }

    /// The stored counters equal those counted from the rows.
    fn check_counters(&mut self) -> Result<()> {
        for entry in self.tables.counters.table.iter()? {
            let (key, record) = entry?;
            self.report.counters += 1;
            let mut finding = |what| self.report.add_finding(COUNTERS.name, what, key.user);
            match (counters::decode(key, record.value()), self.counted.remove(&key)) {
                (Err(_), _) => finding("a record is damaged"),
                (Ok(_), None) => finding("a counter has no rows"),
                (Ok(stored), Some(counted)) if stored != counted => finding("a counter is wrong"),
                (Ok(_), Some(_)) => {}
            }
            if self.tables.counters.table.get(key)?.is_none() {
                finding("a counter is not found by its key");
            }
        }
        for key in std::mem::take(&mut self.counted).into_keys() {
            self.report.add_finding(COUNTERS.name, "a counter is missing", key.user);
        }
        Ok(())
    }

    fn row_finding(&mut self, what: &'static str, user: UserId) {
        self.report.add_finding(CONVERSATIONS.name, what, user);
    }

    /// The row with this key, if it exists and is not damaged.
    fn row(&self, key: RowKey) -> Result<Option<Conversation>> {
        let found = self.tables.conversations.rows.get(key)?;
        Ok(found.and_then(|record| {
            conversations::decode(key, record.value()).ok().map(|row| row.owned())
        }))
    }
}
