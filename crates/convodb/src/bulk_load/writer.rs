//! Writing what a bulk load has gathered: rows, messages and changes in list order as they come, ids
//! and index entries once they are sorted, each table from its first key to its last.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use redb::{Table, WriteTransaction};

use crate::bulk_load::staging::{BulkOptions, Staging, present, take_record};
use crate::encoding::index_term::Field;
use crate::encoding::key::{
    ArrivalKey, ChangeKey, FixedKey, IndexKey, MessageKey, RowKey, UuidKey,
};
use crate::encoding::record::{self, Damage};
use crate::error::{Result, from_redb};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::catch_panic::call_user_code;
use crate::kv::external_sort::ExternalSorter;
use crate::kv::redb_key::RedbKey;
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::tables::counters::CounterDeltas;
use crate::tables::state::CommittedState;
use crate::tables::{change_feed, conversations, indexes, schema, sequences};

/// How many bytes of records are written at a time: rows, then their messages.
const CHUNK_BYTES: usize = 8 << 20;

/// What a bulk load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkLoadReport {
    /// Conversations that are new.
    pub inserted: u64,
    /// Messages of the new conversations.
    pub messages: u64,
    /// Conversations whose id the user had; they were left as they are.
    pub present: u64,
    /// Conversations whose id an earlier one of the load has; they were left out.
    pub repeated: u64,
}

/// The entries of the tables that are not in list order, being sorted while rows are written.
struct Entries {
    ids: ExternalSorter<UuidKey>,
    indexes: [ExternalSorter<IndexKey>; Field::ALL.len()],
}

impl Entries {
    fn new(options: &BulkOptions) -> Self {
        let (budget, directory) = (options.budget_bytes / 16, &options.directory);
        Self {
            ids: ExternalSorter::new(budget, directory),
            indexes: Field::ALL.map(|_| ExternalSorter::new(budget, directory)),
        }
    }
}

/// Loads what was gathered, table by table, on top of `view`, which must have no tail.
pub(crate) fn load(
    write: &WriteTransaction,
    state: &CommittedState,
    staging: Staging,
    mut progress: impl FnMut(u64, u64),
) -> Result<BulkLoadReport> {
    let mut progress = |done, of| call_user_code(|| progress(done, of));
    let Staging { options, arrivals, rows, ids } = staging;
    let (present, repeated) = present(ids, arrivals, &state.tables.ids)?;
    let mut load = BulkWriter {
        state,
        report: BulkLoadReport::default(),
        last: None,
        user_is_new: false,
        entries: Entries::new(&options),
        counters: CounterDeltas::default(),
        rows: Chunk::default(),
        messages: Chunk::default(),
        changes: Chunk::default(),
        last_changes: BTreeMap::new(),
    };
    // A row's own writing, and that of its entries, which is about as much again.
    let of = arrivals * 2;
    for (done, entry) in (0..).zip(rows.sorted()?) {
        let (key, bundle) = entry?;
        if present.has(key.arrival) {
            load.report.present += 1;
        } else {
            load.row(write, key, &bundle)?;
        }
        if done % 4096 == 0 {
            progress(done, of);
        }
    }
    load.report.present -= repeated;
    load.report.repeated = repeated;
    load.write_chunks(write)?;
    let BulkWriter { report, entries, counters, last_changes, .. } = load;
    // Each table is closed before the next is opened: redb may panic over either.
    let numbers = last_changes
        .into_iter()
        .map(|(user, number)| Ok((sequences::changes(user), number.to_be_bytes())));
    bulk_insert(&mut write.open_table(schema::SEQUENCES).map_err(from_redb)?, numbers, |number| {
        number.as_slice()
    })?;
    let counters = counters.on_top_of(&state.tables.counters);
    bulk_insert(
        &mut write.open_table(schema::COUNTERS).map_err(from_redb)?,
        counters,
        Vec::as_slice,
    )?;
    let ids = entries.ids.sorted()?;
    bulk_insert(
        &mut write.open_table(schema::CONVERSATION_IDS).map_err(from_redb)?,
        ids,
        Vec::as_slice,
    )?;
    for (number, (leading, entries)) in (1..).zip(Field::ALL.into_iter().zip(entries.indexes)) {
        progress(arrivals + arrivals * number / (1 + Field::ALL.len() as u64), of);
        let mut table = write.open_table(schema::index(leading)).map_err(from_redb)?;
        bulk_insert(&mut table, entries.sorted()?, |_| ())?;
    }
    progress(of, of);
    Ok(report)
}

