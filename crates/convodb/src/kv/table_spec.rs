//! Table declaration: the name of a table on disk, its types, and how it is opened.

use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction, TableDefinition, WriteTransaction};

use crate::encoding::key::FixedKey;
use crate::error::{Error, Result, from_redb};
use crate::kv::redb_key::{LocatedKey, RedbKey};
use crate::kv::value::TableValue;

/// The declaration of a table: its name on disk, its types, and whether its values are records.
pub(crate) struct TableSpec<K: FixedKey, V: TableValue> {
    pub(crate) name: &'static str,
    /// Whether its values are records, each with a checksum.
    pub(super) checksummed: bool,
    definition: TableDefinition<'static, RedbKey<K>, V>,
}

impl<K: FixedKey, V: TableValue> TableSpec<K, V> {
    /// A table whose values are records.
    pub(crate) const fn records(name: &'static str) -> Self {
        Self { name, checksummed: true, definition: TableDefinition::new(name) }
    }

    /// A table whose values have no checksum.
    pub(crate) const fn plain(name: &'static str) -> Self {
        Self { name, checksummed: false, definition: TableDefinition::new(name) }
    }

    /// Opens the redb table for writing. Creates it if it does not exist.
    pub(crate) fn open_for_write<'txn>(
        &self,
        write: &'txn WriteTransaction,
    ) -> Result<redb::Table<'txn, RedbKey<K>, V>> {
        write.open_table(self.definition).map_err(from_redb)
    }

    /// Opens the redb table for reading, with keys and with located keys.
    pub(super) fn open(&self, read: &ReadTransaction) -> Result<StoredTable<K, V>> {
        let located = TableDefinition::new(self.name);
        let stored = read.open_table(self.definition).map_err(from_redb)?;
        Ok((Arc::new(stored), Arc::new(read.open_table(located).map_err(from_redb)?)))
    }

    /// [`Error::Corrupted`] for an entry of this table.
    pub(crate) const fn corrupted(&self, what: &'static str) -> Error {
        Error::Corrupted { table: self.name, what }
    }
}

/// A redb table, opened with keys and with located keys.
pub(super) type StoredTable<K, V> =
    (Arc<ReadOnlyTable<RedbKey<K>, V>>, Arc<ReadOnlyTable<LocatedKey<K>, V>>);

impl<K: FixedKey, V: TableValue> Clone for TableSpec<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: FixedKey, V: TableValue> Copy for TableSpec<K, V> {}
