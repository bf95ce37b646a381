//! The audit: each row has exactly its entries, each entry, id and message has its row, counters
//! add up, every record decodes under its checksum. Memory: the counters of the store, once.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata};

use crate::encoding::key::{FixedKey, RowKey, TotalKey, UuidKey};
use crate::encoding::record::TotalV1;
use crate::encoding::term::{Field, Fingerprinter};
use crate::error::Result;
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, UserId};
use crate::storage::tables::{Bytes, ReadTables};
use crate::storage::{accounts, index, messages, rows, schema, totals};

/// The most faults that are listed; all are counted.
const LISTED: usize = 100;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Conversations.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Index entries.
    pub entries: u64,
    /// Counters.
    pub counters: u64,
    /// The first faults, at most 100.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
}

/// Something that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The table, by its name on disk.
    pub table: &'static str,
    /// What does not hold.
    pub what: &'static str,
    /// Whose data it is.
    pub owner: UserId,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} (user {})", self.table, self.what, self.owner)
    }
}

impl Audit {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, table: &'static str, what: &'static str, owner: UserId) {
        self.fault_count += 1;
        if self.faults.len() < LISTED {
            self.faults.push(Fault { table, what, owner });
        }
    }
}

/// An audit in progress.
struct Auditor<'a, P> {
    tables: &'a ReadTables,
    fingerprinter: &'a Fingerprinter,
    audit: Audit,
    expected: BTreeMap<TotalKey, TotalV1>,
    progress: P,
    done: u64,
    of: u64,
}

