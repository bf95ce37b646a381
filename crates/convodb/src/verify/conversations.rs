//! The audit: each row has exactly its entries, each entry, id and message has its row, counters
//! add up, no change is missing in a feed, and whatever is found by walking a table is also found by looking it up. Memory: the
//! counters of the store, once.

use std::collections::BTreeMap;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::{CounterKey, RowKey};
use crate::encoding::record::CounterV1;
use crate::error::{Error, Result};
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::tables::Tables;
use crate::tables::schema::{self, names};
use crate::tables::{accounts, conversations, counters, indexes, messages};
use crate::verify;
use crate::verify::report::VerifyReport;

/// An audit in progress.
struct Verifier<'a, P> {
    tables: &'a Tables,
    fingerprinter: &'a Fingerprinter,
    report: VerifyReport,
    expected: BTreeMap<CounterKey, CounterV1>,
    progress: P,
    done: u64,
    of: u64,
}

/// Audits a committed state. `progress` is told about how many of how many entries are checked.
pub(crate) fn verify(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    progress: impl FnMut(u64, u64),
) -> Result<VerifyReport> {
    let mut of = tables.rows.estimate()? + tables.ids.estimate()? + tables.messages.estimate()?;
    of += tables.changes.estimate()? + tables.idempotency.estimate()?;
    for leading in Field::ALL {
        of += tables.index(leading).estimate()?;
    }
    let mut auditor = Verifier {
        tables,
        fingerprinter,
        report: VerifyReport::default(),
        expected: BTreeMap::new(),
        progress,
        done: 0,
        of,
    };
    auditor.check_rows()?;
    auditor.check_ids()?;
    for leading in Field::ALL {
        auditor.check_index(leading)?;
    }
    auditor.check_messages()?;
    auditor.check_counters()?;
    auditor.check_feed()?;
    verify::accounts::verify(tables, &mut auditor.report)?;
    (auditor.progress)(of, of);
    Ok(auditor.report)
}