/// A load in progress.
struct BulkWriter<'a> {
    /// What was there before.
    state: &'a CommittedState,
    report: BulkLoadReport,
    last: Option<RowKey>,
    /// The user of the last row had none before, so every position is free.
    user_is_new: bool,
    entries: Entries,
    counters: CounterDeltas,
    rows: Chunk<RowKey>,
    messages: Chunk<MessageKey>,
    changes: Chunk<ChangeKey>,
    /// The number of each user's last change.
    last_changes: BTreeMap<UserId, u64>,
}

impl BulkWriter<'_> {
    /// Takes the next row in list order: gives it its position, and gathers all it needs.
    fn row(&mut self, write: &WriteTransaction, arrived: ArrivalKey, bundle: &[u8]) -> Result<()> {
        let first = RowKey::new(arrived.user, Position::first_at(arrived.created_at));
        let key = self.place(first, arrived.created_at)?;
        self.last = Some(key);
        let mut bundle = bundle;
        let record = take_record(&mut bundle).ok_or(ENDS_EARLY).map_err(conversations::damaged)?;
        let body = record::open(&first, record).map_err(conversations::damaged)?;
        let row = body.conversation(key.position).map_err(conversations::damaged)?;

        let id = UuidKey { user: key.user, uuid: row.id.uuid() };
        let position = key.position.bits().to_be_bytes();
        self.entries.ids.push(id, |bytes| bytes.extend(position))?;
        let fingerprints = self.state.fingerprinter().row(row.assistant, &row.channel);
        for (leading, entry) in indexes::entries(key, &fingerprints) {
            self.entries.indexes[leading as usize].push(entry, |_| {})?;
        }
        self.counters.add(key, &row)?;

        self.rows.push(key, |bytes| record::rekey(record, &first, &key, bytes));
        let change = ChangeKey { user: key.user, number: self.next_change(key.user)? };
        self.changes.push(change, |bytes| change_feed::append_created(change, key, row.id, bytes));
        self.report.inserted += 1;
        for number in 1.. {
            let Some(record) = take_record(&mut bundle) else { break };
            let (from, to) = (MessageKey::new(first, number), MessageKey::new(key, number));
            self.messages.push(to, |bytes| record::rekey(record, &from, &to, bytes));
            self.report.messages += 1;
        }
        if self.rows.bytes.len() + self.messages.bytes.len() + self.changes.bytes.len()
            > CHUNK_BYTES
        {
            self.write_chunks(write)?;
        }
        Ok(())
    }

    /// Where a row stands that wants to be at `first`: after the one before it, if that is of the
    /// same millisecond, else where the rows that were there before leave room.
    fn place(&mut self, first: RowKey, created_at: Timestamp) -> Result<RowKey> {
        let user = first.user;
        let same_user = self.last.filter(|last| last.user == user);
        if let Some(last) = same_user.filter(|last| last.position >= first.position) {
            return Ok(RowKey::new(user, conversations::position_after(last.position)?));
        }
        let stored = &self.state.tables.rows;
        if same_user.is_none() {
            self.user_is_new = !conversations::any(stored, user)?;
        }
        match self.user_is_new {
            true => Ok(first),
            false => Ok(RowKey::new(user, conversations::free_position(stored, user, created_at)?)),
        }
    }

    /// The number of the user's next change.
    fn next_change(&mut self, user: UserId) -> Result<u64> {
        let last = match self.last_changes.entry(user) {
            Entry::Occupied(last) => last.into_mut(),
            Entry::Vacant(none) => {
                none.insert(sequences::last_change(&self.state.tables.sequences, user)?)
            }
        };
        *last += 1;
        Ok(*last)
    }

    fn write_chunks(&mut self, write: &WriteTransaction) -> Result<()> {
        self.rows.write(&mut write.open_table(schema::CONVERSATIONS).map_err(from_redb)?)?;
        self.messages.write(&mut write.open_table(schema::MESSAGES).map_err(from_redb)?)?;
        self.changes.write(&mut write.open_table(schema::CHANGES).map_err(from_redb)?)
    }
}

const ENDS_EARLY: Damage = "a gathered row ends early";

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
