//! Bulk load: runs of rows, sorted for each table, so that every table is written in key order.
//!
//! A run is gathered up to a budget of memory, then loaded as one write; the next one is gathered
//! meanwhile, so the memory in use is at most about twice the budget. Each run is durable when it
//! is committed: an interrupted load keeps the runs before, and repeating it skips what is there.

use redb::ReadableTable;

use crate::encoding::key::{FixedKey, MessageKey, RowKey, UuidKey};
use crate::encoding::record;
use crate::error::{Error, Result};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, UserId};
use crate::model::message::Message;
use crate::storage::rows;
use crate::storage::sorted::insert_sorted;
use crate::store::Store;
use crate::transaction::{Transaction, check_history};
use crate::writer::Ticket;

/// What a row and a message take in memory beside their texts, index entries included.
const ROW_BYTES: usize = 900;
const MESSAGE_BYTES: usize = 120;

/// Loads many conversations at once. Made by [`Store::bulk_load`]; several times as fast as single
/// inserts, and to a smaller file.
pub struct BulkLoader {
    store: Store,
    budget_bytes: usize,
    run: Vec<BulkRow>,
    run_bytes: usize,
    in_flight: Option<Ticket<BulkReport>>,
    report: BulkReport,
}

/// What a bulk load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Conversations that are new.
    pub inserted: u64,
    /// Messages of the new conversations.
    pub messages: u64,
    /// Conversations whose id the user had; they were left as they are.
    pub present: u64,
}

struct BulkRow {
    user: UserId,
    conversation: Conversation,
    history: Vec<Message>,
}

impl Store {
    /// A bulk load with runs of about `budget_bytes` of memory; twice that is in use at most.
    #[must_use]
    pub fn bulk_load(&self, budget_bytes: usize) -> BulkLoader {
        BulkLoader {
            store: self.clone(),
            budget_bytes,
            run: Vec::new(),
            run_bytes: 0,
            in_flight: None,
            report: BulkReport::default(),
        }
    }
}

impl BulkLoader {
    /// Adds a conversation of the user's with its messages. Rows may come in any order; those of
    /// one millisecond keep it.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`] and [`Error::Invalid`] for this row, which is then left out;
    /// or what went wrong with a run before, after which the load cannot go on.
    pub fn push(
        &mut self,
        user: UserId,
        conversation: Conversation,
        history: Vec<Message>,
    ) -> Result<()> {
        check_history(&conversation, &history)?;
        self.require_assistant(user, conversation.assistant)?;
        self.run_bytes += row_bytes(&conversation, &history);
        self.run.push(BulkRow { user, conversation, history });
        if self.run_bytes > self.budget_bytes { self.load_run() } else { Ok(()) }
    }

    /// Loads what is left and tells what the whole load did. Without it, rows of the last run are
    /// not loaded.
    ///
    /// # Errors
    /// What went wrong with a run.
    pub fn finish(mut self) -> Result<BulkReport> {
        self.load_run()?;
        self.settle()?;
        Ok(self.report)
    }

    fn require_assistant(&self, user: UserId, id: AssistantId) -> Result<()> {
        // The row before often has the same one.
        let last = self.run.last().map(|row| (row.user, row.conversation.assistant));
        if last == Some((user, id)) || self.store.snapshot().assistant(user, id)?.is_some() {
            return Ok(());
        }
        Err(Error::AssistantNotFound)
    }

    fn load_run(&mut self) -> Result<()> {
        self.settle()?;
        let run = std::mem::take(&mut self.run);
        self.run_bytes = 0;
        self.in_flight = Some(self.store.submit(move |transaction| transaction.load(run))?);
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        let Some(ticket) = self.in_flight.take() else {
            return Ok(());
        };
        let done = ticket.wait()?;
        self.report.inserted += done.inserted;
        self.report.messages += done.messages;
        self.report.present += done.present;
        Ok(())
    }
}

/// About what a row takes until it is loaded.
fn row_bytes(conversation: &Conversation, history: &[Message]) -> usize {
    let variables = conversation.variables.as_ref().map_or(0, |v| v.as_str().len());
    let contents: usize = history
        .iter()
        .map(|m| MESSAGE_BYTES + m.content().len() + m.function_calls().map_or(0, str::len))
        .sum();
    ROW_BYTES + variables + contents
}

