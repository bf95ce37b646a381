//! Builds and removes index families, in steps of bounded size beside other writes.
//!
//! A step runs while the memtables are empty. It reads rows and writes their entries, and where it
//! stopped, in one transaction, so a build continues after a crash where it was. Rows that change
//! meanwhile get their entries from the write that changes them; a row that a step reads again
//! has the same entries.

use redb::WriteTransaction;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::encoding::key::{ActivityKey, FixedKey, IndexKey, RowKey};
use crate::error::{Error, Result, from_redb};
use crate::kv::bulk_insert::bulk_insert;
use crate::kv::table::TableSpec;
use crate::model::id::UserId;
use crate::model::index_family::IndexFamily;
use crate::model::position::Position;
use crate::tables::activity_index::{self, Activity};
use crate::tables::families::{self, FamilyState};
use crate::tables::schema::INDEX_ACTIVITY;
use crate::tables::{Tables, conversations, indexes, schema};

/// The most rows that a step reads.
const MAX_ROWS: usize = 4096;
/// The bytes of rows after which a step stops.
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
    match state {
        FamilyState::Building(next) => match Batch::read(tables, fingerprinter, family, next) {
            Ok(batch) => batch.write(write, family),
            Err(error) => Ok(Step::Stopped(error)),
        },
        FamilyState::Dropping { rebuild } => remove(write, family, rebuild),
        FamilyState::Absent | FamilyState::Ready => Ok(Step::Idle),
    }
}

/// The entries of some rows.
struct Batch {
    rows: u64,
    entries: Vec<(Field, IndexKey)>,
    activity: Vec<ActivityKey>,
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
        let last = RowKey::new(UserId::new(u32::MAX), Position::from_bits(u64::MAX));
        let (entries, activity) = (Vec::new(), Vec::new());
        let mut batch = Self { rows: 0, entries, activity, after: FamilyState::Ready };
        let mut bytes = 0;
        for entry in tables.conversations.rows.range(next..=last)? {
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
    if removed < MAX_REMOVED {
        let after = if rebuild { FamilyState::begin() } else { FamilyState::Absent };
        families::put(write, family, after)?;
    }
    Ok(Step::Done(removed as u64))
}

/// Removes the first entries of a table, up to [`MAX_REMOVED`] in all.
fn remove_from<K: FixedKey>(
    write: &WriteTransaction,
    spec: TableSpec<K, ()>,
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