pub(crate) fn verify(
    tables: &ReadTables,
    fingerprinter: &Fingerprinter,
    progress: impl FnMut(u64, u64),
) -> Result<Audit> {
    let mut of = tables.rows.len()? + tables.ids.len()? + tables.messages.len()?;
    for leading in Field::ALL {
        of += tables.index(leading).len()?;
    }
    let mut auditor = Auditor {
        tables,
        fingerprinter,
        audit: Audit::default(),
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
    auditor.check_totals()?;
    auditor.check_accounts()?;
    (auditor.progress)(of, of);
    Ok(auditor.audit)
}

impl<P: FnMut(u64, u64)> Auditor<'_, P> {
    fn tick(&mut self) {
        if self.done.is_multiple_of(4096) {
            (self.progress)(self.done, self.of);
        }
        self.done += 1;
    }

    /// Each row decodes, has its id, its assistant and its entries, and counts.
    fn check_rows(&mut self) -> Result<()> {
        const TABLE: &str = "conversations.v1";
        for entry in self.tables.rows.iter()? {
            let (key, record) = entry?;
            let key = key.value();
            self.tick();
            self.audit.conversations += 1;
            let Ok(row) = rows::decode(key, record.value()) else {
                self.audit.fault(TABLE, "a record is damaged", key.owner);
                continue;
            };
            if rows::find(&self.tables.ids, key.owner, row.id)? != Some(key.position) {
                self.audit.fault(
                    "conversation_ids.v1",
                    "a row's id does not lead to it",
                    key.owner,
                );
            }
            if self
                .tables
                .assistants
                .get(UuidKey { owner: key.owner, uuid: row.assistant.uuid() })?
                .is_none()
            {
                self.audit.fault(TABLE, "a row's assistant does not exist", key.owner);
            }
            let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
            for (leading, entry) in index::entries(key, &fingerprints) {
                if self.tables.index(leading).get(entry)?.is_none() {
                    let table = schema::INDEX_NAMES[leading as usize];
                    self.audit.fault(table, "a row's entry is missing", key.owner);
                }
            }
            let counter = self.expected.entry(totals::key(key, &row)).or_default();
            if counter.add(&TotalV1::of(&row), 1).is_none() {
                self.audit.fault("totals.v1", "a sum leaves its range", key.owner);
            }
        }
        Ok(())
    }

    /// Each id leads to a row of that id.
    fn check_ids(&mut self) -> Result<()> {
        for entry in self.tables.ids.iter()? {
            let (key, position) = entry?;
            let key = key.value();
            self.tick();
            let position = position.value().try_into().map(u64::from_be_bytes);
            let row = match position {
                Ok(bits) => self.row(RowKey::new(
                    key.owner,
                    crate::model::position::Position::from_bits(bits),
                ))?,
                Err(_) => None,
            };
            if row.is_none_or(|row| row.id.uuid() != key.uuid) {
                self.audit.fault("conversation_ids.v1", "an id leads to no row of it", key.owner);
            }
        }
        Ok(())
    }

    /// Each entry is one that its row has.
    fn check_index(&mut self, leading: Field) -> Result<()> {
        let table = schema::INDEX_NAMES[leading as usize];
        for entry in self.tables.index(leading).iter()? {
            let key = entry?.0.value();
            self.tick();
            self.audit.entries += 1;
            let row_key = RowKey::new(key.owner, key.position);
            let Some(row) = self.row(row_key)? else {
                self.audit.fault(table, "an entry leads to no row", key.owner);
                continue;
            };
            let fingerprints = self.fingerprinter.row(row.assistant, &row.channel);
            let belongs = index::entries(row_key, &fingerprints).any(|own| own == (leading, key));
            if !belongs {
                self.audit.fault(table, "an entry is not one that its row has", key.owner);
            }
        }
        Ok(())
    }

    /// Each message decodes and belongs to a row, and the numbers of a row have no gap.
    fn check_messages(&mut self) -> Result<()> {
        const TABLE: &str = "messages.v1";
        let mut before: Option<(RowKey, u32)> = None;
        for entry in self.tables.messages.iter()? {
            let (key, record) = entry?;
            let key = key.value();
            self.tick();
            self.audit.messages += 1;
            if messages::decode(key, record.value()).is_err() {
                self.audit.fault(TABLE, "a record is damaged", key.owner);
            }
            let expected = match before {
                Some((row, number)) if row == key.row() => number.wrapping_add(1),
                _ => {
                    if self.tables.rows.get(key.row())?.is_none() {
                        self.audit.fault(TABLE, "a message has no row", key.owner);
                    }
                    1
                }
            };
            if key.number != expected {
                self.audit.fault(TABLE, "a message is missing", key.owner);
            }
            before = Some((key.row(), key.number));
        }
        Ok(())
    }

    /// The counters are those of the rows.
    fn check_totals(&mut self) -> Result<()> {
        const TABLE: &str = "totals.v1";
        for entry in self.tables.totals.iter()? {
            let (key, record) = entry?;
            let key = key.value();
            self.audit.counters += 1;
            match (totals::decode(key, record.value()), self.expected.remove(&key)) {
                (Err(_), _) => self.audit.fault(TABLE, "a record is damaged", key.owner),
                (Ok(_), None) => self.audit.fault(TABLE, "a counter has no rows", key.owner),
                (Ok(stored), Some(counted)) if stored != counted => {
                    self.audit.fault(TABLE, "a counter is wrong", key.owner);
                }
                (Ok(_), Some(_)) => {}
            }
        }
        for key in std::mem::take(&mut self.expected).into_keys() {
            self.audit.fault(TABLE, "a counter is missing", key.owner);
        }
        Ok(())
    }

    /// Users, assistants and tokens decode, and the look-ups by name and number agree.
    fn check_accounts(&mut self) -> Result<()> {
        let tables = self.tables;
        for entry in tables.users.iter()? {
            let id = entry?.0.value();
            let named = match accounts::user(&tables.users, id) {
                Ok(Some(user)) => accounts::user_of_name(&tables.user_names, &user.name)?,
                Ok(None) | Err(_) => None,
            };
            if named != Some(id) {
                self.audit.fault("users.v1", "a record is damaged or its name is missing", id);
            }
        }
        for entry in tables.assistants.iter()? {
            let key = entry?.0.value();
            let (owner, id) = (key.owner, AssistantId::new(key.uuid));
            let numbered = match accounts::assistant(&tables.assistants, owner, id) {
                Ok(Some(assistant)) => accounts::assistant_of_number(
                    &tables.assistant_numbers,
                    owner,
                    assistant.number,
                )?,
                Ok(None) | Err(_) => None,
            };
            if numbered != Some(id) {
                let what = "a record is damaged or its number is missing";
                self.audit.fault("assistants.v1", what, owner);
            }
        }
        self.check_each_decodes(&tables.tokens)
    }

    fn check_each_decodes<K: FixedKey>(&mut self, table: &Bytes<K>) -> Result<()> {
        for entry in table.iter()? {
            let (key, record) = entry?;
            if crate::encoding::record::open(&key.value(), record.value()).is_err() {
                self.audit.fault("tokens.v1", "a record is damaged", UserId::new(0));
            }
        }
        Ok(())
    }

    /// The row of a key, if it is there and whole.
    fn row(&self, key: RowKey) -> Result<Option<Conversation>> {
        let found = self.tables.rows.get(key)?;
        Ok(found.and_then(|record| rows::decode(key, record.value()).ok().map(|row| row.owned())))
    }
}
