//! Builds and removes index families, in steps of bounded size beside other writes.
//!
//! A step runs while the memtables are empty. It reads rows and writes their entries, and where it
//! stopped, in one transaction, so a build continues after a crash where it was. Rows that change
//! meanwhile get their entries from the write that changes them; a row that a step reads again
//! has the same entries. Counters count a row once: by the step that reads it, or by a write after
//! that step. Previews are part of the rows, so their steps write rows instead.

use std::ops::RangeInclusive;

use redb::WriteTransaction;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::{ActivityKey, FixedKey, IndexKey, RowKey};
use crate::encoding::{preview, record};
use crate::error::{Error, Result, from_redb};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::table::AnyTable;
use crate::kv::table_spec::TableSpec;
use crate::kv::value::TableValue;
use crate::model::id::UserId;
use crate::model::index_family::IndexFamily;
use crate::model::position::Position;
use crate::model::preview::PreviewRef;
use crate::tables::activity_index::{self, Activity};
use crate::tables::conversations::{KeptPreview, StoredRow};
use crate::tables::families::{self, FamilyState};
use crate::tables::list_counters::CountedRow;
use crate::tables::schema::{CONVERSATIONS, INDEX_ACTIVITY, LIST_COUNTERS, ListCounters};
use crate::tables::{Tables, conversations, indexes, schema};

/// The most rows that a step reads.
const MAX_ROWS: usize = 4096;
/// The bytes of rows, and of messages read for previews, after which a step stops.
const MAX_BYTES: usize = 1 << 20;
/// The most entries that a step removes.
const MAX_REMOVED: usize = 8192;

/// What a step did.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing: every family is ready or absent.
    Idle,
    /// It read rows, or removed entries.
    Done(u64),
    /// A row cannot be read; nothing was written. The store has no fault by that.
    Stopped(Error),
}

/// Takes one step with the first unfinished family of `tables`, whose memtables are empty.
///
/// # Errors
/// An error of writing.
pub(crate) fn step(
    write: &WriteTransaction,
    tables: &Tables,
    fingerprinter: &Fingerprinter,
) -> Result<Step> {
    debug_assert!(tables.is_flushed(), "a step reads rows and replaces what is stored");
    let Some((family, state)) = tables.families.unfinished().next() else {
        return Ok(Step::Idle);
    };
    let is_preview = family == IndexFamily::Previews;
    let batch = match state {
        FamilyState::Building(next) if is_preview => Rewrites::adding_previews(tables, next),
        FamilyState::Dropping { next, rebuild } if is_preview => {
            Rewrites::removing_previews(tables, next, rebuild)
        }
        FamilyState::Building(next) => {
            return match Batch::read(tables, fingerprinter, family, next) {
                Ok(batch) => batch.write(write, family),
                Err(error) => Ok(Step::Stopped(error)),
            };
        }
        FamilyState::Dropping { rebuild, .. } => return remove(write, family, rebuild),
        FamilyState::Absent | FamilyState::Ready => return Ok(Step::Idle),
    };
    match batch {
        Ok(rewrites) => rewrites.write(write, family),
        Err(error) => Ok(Step::Stopped(error)),
    }
}

/// All rows from `next` on.
fn rows_from(next: RowKey) -> RangeInclusive<RowKey> {
    next..=RowKey::new(UserId::new(u32::MAX), Position::from_bits(u64::MAX))
}

/// The entries of some rows.
struct Batch {
    rows: u64,
    entries: Vec<(Field, IndexKey)>,
    activity: Vec<ActivityKey>,
    /// The counters of lists with those of the rows, of the family `counters`.
    counters: Option<ListCounters>,
    after: FamilyState,
}

impl Batch {
    /// The entries of the rows from `next` on.
    fn read(
        tables: &Tables,
        fingerprinter: &Fingerprinter,
        family: IndexFamily,
        next: RowKey,
    ) -> Result<Self> {
        let (entries, activity) = (Vec::new(), Vec::new());
        let counters = (family == IndexFamily::Counters).then(|| tables.list_counters.clone());
        let mut batch = Self { rows: 0, entries, activity, counters, after: FamilyState::Ready };
        let mut bytes = 0;
        for entry in tables.conversations.rows.range(rows_from(next))? {
            let (key, record) = entry?;
            if batch.rows == MAX_ROWS as u64 || bytes >= MAX_BYTES {
                batch.after = FamilyState::Building(key);
                break;
            }
            let row = conversations::decode(key, record.value())?;
            let fingerprints = fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
            let own = indexes::entries(key, &fingerprints);
            batch.entries.extend(own.filter(|(leading, _)| leading.family() == Some(family)));
            if family == IndexFamily::LastActivity {
                let activity = Activity { fingerprints: &fingerprints, at: row.updated_at };
                batch.activity.extend(activity_index::entries(key, activity));
            }
            if let Some(counters) = &mut batch.counters {
                let before = RowKey::new(key.user, key.position.next());
                let row = CountedRow { key, kind: row.channel.kind(), before };
                counters.apply(&tables.indexes, row, None, Some(&fingerprints))?;
            }
            batch.rows += 1;
            bytes += record.value().len();
        }
        batch.entries.sort_unstable();
        batch.activity.sort_unstable();
        Ok(batch)
    }

