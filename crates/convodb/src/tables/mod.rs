//! All tables of a store as of one commit, opened once: a read view keeps them for as long as it is
//! current, so a page opens no table. The writer has its own, which it changes.

pub(crate) mod accounts;
pub(crate) mod change_feed;
pub(crate) mod conversations;
pub(crate) mod counters;
pub(crate) mod idempotency;
pub(crate) mod indexes;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod name_cache;
pub(crate) mod schema;
pub(crate) mod sequences;
pub(crate) mod state;

use std::sync::Arc;

use redb::{ReadTransaction, WriteTransaction};

use crate::encoding::index_term::Field;
use crate::encoding::key::{ChangeKey, DigestKey, IndexKey, MessageKey, NumberKey, RowKey};
use crate::encoding::key::{CounterKey, UuidKey};
use crate::error::Result;
use crate::kv::row_cache::{CachedRows, RowCache};
use crate::kv::table::{AnyTable, Extent, PendingWrites, Table};
use crate::metrics::MetricsRegistry;
use crate::model::id::UserId;
use crate::tables::name_cache::AssistantNameCache;

/// A table from a fixed-width key to bytes.
pub(crate) type Records<K> = Table<K, &'static [u8]>;
/// An index table: keys alone.
pub(crate) type Index = Table<IndexKey, ()>;

/// Every table of one committed state.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) rows: Records<RowKey>,
    pub(crate) ids: Records<UuidKey>,
    indexes: [Index; Field::ALL.len()],
    pub(crate) messages: Records<MessageKey>,
    pub(crate) counters: Records<CounterKey>,
    pub(crate) users: Records<UserId>,
    pub(crate) user_names: Records<DigestKey>,
    pub(crate) assistants: Records<UuidKey>,
    pub(crate) assistant_numbers: Records<NumberKey>,
    pub(crate) tokens: Records<DigestKey>,
    pub(crate) sequences: Records<NumberKey>,
    pub(crate) changes: Records<ChangeKey>,
    pub(crate) change_marks: Records<NumberKey>,
    pub(crate) idempotency: Records<UuidKey>,
    names: Arc<AssistantNameCache>,
    cache: Arc<RowCache>,
    metrics: Arc<MetricsRegistry>,
    /// How often what is stored changed since the store was opened.
    generation: u64,
}

/// How many tables there are.
const TABLES: usize = 18;
/// How many of them, the first, format 1 had.
const TABLES_OF_FORMAT_1: usize = 15;

/// Their names, in the order of [`Tables::layers`].
const NAMES: [&str; TABLES] = {
    let [kind, assistant, sender, customer, external] = schema::INDEX_NAMES;
    [
        schema::names::CONVERSATIONS,
        schema::names::CONVERSATION_IDS,
        kind,
        assistant,
        sender,
        customer,
        external,
        schema::names::MESSAGES,
        schema::names::COUNTERS,
        schema::names::USERS,
        schema::names::USER_NAMES,
        schema::names::ASSISTANTS,
        schema::names::ASSISTANT_NUMBERS,
        schema::names::TOKENS,
        schema::names::SEQUENCES,
        schema::names::CHANGES,
        schema::names::CHANGE_MARKS,
        schema::names::IDEMPOTENCY,
    ]
};

impl Tables {
    /// What is stored, with room for `cache_bytes` of rows that are read more than once.
    pub(crate) fn open(read: &ReadTransaction, cache_bytes: usize) -> Result<Self> {
        let index = |leading| Table::open(read, schema::index(leading));
        Ok(Self {
            rows: Table::open(read, schema::CONVERSATIONS)?,
            ids: Table::open(read, schema::CONVERSATION_IDS)?,
            indexes: [
                index(Field::Kind)?,
                index(Field::Assistant)?,
                index(Field::Sender)?,
                index(Field::Customer)?,
                index(Field::External)?,
            ],
            messages: Table::open(read, schema::MESSAGES)?,
            counters: Table::open(read, schema::COUNTERS)?,
            users: Table::open(read, schema::USERS)?,
            user_names: Table::open(read, schema::USER_NAMES)?,
            assistants: Table::open(read, schema::ASSISTANTS)?,
            assistant_numbers: Table::open(read, schema::ASSISTANT_NUMBERS)?,
            tokens: Table::open(read, schema::TOKENS)?,
            sequences: Table::open(read, schema::SEQUENCES)?,
            changes: Table::open(read, schema::CHANGES)?,
            change_marks: Table::open(read, schema::CHANGE_MARKS)?,
            idempotency: Table::open(read, schema::IDEMPOTENCY)?,
            names: Arc::default(),
            cache: Arc::new(RowCache::new(cache_bytes)),
            metrics: Arc::default(),
            generation: 0,
        })
    }

    /// Rows of this state that were read before. What the tail holds is newer.
    pub(crate) fn cached_rows(&self) -> CachedRows<'_> {
        self.cache.at(self.generation)
    }

    /// The same tables, counted on where others were.
    pub(crate) fn counted_by(self, metrics: Arc<MetricsRegistry>) -> Self {
        Self { metrics, ..self }
    }

    /// What the store counts.
    pub(crate) const fn metrics(&self) -> &Arc<MetricsRegistry> {
        &self.metrics
    }

    /// Names of assistants in this state that were read before.
    pub(crate) fn assistant_names(&self) -> &AssistantNameCache {
        &self.names
    }

    /// The index table that `leading` names.
    pub(crate) const fn index(&self, leading: Field) -> &Index {
        &self.indexes[leading as usize]
    }

    /// The index table that `leading` names, to change.
    pub(crate) const fn index_mut(&mut self, leading: Field) -> &mut Index {
        &mut self.indexes[leading as usize]
    }

    /// Each table, in the order that the log has them in: it is part of the format.
    fn layers(&mut self) -> [&mut dyn AnyTable; TABLES] {
        let [kind, assistant, sender, customer, external] = &mut self.indexes;
        [
            &mut self.rows,
            &mut self.ids,
            kind,
            assistant,
            sender,
            customer,
            external,
            &mut self.messages,
            &mut self.counters,
            &mut self.users,
            &mut self.user_names,
            &mut self.assistants,
            &mut self.assistant_numbers,
            &mut self.tokens,
            &mut self.sequences,
            &mut self.changes,
            &mut self.change_marks,
            &mut self.idempotency,
        ]
    }
}