impl Transaction<'_> {
    /// Loads a run: drops what is there, gives positions, and writes each table in key order. It
    /// cannot be taken back, so nothing in it may fail but the store.
    fn load(&mut self, mut run: Vec<BulkRow>) -> Result<BulkReport> {
        let gathered = run.len();
        self.drop_present(&mut run)?;
        run.sort_by_key(|row| (row.user, row.conversation.created_at));
        let keys = self.positions(&run)?;
        let mut report = BulkReport {
            inserted: run.len() as u64,
            present: (gathered - run.len()) as u64,
            messages: 0,
        };

        self.load_rows(&keys, &run)?;
        self.load_ids(&keys, &run)?;
        self.load_messages(&keys, &run)?;
        for (key, row) in keys.iter().zip(&run) {
            let new = row.conversation.borrowed();
            let fingerprints = self.fingerprinter.row(new.assistant, &new.channel);
            self.indexes.apply(*key, None, Some(&fingerprints));
            self.totals.apply(*key, None, Some(&new));
            report.messages += row.history.len() as u64;
        }
        Ok(report)
    }

    fn load_rows(&mut self, keys: &[RowKey], run: &[BulkRow]) -> Result<()> {
        let mut records = Records::default();
        for (key, row) in keys.iter().zip(run) {
            let conversation = row.conversation.borrowed();
            records.push(*key, |bytes| record::encode_conversation(*key, &conversation, bytes));
        }
        insert_sorted(self.tables.rows.unjournaled(), records.iter())
    }

    fn load_ids(&mut self, keys: &[RowKey], run: &[BulkRow]) -> Result<()> {
        let mut ids: Vec<(UuidKey, [u8; 8])> = keys
            .iter()
            .zip(run)
            .map(|(key, row)| {
                let uuid = row.conversation.id.uuid();
                (UuidKey { owner: row.user, uuid }, key.position.bits().to_be_bytes())
            })
            .collect();
        ids.sort_unstable();
        let entries = ids.iter().map(|(key, position)| (*key, position.as_slice()));
        insert_sorted(self.tables.ids.unjournaled(), entries)
    }

    fn load_messages(&mut self, keys: &[RowKey], run: &[BulkRow]) -> Result<()> {
        let mut records = Records::default();
        for (key, row) in keys.iter().zip(run) {
            for (number, message) in (1..).zip(&row.history) {
                let key = MessageKey::new(*key, number);
                records.push(key, |bytes| record::encode_message(key, message, bytes));
            }
        }
        insert_sorted(self.tables.messages.unjournaled(), records.iter())
    }

    /// Drops the rows whose id the user has, in the store or earlier in the run. The others keep
    /// their order; ids are looked up in theirs.
    fn drop_present(&self, run: &mut Vec<BulkRow>) -> Result<()> {
        let mut by_id: Vec<(UuidKey, usize)> = run
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let uuid = row.conversation.id.uuid();
                (UuidKey { owner: row.user, uuid }, at)
            })
            .collect();
        by_id.sort_unstable();
        let mut present = vec![false; run.len()];
        let mut before = None;
        for (id, at) in by_id {
            present[at] = before == Some(id) || self.tables.ids.read().get(id)?.is_some();
            before = Some(id);
        }
        let mut present = present.into_iter();
        run.retain(|_| !present.next().unwrap_or(false));
        Ok(())
    }

    /// The keys of rows that are sorted by user and time of creation.
    fn positions(&self, run: &[BulkRow]) -> Result<Vec<RowKey>> {
        let mut keys: Vec<RowKey> = Vec::with_capacity(run.len());
        for (at, row) in run.iter().enumerate() {
            let created_at = row.conversation.created_at;
            let follows = at > 0 && {
                let before = &run[at - 1];
                (before.user, before.conversation.created_at) == (row.user, created_at)
            };
            let position = match keys.last() {
                Some(before) if follows => before.position.next(),
                _ => rows::free_position(self.tables.rows.read(), row.user, created_at)?,
            };
            keys.push(RowKey::new(row.user, position));
        }
        Ok(keys)
    }
}

/// The records of a run, in one buffer.
struct Records<K> {
    bytes: Vec<u8>,
    /// Each key with where its record ends; it begins where the one before ends.
    ends: Vec<(K, usize)>,
}

impl<K> Default for Records<K> {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }
}

impl<K: FixedKey> Records<K> {
    fn push(&mut self, key: K, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push((key, self.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (K, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(key, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            (*key, record)
        })
    }
}