impl<P: FnMut(u64, u64)> Verifier<'_, P> {
    fn tick(&mut self) {
        if self.done.is_multiple_of(4096) {
            (self.progress)(self.done, self.of);
        }
        self.done += 1;
    }

    /// Each row decodes.
    fn check_rows(&mut self) -> Result<()> {
        let mut user_exists = (UserId::new(0), false);
        for entry in self.tables.rows.iter()? {
            let (key, record) = entry?;
            self.tick();
            self.report.conversations += 1;
            if user_exists.0 != key.user {
                user_exists = (key.user, self.tables.users.get(key.user)?.is_some());
                if !user_exists.1 {
                    self.report.fault(
                        names::CONVERSATIONS,
                        "a row's user does not exist",
                        key.user,
                    );
                }
            }
            match conversations::decode(key, record.value()) {
                Ok(row) => self.check_row(key, &row)?,
                Err(_) => self.report.fault(names::CONVERSATIONS, "a record is damaged", key.user),
            }
        }
        Ok(())
    }

    /// A row is found, has its id, its assistant and its entries, and counts.
    fn check_row(&mut self, key: RowKey, row: &ConversationRef<'_>) -> Result<()> {
        let (tables, user) = (self.tables, key.user);
        if tables.rows.get(key)?.is_none() {
            self.report.fault(names::CONVERSATIONS, "a row is not found by its key", user);
        }
        let position = conversations::find(&tables.ids, user, row.id);
        if self.report.found(position, user)? != Some(key.position) {
            self.report.fault(names::CONVERSATION_IDS, "a row's id does not lead to it", user);
        }
        if !accounts::has_assistant(&tables.assistants, user, row.assistant)? {
            self.report.fault(names::CONVERSATIONS, "a row's assistant does not exist", user);
        }
        if messages::last_number(&tables.messages, key)? > row.message_count {
            self.report.fault(names::CONVERSATIONS, "a row counts too few messages", user);
        }
        let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
        for (leading, entry) in indexes::entries(key, &fingerprints) {
            if tables.index(leading).get(entry)?.is_none() {
                let table = schema::INDEX_NAMES[leading as usize];
                self.report.fault(table, "a row's entry is missing", user);
            }
        }
        for counted in counters::keys(key, row) {
            let counter = self.expected.entry(counted).or_default();
            if counter.add(&CounterV1::of(row), 1).is_none() {
                self.report.fault(names::COUNTERS, "a sum leaves its range", user);
            }
        }
        Ok(())
    }

    /// Each id leads to a row of that id.
    fn check_ids(&mut self) -> Result<()> {
        for entry in self.tables.ids.iter()? {
            let (key, position) = entry?;
            self.tick();
            let row = match position.value().try_into() {
                Ok(bits) => {
                    let position = Position::from_bits(u64::from_be_bytes(bits));
                    self.row(RowKey::new(key.user, position))?
                }
                Err(_) => None,
            };
            if row.is_none_or(|row| row.id.uuid() != key.uuid) {
                let what = "an id leads to no row of it";
                self.report.fault(names::CONVERSATION_IDS, what, key.user);
            }
        }
        Ok(())
    }

    /// Each entry is one that its row has.
    fn check_index(&mut self, leading: Field) -> Result<()> {
        let table = schema::INDEX_NAMES[leading as usize];
        for entry in self.tables.index(leading).iter()? {
            let (key, _) = entry?;
            self.tick();
            self.report.entries += 1;
            let row_key = RowKey::new(key.user, key.position);
            let Some(row) = self.row(row_key)? else {
                self.report.fault(table, "an entry leads to no row", key.user);
                continue;
            };
            let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
            let belongs = indexes::entries(row_key, &fingerprints).any(|own| own == (leading, key));
            if !belongs {
                self.report.fault(table, "an entry is not one that its row has", key.user);
            }
        }
        Ok(())
    }

    /// Each message decodes, is found and belongs to a row, and the numbers of a row have no gap.
    fn check_messages(&mut self) -> Result<()> {
        let mut before: Option<(RowKey, u32)> = None;
        for entry in self.tables.messages.iter()? {
            let (key, record) = entry?;
            self.tick();
            self.report.messages += 1;
            let mut fault = |what| self.report.fault(names::MESSAGES, what, key.user);
            if messages::decode(key, record.value()).is_err() {
                fault("a record is damaged");
            }
            if self.tables.messages.get(key)?.is_none() {
                fault("a message is not found by its key");
            }
            let expected = match before {
                Some((row, number)) if row == key.row() => number.wrapping_add(1),
                _ => {
                    if self.tables.rows.get(key.row())?.is_none() {
                        fault("a message has no row");
                    }
                    1
                }
            };
            if key.number != expected {
                fault("a message is missing");
            }
            before = Some((key.row(), key.number));
        }
        Ok(())
    }

    /// The counters are those of the rows.
    fn check_counters(&mut self) -> Result<()> {
        for entry in self.tables.counters.iter()? {
            let (key, record) = entry?;
            self.report.counters += 1;
            let mut fault = |what| self.report.fault(names::COUNTERS, what, key.user);
            match (counters::decode(key, record.value()), self.expected.remove(&key)) {
                (Err(_), _) => fault("a record is damaged"),
                (Ok(_), None) => fault("a counter has no rows"),
                (Ok(stored), Some(counted)) if stored != counted => fault("a counter is wrong"),
                (Ok(_), Some(_)) => {}
            }
            if self.tables.counters.get(key)?.is_none() {
                fault("a counter is not found by its key");
            }
        }
        for key in std::mem::take(&mut self.expected).into_keys() {
            self.report.fault(names::COUNTERS, "a counter is missing", key.user);
        }
        Ok(())
    }

    fn check_feed(&mut self) -> Result<()> {
        let Self { tables, report, progress, done, of, .. } = self;
        verify::change_feed::verify(tables, report, || {
            *done += 1;
            if done.is_multiple_of(4096) {
                progress(*done, *of);
            }
        })
    }

    /// The row of a key, if it is there and whole.
    fn row(&self, key: RowKey) -> Result<Option<Conversation>, Error> {
        let found = self.tables.rows.get(key)?;
        Ok(found.and_then(|record| {
            conversations::decode(key, record.value()).ok().map(|row| row.owned())
        }))
    }
}
