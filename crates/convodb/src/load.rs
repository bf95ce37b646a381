//! Writing what a bulk load has gathered: rows and messages in list order as they come, ids and
//! index entries once they are sorted, each table from its first key to its last.

use redb::Table;

use crate::encoding::key::{ArrivalKey, FixedKey, IndexKey, MessageKey, RowKey, UuidKey};
use crate::encoding::record::{self, Damage};
use crate::encoding::stored::Stored;
use crate::encoding::term::Field;
use crate::error::Result;
use crate::gathered::{BulkOptions, Gathered, present, take_record};
use crate::model::position::Position;
use crate::storage::sorted::insert_sorted;
use crate::storage::sorter::Sorter;
use crate::storage::{index, rows, schema};
use crate::transaction::Transaction;

/// How many bytes of records are written at a time: rows, then their messages.
const CHUNK_BYTES: usize = 8 << 20;

/// What a bulk load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
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
    pub(crate) fn load(
        &mut self,
        gathered: Gathered,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BulkReport> {
        self.go_past_journal()?;
        let Gathered { options, arrivals, rows, ids } = gathered;
        let (present, repeated) = present(ids, arrivals, self.tables.ids.read())?;
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
        load.report.present -= repeated;
        load.report.repeated = repeated;
        load.write_chunks(self)?;
        let Load { report, entries, .. } = load;
        insert_sorted(self.tables.ids.unjournaled(), entries.ids.sorted()?, Vec::as_slice)?;
        for (number, (leading, entries)) in (1..).zip(Field::ALL.into_iter().zip(entries.indexes)) {
            progress(arrivals + arrivals * number / (1 + Field::ALL.len() as u64), of);
            let mut table = self.write.open_table(schema::index(leading))?;
            insert_sorted(&mut table, entries.sorted()?, |_| ())?;
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
            let mut gathered = Gathered::new(BulkOptions::default());
            gathered.push(user, &whatsapp_row(3, "+2"), &[])?;
            gathered.push(user, &whatsapp_row(2, "+9"), &[])?;
            transaction.load(gathered, |_, _| {})
        });
        assert_eq!(report, BulkReport { inserted: 1, messages: 0, present: 1, repeated: 0 });
        let audit = store.audit();
        assert!(audit.is_clean(), "{:?}", audit.faults);
    }
}
