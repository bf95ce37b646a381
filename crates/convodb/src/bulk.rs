//! Bulk load: everything is sorted first, so that every table is written once, in key order, to full
//! leaves. What does not fit into the budget of memory is sorted on disk.
//!
//! A load is one write: all of it is there when it is done, or none. It takes about as much
//! temporary disk as it has data, and holds the writer while it is written (not while it gathers).

use std::path::PathBuf;

use redb::{ReadableTable, ReadableTableMetadata, Table};

use crate::encoding::key::{
    ArrivalKey, FixedKey, IdArrivalKey, IndexKey, MessageKey, RowKey, UuidKey,
};
use crate::encoding::record::{self, Damage};
use crate::encoding::stored::Stored;
use crate::encoding::term::Field;
use crate::error::{Error, Result};
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, UserId};
use crate::model::message::Message;
use crate::model::position::Position;
use crate::storage::sorted::insert_sorted;
use crate::storage::sorter::{Sorted, Sorter};
use crate::storage::{index, rows, schema};
use crate::store::Store;
use crate::transaction::{Transaction, check_history};

/// How many bytes of records are written at a time: rows, then their messages.
const CHUNK_BYTES: usize = 8 << 20;

/// How a bulk load uses the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkOptions {
    /// Memory for sorting, in bytes; 256 MiB by default. What has no room is sorted on disk. Buffers
    /// grow by doubling, so at its peak a load may hold about twice as much.
    pub budget_bytes: usize,
    /// Where to sort on disk; the system's directory for temporary files by default.
    pub directory: PathBuf,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self { budget_bytes: 256 << 20, directory: std::env::temp_dir() }
    }
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

/// Loads many conversations at once. Made by [`Store::bulk_load`].
pub struct BulkLoader {
    store: Store,
    /// The assistant that was last found to exist.
    known: Option<(UserId, AssistantId)>,
    gathered: Gathered,
}

/// What was pushed, being sorted.
struct Gathered {
    options: BulkOptions,
    arrivals: u64,
    /// Conversations with their messages, in list order.
    rows: Sorter<ArrivalKey>,
    /// Their ids, to find the ones that are there.
    ids: Sorter<IdArrivalKey>,
}

impl Store {
    /// Begins a bulk load, for many times the rate of single inserts and a smaller file.
    #[must_use]
    pub fn bulk_load(&self, options: BulkOptions) -> BulkLoader {
        let gathered = Gathered {
            arrivals: 0,
            rows: Sorter::new(options.budget_bytes / 2, &options.directory),
            ids: Sorter::new(options.budget_bytes / 16, &options.directory),
            options,
        };
        BulkLoader { store: self.clone(), known: None, gathered }
    }
}

impl BulkLoader {
    /// Adds a conversation of the user's with its messages. Rows may come in any order; those of
    /// one millisecond keep it. Of several with one id the first counts.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`] and [`Error::Invalid`] for this row, which is then left out;
    /// or a fault of the disk that rows are sorted on.
    pub fn push(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        history: &[Message],
    ) -> Result<()> {
        check_history(conversation, history)?;
        self.require_assistant(user, conversation.assistant)?;
        self.gathered.push(user, conversation, history)
    }

    /// Loads what was pushed, and tells what that did. `progress` is told how many of how many
    /// entries are written, from the writer's thread.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn finish(self, progress: impl FnMut(u64, u64) + Send + 'static) -> Result<BulkReport> {
        let gathered = self.gathered;
        self.store.write_patiently(move |transaction| transaction.load(gathered, progress))
    }

    fn require_assistant(&mut self, user: UserId, id: AssistantId) -> Result<()> {
        if self.known == Some((user, id)) {
            return Ok(());
        }
        if self.store.snapshot().assistant(user, id)?.is_none() {
            return Err(Error::AssistantNotFound);
        }
        self.known = Some((user, id));
        Ok(())
    }
}

impl Gathered {
    fn push(
        &mut self,
        owner: UserId,
        conversation: &Conversation,
        history: &[Message],
    ) -> Result<()> {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let id = UuidKey { owner, uuid: conversation.id.uuid() };
        self.ids.push(IdArrivalKey { id, arrival }, |_| {})?;
        let created_at = conversation.created_at;
        let first = RowKey::new(owner, Position::first_at(created_at));
        self.rows.push(ArrivalKey { owner, created_at, arrival }, |parcel| {
            put_record(parcel, |bytes| {
                record::encode_conversation(first, &conversation.borrowed(), bytes);
            });
            for (number, message) in (1..).zip(history) {
                let key = MessageKey::new(first, number);
                put_record(parcel, |bytes| record::encode_message(key, message, bytes));
            }
        })
    }