    fn write(self, write: &WriteTransaction, family: IndexFamily) -> Result<Step> {
        for of_table in self.entries.chunk_by(|(field, _), (next, _)| field == next) {
            let Some((leading, _)) = of_table.first() else { continue };
            let entries = of_table.iter().map(|(_, key)| Ok((*key, ())));
            bulk_insert(&mut schema::index(*leading).open_for_write(write)?, entries, |_| ())?;
        }
        if !self.activity.is_empty() {
            let entries = self.activity.iter().map(|key| Ok((*key, ())));
            bulk_insert(&mut INDEX_ACTIVITY.open_for_write(write)?, entries, |_| ())?;
        }
        if let Some(counters) = &self.counters {
            counters.table.flush(write)?;
        }
        families::put(write, family, self.after)?;
        Ok(Step::Done(self.rows))
    }
}

/// Rows that get their previews, or lose them.
struct Rewrites {
    /// The number of rows read.
    rows: u64,
    records: Vec<(RowKey, Vec<u8>)>,
    after: FamilyState,
}

impl Rewrites {
    fn adding_previews(tables: &Tables, next: RowKey) -> Result<Self> {
        let rewrite = |row: &StoredRow<'_>, stored: &[u8]| {
            let KeptPreview::Unknown = row.preview()? else { return Ok(None) };
            let ends = tables.messages.ends(row.key())?;
            let read: usize = ends.iter().map(record::message_record_len).sum();
            let mut record = stored.to_owned();
            preview::append(row.key(), PreviewRef::of(&ends).as_ref(), &mut record);
            Ok(Some((record, read)))
        };
        Self::read(tables, next, FamilyState::Building, FamilyState::Ready, rewrite)
    }

    fn removing_previews(tables: &Tables, next: RowKey, rebuild: bool) -> Result<Self> {
        let rewrite = |row: &StoredRow<'_>, stored: &[u8]| {
            let rewritten = || (record::without_appendix(&row.key(), stored), 0);
            Ok(row.keeps_preview().then(rewritten))
        };
        let unfinished = |next| FamilyState::Dropping { next, rebuild };
        Self::read(tables, next, unfinished, FamilyState::removed(rebuild), rewrite)
    }

    /// Passes the rows from `next` on to `rewrite`, which returns the new record of a row and how many
    /// bytes it has read in addition, or `None` if the row stays as it is.
    fn read(
        tables: &Tables,
        next: RowKey,
        unfinished: impl Fn(RowKey) -> FamilyState,
        finished: FamilyState,
        rewrite: impl Fn(&StoredRow<'_>, &[u8]) -> Result<Option<(Vec<u8>, usize)>>,
    ) -> Result<Self> {
        let mut rewrites = Self { rows: 0, records: Vec::new(), after: finished };
        let mut bytes = 0;
        for entry in tables.conversations.rows.range(rows_from(next))? {
            let (key, record) = entry?;
            if rewrites.rows == MAX_ROWS as u64 || bytes >= MAX_BYTES {
                rewrites.after = unfinished(key);
                break;
            }
            let stored = record.value();
            bytes += stored.len();
            rewrites.rows += 1;
            if let Some((record, read)) = rewrite(&StoredRow::decode(key, stored)?, stored)? {
                bytes += read;
                rewrites.records.push((key, record));
            }
        }
        Ok(rewrites)
    }

    fn write(self, write: &WriteTransaction, family: IndexFamily) -> Result<Step> {
        let records = self.records.iter().map(|(key, record)| Ok((*key, record)));
        bulk_insert(&mut CONVERSATIONS.open_for_write(write)?, records, |record| &***record)?;
        families::put(write, family, self.after)?;
        Ok(Step::Done(self.rows))
    }
}

/// Removes entries of a family that is dropped.
fn remove(write: &WriteTransaction, family: IndexFamily, rebuild: bool) -> Result<Step> {
    let mut removed = 0;
    for leading in Field::ALL.into_iter().filter(|field| field.family() == Some(family)) {
        remove_from(write, schema::index(leading), &mut removed)?;
    }
    if family == IndexFamily::LastActivity {
        remove_from(write, INDEX_ACTIVITY, &mut removed)?;
    }
    if family == IndexFamily::Counters {
        remove_from(write, LIST_COUNTERS, &mut removed)?;
    }
    if removed < MAX_REMOVED {
        families::put(write, family, FamilyState::removed(rebuild))?;
    }
    Ok(Step::Done(removed as u64))
}

/// Removes the first entries of a table, up to [`MAX_REMOVED`] in all.
fn remove_from<K: FixedKey, V: TableValue>(
    write: &WriteTransaction,
    spec: TableSpec<K, V>,
    removed: &mut usize,
) -> Result<()> {
    let mut table = spec.open_for_write(write)?;
    while *removed < MAX_REMOVED {
        let Some(first) = table.pop_first().map_err(from_redb)? else { break };
        drop(first);
        *removed += 1;
    }
    Ok(())
}
