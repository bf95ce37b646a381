//! Verification: a full check of a store, and set hashes that compare tables in one pass.
//!
//! Every table is read once, in the order of its keys, and the first and last entry of each leaf are
//! looked up, which confirms those between ([`crate::kv::audit`]). Rows, messages and counters are
//! read in step. Ids and index entries have no
//! checksum; what the rows require of them and what is stored are hashed and summed
//! ([`set_hash`]). Only a table whose sums differ is compared entry by entry ([`explain`]), which
//! takes a lookup at a random place for each.
//!
//! The parts are independent, so all processors share them.

pub(crate) mod accounts;
pub(crate) mod change_feed;
mod entries;
mod explain;
mod list_counters;
pub(crate) mod message_count;
mod quotas;
pub(crate) mod report;
mod rows;
pub(crate) mod set_hash;
mod staged_inserts;
mod user_ranges;
#[cfg(test)]
mod verify_tests;

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::thread::available_parallelism;

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::error::Result;
use crate::kv::parallel;
use crate::model::id::UserId;
use crate::snapshot::Snapshot;
use crate::tables::Tables;
use crate::tables::quotas::CountedUsage;
use crate::verify::report::{Ticker, VerifyReport};
use crate::verify::set_hash::{SetHash, SummedTable};
use crate::verify::user_ranges::ranges;

/// The most parts into which the users are divided.
const MAX_PARTS: usize = 64;
/// A store with fewer entries is verified by the calling thread alone.
const MIN_PARALLEL: u64 = 20_000;

impl Snapshot {
    /// Reads the whole store and reports what is inconsistent: damaged records; missing, extra or
    /// wrong index entries and counters; ids, messages, numbers, names and tokens without their
    /// row; gaps in a change feed; and entries that a lookup does not find. Uses all processors.
    /// Takes a few seconds for a million conversations, and memory for the counters of one user for
    /// each processor.
    ///
    /// Ids and index entries are compared as sets, by sums of 64-bit hashes: accidental damage stays
    /// undetected with a probability of 2^-64.
    ///
    /// # Errors
    /// A fault of the store that prevents reading it. Damage that allows further reading is part of
    /// the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with_progress(|_, _| {})
    }

    /// [`Snapshot::verify`], which calls `progress` with the number of entries checked and the
    /// approximate total.
    ///
    /// # Errors
    /// As [`Snapshot::verify`].
    pub fn verify_with_progress(&self, progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
        let threads = match count(&self.state().tables)? {
            ..MIN_PARALLEL => 1,
            _ => available_parallelism().map_or(1, NonZero::get),
        };
        verify(&self.state().tables, self.state().fingerprinter(), threads, progress)
    }
}

/// A part of the verification.
enum Part {
    /// Rows, messages and counters of some users.
    Rows(RangeInclusive<UserId>),
    /// The ids or the entries of an index.
    Entries(SummedTable),
    /// The change feeds of some users.
    Changes(RangeInclusive<UserId>),
    Idempotency,
    Accounts,
    StagedInserts,
}

/// What a part found.
struct Found<'a> {
    report: VerifyReport,
    set_hash: SetHash<'a>,
    usage: CountedUsage,
}

/// Verifies a committed state with at most `threads` threads. Their number does not change the
/// report.
pub(crate) fn verify(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    threads: usize,
    mut progress: impl FnMut(u64, u64),
) -> Result<VerifyReport> {
    let total = count(tables)?;
    let parts = parts(tables)?;
    let mut done = 0;
    progress(0, total);
    let found = parallel::run(
        &parts,
        threads,
        |part, ticked| verify_part(part, tables, fingerprinter, &mut Ticker::new(ticked)),
        |ticks| {
            done += ticks;
            progress(done.min(total), total);
        },
    )?;
    let mut report = VerifyReport::default();
    let (mut set_hash, mut usage) =
        (SetHash::new(fingerprinter, &tables.families), CountedUsage::default());
    for part in found {
        report.add(part.report);
        set_hash.merge(&part.set_hash);
        usage.merge(part.usage);
    }
    for table in set_hash.differing() {
        explain::explain(table, tables, fingerprinter, &mut report)?;
    }
    quotas::verify(tables, &mut report, usage)?;
    progress(total, total);
    Ok(report)
}

fn verify_part<'a>(
    part: &Part,
    tables: &'a Tables,
    fingerprinter: &'a Fingerprinter,
    ticker: &mut Ticker<'_>,
) -> Result<Found<'a>> {
    let mut found = Found {
        report: VerifyReport::default(),
        set_hash: SetHash::new(fingerprinter, &tables.families),
        usage: CountedUsage::default(),
    };
    let Found { report, set_hash, usage } = &mut found;
    match part {
        Part::Rows(users) => rows::verify(tables, users, report, set_hash, usage, ticker)?,
        Part::Entries(SummedTable::Ids) => entries::verify_ids(tables, set_hash, ticker)?,
        Part::Entries(SummedTable::Index(leading)) => {
            let index = tables.indexes.get(*leading);
            let table = SummedTable::Index(*leading);
            entries::verify_index(index, table, report, set_hash, ticker)?;
        }
        Part::Entries(SummedTable::Activity) => {
            let (index, table) = (&tables.activity.table, SummedTable::Activity);
            entries::verify_index(index, table, report, set_hash, ticker)?;
        }
        Part::Changes(users) => change_feed::verify(tables, users, report, ticker)?,
        Part::Idempotency => change_feed::verify_idempotency(tables, report, usage, ticker)?,
        Part::Accounts => accounts::verify(tables, report, usage)?,
        Part::StagedInserts => staged_inserts::verify(tables, report)?,
    }
    Ok(found)
}

/// All parts, those that may take long first.
fn parts(tables: &Tables) -> Result<Vec<Part>> {
    let users = tables.accounts.users.iter()?.map(|entry| Ok(entry?.0));
    let users: Vec<UserId> = users.collect::<Result<_>>()?;
    let ranges = ranges(&users, MAX_PARTS);
    let mut parts: Vec<Part> = ranges.iter().cloned().map(Part::Rows).collect();
    parts.extend(SummedTable::all().map(Part::Entries));
    parts.extend(ranges.into_iter().map(Part::Changes));
    parts.extend([Part::Idempotency, Part::Accounts, Part::StagedInserts]);
    Ok(parts)
}

/// The approximate number of entries that count as progress.
fn count(tables: &Tables) -> Result<u64> {
    let conversations = &tables.conversations;
    let mut count = conversations.rows.estimate()? + conversations.ids.estimate()?;
    count += tables.activity.table.estimate()? + tables.list_counters.table.estimate()?;
    count += tables.messages.table.estimate()?;
    count += tables.change_feed.changes.estimate()? + tables.idempotency.table.estimate()?;
    for leading in Field::ALL {
        count += tables.indexes.get(leading).estimate()?;
    }
    Ok(count)
}