/// What the writer does with all tables at once: see [`AnyTable`].
impl Tables {
    /// Whether the tail is empty.
    pub(crate) fn is_flushed(&mut self) -> bool {
        self.layers().iter().all(|table| table.is_flushed())
    }

    pub(crate) fn savepoint(&mut self) {
        self.layers().into_iter().for_each(AnyTable::savepoint);
    }

    pub(crate) fn rollback_to_savepoint(&mut self) {
        self.layers().into_iter().for_each(AnyTable::rollback_to_savepoint);
    }

    pub(crate) fn rollback(&mut self) {
        self.layers().into_iter().for_each(AnyTable::rollback);
    }

    pub(crate) fn pending(&mut self) -> PendingWrites {
        self.layers().into_iter().fold(PendingWrites::default(), |sum, table| {
            let PendingWrites { bytes, changes, removals } = table.pending();
            PendingWrites {
                bytes: sum.bytes + bytes,
                changes: sum.changes + changes,
                removals: sum.removals + removals,
            }
        })
    }

    pub(crate) fn encode(&mut self, out: &mut Vec<u8>) {
        self.layers().into_iter().for_each(|table| table.encode(out));
    }

    /// `None` for bytes that [`Tables::encode`] did not append.
    pub(crate) fn replay(&mut self, bytes: &[u8]) -> Option<()> {
        self.replay_first(TABLES, bytes)
    }

    /// The same for bytes that a version of format 1 appended.
    pub(crate) fn replay_format_1(&mut self, bytes: &[u8]) -> Option<()> {
        self.replay_first(TABLES_OF_FORMAT_1, bytes)
    }

    fn replay_first(&mut self, tables: usize, mut bytes: &[u8]) -> Option<()> {
        let mut layers = self.layers().into_iter().take(tables);
        layers.try_for_each(|table| table.replay(&mut bytes))?;
        bytes.is_empty().then_some(())
    }

    pub(crate) fn commit(&mut self) {
        if self.assistants.pending().changes > 0 {
            self.names = Arc::default();
        }
        self.layers().into_iter().for_each(AnyTable::commit);
    }

    pub(crate) fn begin_checkpoint(&mut self) {
        self.layers().into_iter().for_each(AnyTable::begin_checkpoint);
    }

    pub(crate) fn end_checkpoint(&mut self, read: &ReadTransaction) -> Result<()> {
        self.generation += 1;
        for key in self.rows.memtable_keys() {
            self.cache.change(key, self.generation);
        }
        self.layers().into_iter().try_for_each(|table| table.end_checkpoint(read))
    }

    pub(crate) fn flush(&mut self, write: &WriteTransaction) -> Result<()> {
        self.layers().into_iter().try_for_each(|table| table.flush(write))
    }
}

/// What is done with a committed state as a whole. Each takes a copy of the tables, which costs
/// nothing, because their list is the one of those that change.
impl Tables {
    /// Each table by name, and about how many entries it has.
    pub(crate) fn counts(mut self) -> Result<Vec<(&'static str, u64)>> {
        let named = NAMES.into_iter().zip(self.layers());
        named.map(|(name, table)| Ok((name, table.count()?))).collect()
    }

    /// Each table by name, and what its pages hold. Reads all of them.
    pub(crate) fn extents(mut self) -> Result<Vec<(&'static str, Extent)>> {
        let named = NAMES.into_iter().zip(self.layers());
        named.map(|(name, table)| Ok((name, table.measure()?))).collect()
    }

    /// Writes every table into another database, which has none; `seen` takes each entry, with
    /// its table, before it is written.
    pub(crate) fn copy(
        mut self,
        write: &WriteTransaction,
        mut seen: impl FnMut(&'static str, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        for (name, table) in NAMES.into_iter().zip(self.layers()) {
            table.copy(name, write, &mut |key, value| seen(name, key, value))?;
        }
        Ok(())
    }
}

/// What goes when a user does.
impl Tables {
    /// Removes entries of the user's, at most `limit` of each table that is not about accounts,
    /// and tells how many they were. What is left when that is none is [`Tables::remove_account`]'s.
    pub(crate) fn remove_owned(&mut self, user: UserId, limit: usize) -> Result<usize> {
        let named = NAMES.into_iter().zip(self.layers());
        let of_conversations = named.filter(|(name, _)| !schema::is_of_accounts(name));
        let removed = of_conversations.map(|(_, table)| table.remove_owned(user, limit));
        removed.sum()
    }

    /// Removes the user's account and assistants, and tells how many those were. Tokens and the
    /// look-up by name have keys that are no user's number, and are not among what is removed.
    pub(crate) fn remove_account(&mut self, user: UserId) -> Result<usize> {
        self.users.remove(user)?;
        self.sequences.remove_owned(user, usize::MAX)?;
        self.assistant_numbers.remove_owned(user, usize::MAX)?;
        self.assistants.remove_owned(user, usize::MAX)
    }
}
