//! Bulk writer: writes the staged conversations into every table in key order.
//!
//! One thread reads the staging in list order, assigns positions and encodes rows, messages and
//! changes; another writes them. Their ids and index entries are sorted meanwhile and written last,
//! on all processors.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use redb::{Table, WriteTransaction};

use crate::bulk_load::list_counting::ListCounting;
use crate::bulk_load::staging::{ArrivalSet, BulkOptions, Staging, duplicates, take_record};
use crate::encoding::index_term::Field;
use crate::encoding::key::{
    ActivityKey, ArrivalKey, ChangeKey, FixedKey, IndexKey, MessageKey, RowKey, UuidKey,
};
use crate::encoding::preview;
use crate::encoding::record::{self, Damage};
use crate::error::{Error, Result};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::catch_panic::call_user_code;
use crate::kv::external_sort::{ExternalSorter, SortedEntries};
use crate::kv::parallel;
use crate::kv::redb_key::RedbKey;
use crate::model::id::{AssistantId, UserId};
use crate::model::index_family::IndexFamily;
use crate::model::position::Position;
use crate::model::preview::{Excerpt, Preview};
use crate::model::quota::Quota;
use crate::model::timestamp::Timestamp;
use crate::rules::position_after;
use crate::tables::activity_index::Activity;
use crate::tables::counters::CounterDeltas;
use crate::tables::list_counters::ListCounts;
use crate::tables::quotas::{self, LoadedUsage, UsageChange};
use crate::tables::schema::{
    self, CHANGES, CONVERSATION_IDS, CONVERSATIONS, COUNTERS, INDEX_ACTIVITY, LIST_COUNTERS,
    MESSAGES, QUOTAS, SEQUENCES,
};
use crate::tables::state::CommittedState;
use crate::tables::{
    Tables, activity_index, change_feed, conversations, indexes, list_counters, messages, sequences,
};

/// The size of a batch of records in bytes. At most three are in memory: one is encoded, one waits,
/// one is written.
const BATCH_BYTES: usize = 4 << 20;
/// The number of rows from which on several threads work.
const PARALLEL_FROM: u64 = 10_000;

/// The result of a bulk load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BulkLoadReport {
    /// The number of loaded conversations.
    pub inserted: u64,
    /// The number of their messages.
    pub messages: u64,
    /// The number of conversations whose id the store has. The stored ones stay as they are.
    pub present: u64,
    /// The number of conversations whose id an earlier one of this load has. They are left out.
    pub repeated: u64,
}

/// Sorts the entries of the tables that are not in list order.
struct Entries {
    ids: ExternalSorter<UuidKey, [u8; 8]>,
    indexes: [ExternalSorter<IndexKey, ()>; Field::ALL.len()],
    activity: ExternalSorter<ActivityKey, ()>,
}

impl Entries {
    fn new(options: &BulkOptions) -> Self {
        let (budget, directory) = (options.budget_bytes / 16, &options.directory);
        Self {
            ids: ExternalSorter::new(budget, directory),
            indexes: Field::ALL.map(|_| ExternalSorter::new(budget, directory)),
            activity: ExternalSorter::new(budget, directory),
        }
    }

