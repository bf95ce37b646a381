//! Count: the number of conversations of a list, from counters and from the ranges of indexes.
//!
//! Lists by type and assistant have counters by day and month. Their count adds up counters of whole
//! days, and steps over the entries of the days that the bounds of time cut. So do other lists in a
//! store with the index family `counters`, unless they are short. Otherwise the entries of their
//! ranges are counted. All steps over entries together end after [`Count::MAX_SCANNED`]; the count is
//! then a lower bound. So a count of any list is bounded.
//!
//! A list by last activity without bounds of time has as many conversations as the list by creation,
//! and is counted like that. With bounds of time it has no counters.
//!
//! Like the answer to "is there another page?", the entries of an index range are counted by their
//! term alone, without reading rows.

use std::ops::Range;

use crate::encoding::index_term::{Field, Fingerprint, Fingerprinter, Fingerprints, Shape};
use crate::encoding::key::{ActivityKey, IndexKey, RowKey};
use crate::error::Result;
use crate::kv::gap::ScanDirection;
use crate::kv::table::Table;
use crate::kv::value::TableValue;
use crate::model::choice::AssistantIds;
use crate::model::id::{AssistantId, UserId};
use crate::model::index_family::IndexFamily;
use crate::model::position::{Position, SortKey};
use crate::model::timestamp::{Day, Timestamp};
use crate::query::fetch::Fetch;
use crate::query::filter::Filter;
use crate::query::list_spec::{FingerprintSet, ListSpec, Sort};
use crate::query::plan::plan;
use crate::query::scan::{self, ListKey, ScanRange};
use crate::query::stats::{self, StatsRequest};
use crate::tables::Tables;
use crate::tables::list_counters::CountedList;

/// The number of conversations of a list, read from one committed state. See
/// [`Snapshot::count`](crate::Snapshot::count).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Count {
    /// The number of conversations, or a lower bound of it.
    pub conversations: u64,
    /// Whether the list has exactly this number of conversations, and not more.
    pub is_exact: bool,
    /// The cost: the number of counters and index entries read, lookups of counters included.
    pub entries_read: u64,
}

impl Count {
    /// The most conversations that are counted one by one: those of a list that has no counters, or
    /// of the days that its bounds cut.
    pub const MAX_SCANNED: u64 = 10_000;

    const NONE: Count = Count { conversations: 0, is_exact: true, entries_read: 0 };
}

/// Counts the conversations of a list. `filter` has the values of the fields that the caller passed.
pub(crate) fn read(
    tables: &Tables,
    fingerprinter: &Fingerprinter,
    user: UserId,
    filter: &Filter,
    list: &ListSpec,
) -> Result<Count> {
    let bounds = list.sort_keys();
    let Some(shape) = plan(list, &tables.families)?.filter(|_| !bounds.is_empty()) else {
        return Ok(Count::NONE);
    };
    let (bounds, list) = match (list.from, list.to) {
        (None, None) => {
            let list = ListSpec { sort: Sort::CreatedAt, ..*list };
            (list.sort_keys(), list)
        }
        _ => (bounds, *list),
    };
    let mut counting = Counting {
        tables,
        user,
        fingerprinter,
        list: &list,
        shape,
        scanned: 0,
        count: Count::NONE,
    };
    let ranges = list.ranges(shape, fingerprinter);
    let days = whole_days(&list).filter(|_| list.sort == Sort::CreatedAt);
    let has_list_counters = tables.families.require(IndexFamily::Counters).is_ok();
    match days {
        Some(days) if shape.is_subset_of(Shape::of(&[Field::Kind, Field::Assistant])) => {
            counting.add_counters(filter, &days)?;
            counting.scan_around(&ranges, &bounds, &days)?;
        }
        Some(days) if has_list_counters => counting.add_list_counters(&bounds, &days)?,
        _ => counting.scan(&ranges, bounds)?,
    }
    Ok(counting.count)
}

/// The whole days between the bounds of a list; `None` if there are none.
pub(crate) fn whole_days(list: &ListSpec) -> Option<Range<Day>> {
    let next_start = |at: Timestamp| {
        let day = at.day();
        if day.start().is_ok_and(|start| start == at) { day } else { Day::new(day.get() + 1) }
    };
    let from = list.from.map_or(Day::new(0), next_start);
    let to = list.to.map_or(Day::new(Timestamp::MAX.day().get() + 1), Timestamp::day);
    (from < to).then_some(from..to)
}

/// The first position of a day; behind all positions for a day that no timestamp is on.
pub(crate) fn first_position(day: Day) -> Position {
    day.start().map_or_else(|_| Position::last_at(Timestamp::MAX).next(), Position::first_at)
}

/// A count under construction.
struct Counting<'a> {
    tables: &'a Tables,
    user: UserId,
    fingerprinter: &'a Fingerprinter,
    list: &'a ListSpec,
    /// The shape of the list's ranges.
    shape: Shape,
    /// The number of conversations that were counted one by one.
    scanned: u64,
    count: Count,
}