    /// The arrivals whose id was there before, in the store or earlier in the load.
    fn present(&mut self, ids: &Table<'_, Stored<UuidKey>, &'static [u8]>) -> Result<Arrivals> {
        let mut present = Arrivals::none_of(self.arrivals);
        let unused = Sorter::new(0, &self.options.directory);
        let empty_store = ids.is_empty()?;
        let mut before = None;
        for entry in std::mem::replace(&mut self.ids, unused).sorted()? {
            let (IdArrivalKey { id, arrival }, _) = entry?;
            if before == Some(id) || (!empty_store && ids.get(id)?.is_some()) {
                present.add(arrival);
            }
            before = Some(id);
        }
        Ok(present)
    }
}

/// A set of arrivals: a bit each.
struct Arrivals(Vec<u64>);

impl Arrivals {
    fn none_of(count: u64) -> Self {
        Self(vec![0; usize::try_from(count.div_ceil(64)).unwrap_or(0)])
    }

    fn add(&mut self, arrival: u64) {
        if let Some(word) = usize::try_from(arrival / 64).ok().and_then(|at| self.0.get_mut(at)) {
            *word |= 1 << (arrival % 64);
        }
    }

    fn has(&self, arrival: u64) -> bool {
        let word = usize::try_from(arrival / 64).ok().and_then(|at| self.0.get(at));
        word.is_some_and(|word| word >> (arrival % 64) & 1 == 1)
    }
}

/// The entries of the tables that are not in list order, being sorted while rows are written.
struct Entries {
    ids: Sorter<UuidKey>,
    indexes: [Sorter<IndexKey>; Field::ALL.len()],
}

impl Entries {
    fn new(options: &BulkOptions) -> Self {
        let (budget, directory) = (options.budget_bytes / 16, &options.directory);
        Self {
            ids: Sorter::new(budget, directory),
            indexes: Field::ALL.map(|_| Sorter::new(budget, directory)),
        }
    }
}

impl Transaction<'_> {
    /// Loads what was gathered, table by table.
    fn load(
        &mut self,
        mut gathered: Gathered,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BulkReport> {
        self.go_past_journal()?;
        let present = gathered.present(self.tables.ids.unjournaled())?;
        let Gathered { options, arrivals, rows, .. } = gathered;
        let mut load = Load {
            report: BulkReport::default(),
            last: None,
            owner_is_new: false,
            entries: Entries::new(&options),
            rows: Chunk::default(),
            messages: Chunk::default(),
        };
        // A row's own writing, and that of its entries, which is about as much again.
        let of = arrivals * 2;
        for (done, entry) in (0..).zip(rows.sorted()?) {
            let (key, parcel) = entry?;
            if present.has(key.arrival) {
                load.report.present += 1;
            } else {
                load.row(self, key, &parcel)?;
            }
            if done % 4096 == 0 {
                progress(done, of);
            }
        }
        load.write_chunks(self)?;
        let Load { report, entries, .. } = load;
        let ids = entries.ids.sorted()?;
        insert_all(self.tables.ids.unjournaled(), ids)?;
        for (number, (leading, entries)) in (1..).zip(Field::ALL.into_iter().zip(entries.indexes)) {
            progress(arrivals + arrivals * number / (1 + Field::ALL.len() as u64), of);
            let mut table = self.write.open_table(schema::index(leading))?;
            insert_keys(&mut table, entries.sorted()?)?;
        }
        progress(of, of);
        Ok(report)
    }
}

/// A load in progress.
struct Load {
    report: BulkReport,
    last: Option<RowKey>,
    /// The owner of the last row had none before, so every position is free.
    owner_is_new: bool,
    entries: Entries,
    rows: Chunk<RowKey>,
    messages: Chunk<MessageKey>,
}