    /// Writes the entries of `arrivals` rows, and returns the counters of those lists that have
    /// counters only if they are long. redb takes tables of one transaction from several threads, so
    /// each processor sorts and writes one at a time.
    fn write(
        self,
        write: &WriteTransaction,
        tables_before: &Tables,
        arrivals: u64,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<ListCounts> {
        let indexes = Field::ALL.into_iter().zip(self.indexes);
        let indexes = indexes.map(|(leading, entries)| TableEntries::Index(leading, entries));
        let tables: Vec<_> = std::iter::once(TableEntries::Ids(self.ids))
            .chain(indexes)
            .chain([TableEntries::Activity(self.activity)])
            .map(|entries| Mutex::new(Some(entries)))
            .collect();
        let threads = match arrivals {
            0..PARALLEL_FROM => 1,
            _ => thread::available_parallelism().map_or(1, NonZero::get),
        };
        let mut written = 0;
        let write_table = |table: &Mutex<Option<TableEntries>>, tick: &mut dyn FnMut(u64)| {
            let entries = table.lock().unwrap_or_else(PoisonError::into_inner).take();
            let done = entries.map(|entries| entries.write(write, tables_before)).transpose();
            tick(1);
            done
        };
        let counts = parallel::run(&tables, threads, write_table, |ticks| {
            written += ticks;
            progress(arrivals + arrivals * written / tables.len() as u64, arrivals * 2);
        })?;
        let mut all = ListCounts::default();
        counts.into_iter().flatten().for_each(|counts| all.merge(counts));
        Ok(all)
    }
}

/// The entries of one table.
enum TableEntries {
    Ids(ExternalSorter<UuidKey, [u8; 8]>),
    Index(Field, ExternalSorter<IndexKey, ()>),
    Activity(ExternalSorter<ActivityKey, ()>),
}

impl TableEntries {
    fn write(self, write: &WriteTransaction, tables_before: &Tables) -> Result<ListCounts> {
        match self {
            TableEntries::Ids(ids) => {
                let mut table = CONVERSATION_IDS.open_for_write(write)?;
                bulk_insert(&mut table, ids.sorted()?, |position| position.as_slice())?;
            }
            TableEntries::Index(leading, entries) => {
                let mut table = schema::index(leading).open_for_write(write)?;
                let mut lists = ListCounting::new(tables_before, leading);
                let entries = entries.sorted()?.map(|entry| {
                    let (key, value) = entry?;
                    lists.add(key)?;
                    Ok((key, value))
                });
                bulk_insert(&mut table, entries, |_| ())?;
                return lists.finish();
            }
            TableEntries::Activity(entries) => {
                let mut table = INDEX_ACTIVITY.open_for_write(write)?;
                bulk_insert(&mut table, entries.sorted()?, |_| ())?;
            }
        }
        Ok(ListCounts::default())
    }
}

/// Writes the staged conversations on top of `state`, whose memtables must be empty.
pub(crate) fn load(
    write: &WriteTransaction,
    state: &CommittedState,
    staging: Staging,
    quota: Quota,
    mut progress: impl FnMut(u64, u64),
) -> Result<BulkLoadReport> {
    let mut progress = |done, total| call_user_code(|| progress(done, total));
    let Staging { options, arrivals, rows, ids } = staging;
    let (duplicates, repeated) = duplicates(ids, arrivals, &state.tables.conversations.ids)?;
    let encoder = Encoder {
        state,
        report: BulkLoadReport::default(),
        last: None,
        user_is_new: false,
        assistants: BTreeSet::new(),
        entries: Entries::new(&options),
        counters: CounterDeltas::default(),
        list_counts: ListCounts::default(),
        quota,
        usage: LoadedUsage::default(),
        record: Vec::new(),
        batch: Batch::default(),
        last_changes: BTreeMap::new(),
    };
    // Ids and index entries take about as long as rows, messages and changes.
    let total = arrivals * 2;
    let mut write_batch = |batch: &mut Batch| -> Result<()> {
        batch.write(write)?;
        progress(batch.arrivals, total);
        Ok(())
    };
    let rows = rows.sorted()?;
    let encoder = match arrivals {
        0..PARALLEL_FROM => encoder.encode_all(rows, &duplicates, |mut batch| {
            write_batch(&mut batch)?;
            Ok(batch)
        })?,
        _ => encode_beside(encoder, rows, &duplicates, write_batch)?,
    };
    let Encoder { mut report, entries, counters, mut list_counts, usage, last_changes, .. } =
        encoder;
    report.present -= repeated;
    report.repeated = repeated;
    // Close each table before opening the next: if redb panics over a damaged page, only one open
    // table is dropped.
    let numbers = last_changes
        .into_iter()
        .map(|(user, number)| Ok((sequences::changes(user), number.to_be_bytes())));
    bulk_insert(&mut SEQUENCES.open_for_write(write)?, numbers, |number| number.as_slice())?;
    let usage = usage.records().map(Ok);
    bulk_insert(&mut QUOTAS.open_for_write(write)?, usage, Vec::as_slice)?;
    let counters = counters.on_top_of(&state.tables.counters);
    bulk_insert(&mut COUNTERS.open_for_write(write)?, counters, Vec::as_slice)?;
    list_counts.merge(entries.write(write, &state.tables, arrivals, &mut progress)?);
    let list_counts = list_counts.on_top_of(&state.tables.list_counters);
    bulk_insert(&mut LIST_COUNTERS.open_for_write(write)?, list_counts, Vec::as_slice)?;
    progress(total, total);
    Ok(report)
}

/// Encodes all rows on a thread of its own, while the calling thread writes the batches.
///
/// # Errors
/// The error of a write, which ends the encoder at its next batch; that of the encoder; or
/// the system has no thread.
fn encode_beside<'a>(
    encoder: Encoder<'a>,
    rows: SortedEntries<ArrivalKey, Vec<u8>>,
    duplicates: &ArrivalSet,
    mut write_batch: impl FnMut(&mut Batch) -> Result<()>,
) -> Result<Encoder<'a>> {
    thread::scope(|scope| {
        let (encoded, batches) = mpsc::sync_channel(1);
        let (emptied, empty) = mpsc::channel();
        let builder = thread::Builder::new().name("convodb-worker".to_owned());
        let encoding = builder.spawn_scoped(scope, move || {
            encoder.encode_all(rows, duplicates, |batch| {
                // The receiver is gone only after an error of the writer, which is the one to return.
                encoded.send(batch).map_err(|_| Error::Closed)?;
                Ok(empty.try_recv().unwrap_or_default())
            })
        })?;
        let mut written = Ok(());
        for mut batch in &batches {
            written = write_batch(&mut batch);
            if written.is_err() {
                break;
            }
            let _ = emptied.send(batch);
        }
        drop(batches);
        let encoder = encoding.join().unwrap_or_else(|panic| resume_unwind(panic));
        written.and(encoder)
    })
}