impl Counting<'_> {
    /// Counts the entries of some ranges before and after whole days.
    fn scan_around(
        &mut self,
        ranges: &[Fingerprints],
        bounds: &Range<SortKey>,
        days: &Range<Day>,
    ) -> Result<()> {
        let start_of = |day| SortKey::of_position(first_position(day));
        self.scan(ranges, bounds.start..start_of(days.start))?;
        self.scan(ranges, start_of(days.end)..bounds.end)
    }

    /// Counts the entries of some ranges between two sort keys, up to the limit: at most two more for
    /// each range.
    fn scan(&mut self, ranges: &[Fingerprints], span: Range<SortKey>) -> Result<()> {
        let start = span.start;
        let range =
            ScanRange { span, gap: start, direction: ScanDirection::Ascending, look_before: false };
        let tables = self.tables;
        if self.list.sort == Sort::LastActivity {
            for fingerprints in ranges {
                let list = ActivityKey::of_list(self.user, fingerprints.list_term(self.shape));
                self.scan_range(&tables.activity.table, list, &range)?;
            }
            return Ok(());
        }
        if self.shape == Shape::EMPTY {
            let list = RowKey::new(self.user, start.position());
            return self.scan_range(&tables.conversations.rows, list, &range);
        }
        for fingerprints in ranges {
            if let Some((leading, term)) = fingerprints.term(self.shape) {
                let list = IndexKey::of_list(self.user, term);
                self.scan_range(tables.indexes.get(leading), list, &range)?;
            }
        }
        Ok(())
    }

    fn scan_range<K: ListKey, V: TableValue>(
        &mut self,
        table: &Table<K, V>,
        list: K,
        range: &ScanRange,
    ) -> Result<()> {
        let left = usize::try_from(Count::MAX_SCANNED - self.scanned).unwrap_or(usize::MAX);
        let mut found = 0;
        let edges = scan::scan(table, list, range, left, |_, _| {
            found += 1;
            Ok(true)
        })?;
        self.scanned += found;
        self.count.conversations += found;
        self.count.entries_read += edges.entries as u64;
        self.count.is_exact &= !edges.after;
        Ok(())
    }

    /// Adds the counters of lists, with the entries around them, or the entries of short lists.
    fn add_list_counters(&mut self, bounds: &Range<SortKey>, days: &Range<Day>) -> Result<()> {
        let (shape, list, tables) = (self.shape, self.list, self.tables);
        // The records of a list have all types.
        let whole = shape.without(Field::Kind);
        for fingerprints in list.ranges(whole, self.fingerprinter) {
            let Some(counted) = CountedList::of(whole, &fingerprints) else { continue };
            let counters = &tables.list_counters;
            let (conversations, records) =
                counters.sum(self.user, counted.term, days.clone(), list.kinds)?;
            self.count.conversations += conversations;
            // The lookup counts as an entry.
            self.count.entries_read += 1 + records;
            let one =
                ListSpec { assistants: FingerprintSet::default(), filter: fingerprints, ..*list };
            let ranges = one.ranges(shape, self.fingerprinter);
            if records == 0 && counted.may_be_short() {
                self.count.entries_read += 1;
                if !counters.has(self.user, counted.term)? {
                    self.scan(&ranges, bounds.clone())?;
                    continue;
                }
            }
            self.scan_around(&ranges, bounds, days)?;
        }
        Ok(())
    }

    /// Adds the counters of whole days.
    fn add_counters(&mut self, filter: &Filter, days: &Range<Day>) -> Result<()> {
        let ids = match filter.passing_assistants() {
            Some(ids) => Some(ids.to_vec()),
            None if self.shape.has(Field::Assistant) => Some(self.find_assistants()?),
            None => None,
        };
        if ids.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let request = StatsRequest {
            kinds: Some(self.list.kinds),
            assistants: ids.map(AssistantIds::new).transpose()?,
            ..StatsRequest::new(days.start, days.end)
        };
        let (volume, entries) = stats::total(self.tables, self.user, &request)?;
        self.count.conversations += volume.conversations;
        self.count.entries_read += entries;
        Ok(())
    }

    /// The assistants of a list that only a cursor describes, which has their fingerprints: each is
    /// read from its first conversation. One without conversations is left out.
    fn find_assistants(&mut self) -> Result<Vec<AssistantId>> {
        let one = self.list.filter.get(Field::Assistant);
        let several = self.list.assistants.as_slice().iter().copied();
        let mut ids = Vec::new();
        for fingerprint in one.into_iter().chain(several) {
            ids.extend(self.find_assistant(fingerprint)?);
        }
        Ok(ids)
    }

    fn find_assistant(&mut self, fingerprint: Fingerprint) -> Result<Option<AssistantId>> {
        let mut fingerprints = Fingerprints::default();
        fingerprints.set(Field::Assistant, fingerprint);
        let Some((leading, term)) = fingerprints.term(fingerprints.shape()) else {
            return Ok(None);
        };
        let first = SortKey::of_position(first_position(Day::new(0)));
        let range = ScanRange {
            span: first..SortKey::of_position(first_position(Day::new(u32::MAX))),
            gap: first,
            direction: ScanDirection::Ascending,
            look_before: false,
        };
        let list = IndexKey::of_list(self.user, term);
        let mut fetch = Fetch::new(self.tables, self.user, leading, range.direction);
        let mut found = None;
        let edges = scan::scan(self.tables.indexes.get(leading), list, &range, 1, |key, ()| {
            let id = fetch.row(key.position(), |stored| stored.conversation().assistant)?;
            found = Some(id).filter(|id| self.fingerprinter.assistant(*id) == fingerprint);
            Ok(found.is_some())
        })?;
        self.count.entries_read += (edges.entries + fetch.rows_read) as u64;
        Ok(found)
    }
}