impl Load {
    /// Takes the next row in list order: gives it its position, and gathers all it needs.
    fn row(
        &mut self,
        transaction: &mut Transaction<'_>,
        arrived: ArrivalKey,
        parcel: &[u8],
    ) -> Result<()> {
        let first = RowKey::new(arrived.owner, Position::first_at(arrived.created_at));
        let key = match self.last {
            Some(last) if last.owner == first.owner && last.position >= first.position => {
                RowKey::new(last.owner, rows::position_after(last.position)?)
            }
            _ => {
                let stored = transaction.tables.rows.read();
                if self.last.is_none_or(|last| last.owner != first.owner) {
                    self.owner_is_new = !rows::any(stored, first.owner)?;
                }
                match self.owner_is_new {
                    true => first,
                    false => {
                        let at = arrived.created_at;
                        RowKey::new(first.owner, rows::free_position(stored, first.owner, at)?)
                    }
                }
            }
        };
        self.last = Some(key);
        let mut parcel = parcel;
        let record = take_record(&mut parcel).ok_or(ENDS_EARLY).map_err(rows::damaged)?;
        let body = record::open(&first, record).map_err(rows::damaged)?;
        let row = body.conversation(key.position).map_err(rows::damaged)?;

        let id = UuidKey { owner: key.owner, uuid: row.id.uuid() };
        let position = key.position.bits().to_be_bytes();
        self.entries.ids.push(id, |bytes| bytes.extend(position))?;
        let fingerprints = transaction.fingerprinter.row(row.assistant, &row.channel);
        for (leading, entry) in index::entries(key, &fingerprints) {
            self.entries.indexes[leading as usize].push(entry, |_| {})?;
        }
        transaction.totals.apply(transaction.tables.totals.read(), key, None, Some(&row))?;

        self.rows.push(key, |bytes| record::rekey(record, &first, &key, bytes));
        self.report.inserted += 1;
        for number in 1.. {
            let Some(record) = take_record(&mut parcel) else { break };
            let (from, to) = (MessageKey::new(first, number), MessageKey::new(key, number));
            self.messages.push(to, |bytes| record::rekey(record, &from, &to, bytes));
            self.report.messages += 1;
        }
        if self.rows.bytes.len() + self.messages.bytes.len() > CHUNK_BYTES {
            self.write_chunks(transaction)?;
        }
        Ok(())
    }

    fn write_chunks(&mut self, transaction: &mut Transaction<'_>) -> Result<()> {
        self.rows.write(transaction.tables.rows.unjournaled())?;
        self.messages.write(transaction.tables.messages.unjournaled())?;
        transaction.totals.merge()
    }
}

const ENDS_EARLY: Damage = "a gathered row ends early";

/// Appends a record with its length before it.
fn put_record(parcel: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = parcel.len();
    parcel.extend([0; size_of::<u32>()]);
    write(parcel);
    // Limits on texts keep a record far below 4 GiB.
    let length = u32::try_from(parcel.len() - start - size_of::<u32>()).unwrap_or(u32::MAX);
    parcel[start..start + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
}

/// The next record of a parcel, which then begins after it; none at its end.
fn take_record<'a>(parcel: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = parcel.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    *parcel = rest;
    Some(record)
}

/// Records in key order, in one buffer.
struct Chunk<K> {
    bytes: Vec<u8>,
    /// Each key with where its record ends; it begins where the one before ends.
    ends: Vec<(K, usize)>,
}

impl<K> Default for Chunk<K> {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }
}

impl<K: FixedKey> Chunk<K> {
    fn push(&mut self, key: K, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((key, self.bytes.len()));
    }

    /// Inserts the records, and forgets them.
    fn write(&mut self, table: &mut Table<'_, Stored<K>, &'static [u8]>) -> Result<()> {
        let mut start = 0;
        let records = self.ends.iter().map(|(key, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            Ok((*key, record))
        });
        insert_sorted(table, records, |record| record)?;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}

fn insert_all<K: FixedKey + Ord>(
    table: &mut Table<'_, Stored<K>, &'static [u8]>,
    entries: Sorted<K>,
) -> Result<()> {
    insert_sorted(table, entries, Vec::as_slice)
}

fn insert_keys<K: FixedKey + Ord>(
    table: &mut Table<'_, Stored<K>, ()>,
    entries: Sorted<K>,
) -> Result<()> {
    insert_sorted(table, entries, |_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{RawStore, id, whatsapp_row};

    /// The place of a deleted row is taken again, and with it the very entries whose removal is
    /// still gathered.
    #[test]
    fn a_load_after_a_delete_in_one_group_keeps_its_entries() {
        let store = RawStore::with_rows();
        let user = store.user;
        let report = store.transact(|transaction| {
            transaction.delete(user, id(3))?;
            transaction.keep();
            let options = BulkOptions::default();
            let mut gathered = Gathered {
                arrivals: 0,
                rows: Sorter::new(options.budget_bytes, &options.directory),
                ids: Sorter::new(options.budget_bytes, &options.directory),
                options,
            };
            gathered.push(user, &whatsapp_row(3, "+2"), &[])?;
            gathered.push(user, &whatsapp_row(2, "+9"), &[])?;
            transaction.load(gathered, |_, _| {})
        });
        assert_eq!(report, BulkReport { inserted: 1, messages: 0, present: 1 });
        let audit = store.audit();
        assert!(audit.is_clean(), "{:?}", audit.faults);
    }
}