/// Assigns positions and change numbers, encodes rows, messages and changes, and collects all
/// entries.
struct Encoder<'a> {
    /// The state before the load.
    state: &'a CommittedState,
    report: BulkLoadReport,
    /// The row written last.
    last: Option<RowKey>,
    /// Whether the user of the last row had no rows before the load, so that all positions are
    /// free.
    user_is_new: bool,
    /// Assistants of the last row's user that exist.
    assistants: BTreeSet<AssistantId>,
    entries: Entries,
    counters: CounterDeltas,
    /// The counters of those lists of the rows that have counters from the first row on.
    list_counts: ListCounts,
    /// The quota of users without one of their own.
    quota: Quota,
    usage: LoadedUsage,
    /// A buffer for the record of a row with its preview.
    record: Vec<u8>,
    /// Records that are not written yet.
    batch: Batch,
    /// The number of each user's last change.
    last_changes: BTreeMap<UserId, u64>,
}

impl Encoder<'_> {
    /// Adds all rows that are no duplicates. Passes each full batch to `emit`, which returns an empty
    /// one.
    fn encode_all(
        mut self,
        rows: SortedEntries<ArrivalKey, Vec<u8>>,
        duplicates: &ArrivalSet,
        mut emit: impl FnMut(Batch) -> Result<Batch>,
    ) -> Result<Self> {
        for entry in rows {
            let (key, bundle) = entry?;
            self.batch.arrivals += 1;
            if duplicates.contains(key.arrival) {
                self.report.present += 1;
            } else {
                self.add(key, &bundle)?;
            }
            if self.batch.bytes() > BATCH_BYTES {
                let arrivals = self.batch.arrivals;
                self.batch = emit(std::mem::take(&mut self.batch))?;
                self.batch.arrivals = arrivals;
            }
        }
        self.batch = emit(std::mem::take(&mut self.batch))?;
        Ok(self)
    }

    /// Adds the next row in list order with everything that belongs to it.
    fn add(&mut self, arrival: ArrivalKey, bundle: &[u8]) -> Result<()> {
        let first = RowKey::new(arrival.user, Position::first_at(arrival.created_at));
        let key = self.assign_position(first, arrival.created_at)?;
        self.last = Some(key);
        let mut bundle = bundle;
        let record = take_record(&mut bundle).ok_or(TRUNCATED).map_err(conversations::damaged)?;
        let body = record::open(&first, record).map_err(conversations::damaged)?;
        let row = body.conversation(key.position).map_err(conversations::damaged)?;
        self.require_assistant(key.user, row.assistant)?;

        let id = UuidKey { user: key.user, uuid: row.id.uuid() };
        let position = key.position.bits().to_be_bytes();
        self.entries.ids.push(id, position)?;
        let fingerprinter = self.state.fingerprinter();
        let all = fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
        if self.state.tables.families.counted_before().is_some_and(|before| key < before) {
            for list in list_counters::lists(&all).filter(|list| !list.may_be_short()) {
                self.list_counts.add(key.user, list.term, key.position, row.channel.kind());
            }
        }
        let fingerprints = self.state.tables.families.kept(all);
        for (leading, entry) in indexes::entries(key, &fingerprints) {
            self.entries.indexes[leading as usize].push(entry, ())?;
        }
        let activity = Activity { fingerprints: &fingerprints, at: row.updated_at };
        if self.state.tables.families.is_kept(IndexFamily::LastActivity) {
            for entry in activity_index::entries(key, activity) {
                self.entries.activity.push(entry, ())?;
            }
        }
        self.counters.add(key, &row)?;
        let bytes = quotas::bytes(RowKey::WIDTH + record.len());
        self.count_usage(key.user, UsageChange { conversations: 1, bytes })?;

        self.push_row(first, key, record, bundle)?;
        let change = ChangeKey { user: key.user, number: self.next_change(key.user)? };
        self.batch
            .changes
            .push(change, |bytes| change_feed::append_created(change, key, row.id, bytes));
        self.report.inserted += 1;
        let mut messages_bytes = 0;
        for number in 1.. {
            let Some(record) = take_record(&mut bundle) else { break };
            let (from, to) = (MessageKey::new(first, number), MessageKey::new(key, number));
            messages_bytes += MessageKey::WIDTH + record.len();
            self.batch.messages.push(to, |bytes| record::rekey(record, &from, &to, bytes));
            self.report.messages += 1;
        }
        self.count_usage(key.user, UsageChange::of_bytes(quotas::bytes(messages_bytes)))
    }

    /// Adds a row, which was staged as `first` with these messages.
    fn push_row(
        &mut self,
        first: RowKey,
        key: RowKey,
        staged: &[u8],
        mut messages: &[u8],
    ) -> Result<()> {
        if !self.state.tables.families.is_kept(IndexFamily::Previews) {
            self.batch.rows.push(key, |bytes| record::rekey(staged, &first, &key, bytes));
            return Ok(());
        }
        let records = std::iter::from_fn(|| take_record(&mut messages));
        let mut records = (1..).map(|number| MessageKey::new(first, number)).zip(records);
        let decoded = |(key, record)| messages::decode(key, record);
        let first_message = records.next().map(decoded).transpose()?;
        let last_message = records.last().map(decoded).transpose()?;
        self.record.clear();
        record::rekey(staged, &first, &key, &mut self.record);
        if let Some(first) = &first_message {
            let last = last_message.as_ref().unwrap_or(first);
            let preview = Preview { first: Excerpt::of(first), last: Excerpt::of(last) };
            preview::append(key, Some(&preview), &mut self.record);
        }
        self.batch.rows.push(key, |bytes| bytes.extend_from_slice(&self.record));
        Ok(())
    }

    /// The key of a row whose first possible key is `first`: the one after the last row, if that is
    /// of the same millisecond, otherwise the one after the stored rows of the millisecond.
    fn assign_position(&mut self, first: RowKey, created_at: Timestamp) -> Result<RowKey> {
        let user = first.user;
        let same_user = self.last.filter(|last| last.user == user);
        if let Some(last) = same_user.filter(|last| last.position >= first.position) {
            return Ok(RowKey::new(user, position_after(last.position)?));
        }
        if same_user.is_none() {
            // An erasure may have begun since the rows were staged.
            if !self.state.tables.accounts.has_user(user)? {
                return Err(Error::UserNotFound);
            }
            if self.state.tables.accounts.is_closed(user)? {
                return Err(Error::UserClosed);
            }
            self.user_is_new = !self.state.tables.any_position(user)?;
            self.assistants.clear();
        }
        if self.user_is_new {
            return Ok(first);
        }
        Ok(RowKey::new(user, self.state.tables.free_position(user, created_at)?))
    }

    /// An assistant may have been deleted since the rows were staged. A B-tree lookup for each one.
    fn require_assistant(&mut self, user: UserId, id: AssistantId) -> Result<()> {
        if self.assistants.contains(&id) {
            return Ok(());
        }
        if !self.state.tables.accounts.has_assistant(user, id)? {
            return Err(Error::AssistantNotFound);
        }
        self.assistants.insert(id);
        Ok(())
    }

    fn count_usage(&mut self, user: UserId, change: UsageChange) -> Result<()> {
        self.usage.count(&self.state.tables.quotas, user, change, self.quota)
    }

    /// Assigns the number of the user's next change.
    fn next_change(&mut self, user: UserId) -> Result<u64> {
        let last = match self.last_changes.entry(user) {
            Entry::Occupied(last) => last.into_mut(),
            Entry::Vacant(none) => none.insert(self.state.tables.sequences.last_change(user)?),
        };
        *last += 1;
        Ok(*last)
    }
}

