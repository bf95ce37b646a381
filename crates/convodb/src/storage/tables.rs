//! All tables of one transaction, opened once. A read view keeps a [`ReadTables`] for as long as it
//! is current, so a page opens no table. [`Journaled`] lets one write of a group be taken back.

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use crate::encoding::key::{DigestKey, FixedKey, IndexKey, MessageKey, NumberKey, RowKey};
use crate::encoding::key::{TotalKey, UuidKey};
use crate::encoding::stored::Stored;
use crate::encoding::term::Field;
use crate::error::Result;
use crate::model::id::UserId;
use crate::storage::schema;

/// A read-only table from a fixed-width key to bytes.
pub(crate) type Bytes<K> = ReadOnlyTable<Stored<K>, &'static [u8]>;
/// A read-only index table.
pub(crate) type Index = ReadOnlyTable<Stored<IndexKey>, ()>;

/// Every table of one committed state.
pub(crate) struct ReadTables {
    pub(crate) rows: Bytes<RowKey>,
    pub(crate) ids: Bytes<UuidKey>,
    indexes: [Index; Field::ALL.len()],
    pub(crate) messages: Bytes<MessageKey>,
    pub(crate) totals: Bytes<TotalKey>,
    pub(crate) users: Bytes<UserId>,
    pub(crate) user_names: Bytes<DigestKey>,
    pub(crate) assistants: Bytes<UuidKey>,
    pub(crate) assistant_numbers: Bytes<NumberKey>,
    pub(crate) tokens: Bytes<DigestKey>,
    pub(crate) meta: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl ReadTables {
    pub(crate) fn open(read: &ReadTransaction) -> Result<Self> {
        let index = |leading| read.open_table(schema::index(leading));
        Ok(Self {
            rows: read.open_table(schema::CONVERSATIONS)?,
            ids: read.open_table(schema::CONVERSATION_IDS)?,
            indexes: [
                index(Field::Kind)?,
                index(Field::Assistant)?,
                index(Field::Sender)?,
                index(Field::Customer)?,
                index(Field::External)?,
            ],
            messages: read.open_table(schema::MESSAGES)?,
            totals: read.open_table(schema::TOTALS)?,
            users: read.open_table(schema::USERS)?,
            user_names: read.open_table(schema::USER_NAMES)?,
            assistants: read.open_table(schema::ASSISTANTS)?,
            assistant_numbers: read.open_table(schema::ASSISTANT_NUMBERS)?,
            tokens: read.open_table(schema::TOKENS)?,
            meta: read.open_table(schema::META)?,
        })
    }

    /// The index table that `leading` names.
    pub(crate) const fn index(&self, leading: Field) -> &Index {
        &self.indexes[leading as usize]
    }
}

/// The tables that a write reads and changes at once, and the counters, which it only reads: their
/// changes, like those of index tables, are gathered and written when the group is complete.
pub(crate) struct WriteTables<'txn> {
    pub(crate) rows: Journaled<'txn, RowKey>,
    pub(crate) ids: Journaled<'txn, UuidKey>,
    pub(crate) messages: Journaled<'txn, MessageKey>,
    pub(crate) totals: Journaled<'txn, TotalKey>,
    pub(crate) users: Journaled<'txn, UserId>,
    pub(crate) user_names: Journaled<'txn, DigestKey>,
    pub(crate) assistants: Journaled<'txn, UuidKey>,
    pub(crate) assistant_numbers: Journaled<'txn, NumberKey>,
    pub(crate) tokens: Journaled<'txn, DigestKey>,
}

impl<'txn> WriteTables<'txn> {
    pub(crate) fn open(write: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            rows: Journaled::open(write, schema::CONVERSATIONS)?,
            ids: Journaled::open(write, schema::CONVERSATION_IDS)?,
            messages: Journaled::open(write, schema::MESSAGES)?,
            totals: Journaled::open(write, schema::TOTALS)?,
            users: Journaled::open(write, schema::USERS)?,
            user_names: Journaled::open(write, schema::USER_NAMES)?,
            assistants: Journaled::open(write, schema::ASSISTANTS)?,
            assistant_numbers: Journaled::open(write, schema::ASSISTANT_NUMBERS)?,
            tokens: Journaled::open(write, schema::TOKENS)?,
        })
    }

    /// Keeps what was changed since the last call of this or of [`WriteTables::rollback`].
    pub(crate) fn keep(&mut self) {
        self.rows.undo.clear();
        self.ids.undo.clear();
        self.messages.undo.clear();
        self.users.undo.clear();
        self.user_names.undo.clear();
        self.assistants.undo.clear();
        self.assistant_numbers.undo.clear();
        self.tokens.undo.clear();
    }

    /// Takes back what was changed since the last call of this or of [`WriteTables::keep`].
    pub(crate) fn rollback(&mut self) -> Result<()> {
        self.rows.rollback()?;
        self.ids.rollback()?;
        self.messages.rollback()?;
        self.users.rollback()?;
        self.user_names.rollback()?;
        self.assistants.rollback()?;
        self.assistant_numbers.rollback()?;
        self.tokens.rollback()
    }
}

/// A table that remembers what each change replaced.
pub(crate) struct Journaled<'txn, K: FixedKey> {
    table: Table<'txn, Stored<K>, &'static [u8]>,
    undo: Vec<(K, Option<Vec<u8>>)>,
}

impl<'txn, K: FixedKey> Journaled<'txn, K> {
    fn open(
        write: &'txn WriteTransaction,
        definition: TableDefinition<'static, Stored<K>, &'static [u8]>,
    ) -> Result<Self> {
        Ok(Self { table: write.open_table(definition)?, undo: Vec::new() })
    }

    /// The table, to read from.
    pub(crate) fn read(&self) -> &impl ReadableTable<Stored<K>, &'static [u8]> {
        &self.table
    }

    /// The table, for a bulk load, which is never taken back.
    pub(crate) fn unjournaled(&mut self) -> &mut Table<'txn, Stored<K>, &'static [u8]> {
        &mut self.table
    }

    pub(crate) fn put(&mut self, key: K, value: &[u8]) -> Result<()> {
        let replaced = self.table.insert(key, value)?.map(|old| old.value().to_vec());
        self.undo.push((key, replaced));
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: K) -> Result<()> {
        let removed = self.table.remove(key)?.map(|old| old.value().to_vec());
        if removed.is_some() {
            self.undo.push((key, removed));
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<()> {
        while let Some((key, old)) = self.undo.pop() {
            match old {
                Some(value) => self.table.insert(key, value.as_slice())?,
                None => self.table.remove(key)?,
            };
        }
        Ok(())
    }
}