const TRUNCATED: Damage = "a staged row is truncated";

/// Records of rows that follow each other in list order.
#[derive(Default)]
struct Batch {
    /// The number of arrivals up to the end of this batch.
    arrivals: u64,
    rows: Chunk<RowKey>,
    messages: Chunk<MessageKey>,
    changes: Chunk<ChangeKey>,
}

impl Batch {
    const fn bytes(&self) -> usize {
        self.rows.bytes.len() + self.messages.bytes.len() + self.changes.bytes.len()
    }

    /// Inserts the records into their tables and clears the batch.
    fn write(&mut self, write: &WriteTransaction) -> Result<()> {
        self.rows.write(&mut CONVERSATIONS.open_for_write(write)?)?;
        self.messages.write(&mut MESSAGES.open_for_write(write)?)?;
        self.changes.write(&mut CHANGES.open_for_write(write)?)
    }
}

/// Records in key order, in one buffer.
struct Chunk<K> {
    bytes: Vec<u8>,
    /// Each key, with the end of its record; the record starts at the end of the previous one.
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

    /// Inserts the records into `table` and clears the chunk.
    fn write(&mut self, table: &mut Table<'_, RedbKey<K>, &'static [u8]>) -> Result<()> {
        let mut start = 0;
        let records = self.ends.iter().map(|(key, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            Ok((*key, record))
        });
        bulk_insert(table, records, |record| record)?;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}
